//! The directory of an instance's certificates: which file is what. Makes and reads none of them.

use std::path::{Path, PathBuf};

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

    /// All files that the server reads.
    #[must_use]
    pub fn of_server(&self) -> [PathBuf; 3] {
        let (certificate, key) = self.server();
        [self.ca(), certificate, key]
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.0.join(format!("{name}.pem")), self.0.join(format!("{name}-key.pem")))
    }
}
