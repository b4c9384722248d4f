//! TLS of an instance: who speaks it, and which file in the directory of its certificates is what. Makes and reads none of
//! them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Who speaks TLS with an instance's servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsScope {
    /// Its clients.
    pub clients: bool,
    /// The servers among each other.
    pub peers: bool,
}

impl TlsScope {
    /// Clients alone.
    pub const CLIENTS: Self = Self { clients: true, peers: false };

    /// Whether anybody does.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.clients || self.peers
    }
}

impl FromStr for TlsScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "client" => Ok(Self::CLIENTS),
            "peer" => Ok(Self { clients: false, peers: true }),
            "all" => Ok(Self { clients: true, peers: true }),
            _ => Err(format!("`{text}` is not `client`, `peer` or `all`")),
        }
    }
}

/// A directory with the certificates of a server, and of its clients. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles(PathBuf);

impl TlsFiles {
    /// The files in this directory.
    #[must_use]
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The certificate of the CA that has signed the others, `ca.pem`.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// The server's certificate and its key, `server.pem` and `server-key.pem`.
    #[must_use]
    pub fn server(&self) -> (PathBuf, PathBuf) {
        self.pair("server")
    }

    /// The certificate that clients show and its key, `client.pem` and `client-key.pem`.
    #[must_use]
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.pair("client")
    }

    /// The certificate that servers show each other and its key, `peer.pem` and `peer-key.pem`.
    #[must_use]
    pub fn peer(&self) -> (PathBuf, PathBuf) {
        self.pair("peer")
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.0.join(format!("{name}.pem")), self.0.join(format!("{name}-key.pem")))
    }
}
