//! TLS and the user, with which the store connects. Reads no certificate: etcd's client does, when it connects.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use etcd_keys::{Connect, Tls};

use super::document::Section;
use crate::error::ErrorKind;

/// TLS and the user; a part of `etcdService`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// A file with the CA certificates to trust, in PEM, instead of those of the system; `caCert`.
    pub ca_cert: Option<PathBuf>,
    /// A file with the client certificate, in PEM; `cert`.
    pub cert: Option<PathBuf>,
    /// A file with the key of the client certificate, in PEM; `key`.
    pub key: Option<PathBuf>,
    /// Whether the server's certificate is not checked; `insecureSkipTlsVerify`.
    pub insecure_skip_tls_verify: bool,
    /// The user of etcd; `user`.
    pub user: Option<String>,
    /// The user's password; the file names a file that holds it, `passwordFile`.
    pub password: Option<String>,
}

/// Never shows the password.
impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("ca_cert", &self.ca_cert)
            .field("cert", &self.cert)
            .field("insecure_skip_tls_verify", &self.insecure_skip_tls_verify)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Security {
    pub(super) const SETTINGS: [&str; 6] = ["caCert", "cert", "key", "insecureSkipTlsVerify", "user", "passwordFile"];

    pub(super) fn read(&mut self, section: &Section<'_>) -> Result<(), ErrorKind> {
        let path = |name| Ok::<_, ErrorKind>(section.text(name)?.map(PathBuf::from));
        (self.ca_cert, self.cert, self.key) = (path("caCert")?, path("cert")?, path("key")?);
        self.insecure_skip_tls_verify = section.flag("insecureSkipTlsVerify")?.unwrap_or_default();
        self.user = section.text("user")?;
        if let Some(path) = path("passwordFile")? {
            let unreadable = |error| section.error("passwordFile", format!("cannot be read: {error}"));
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            self.password = Some(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        let wrong = |setting, reason: &str| Err(section.error(setting, reason.to_owned()));
        match (&self.cert, &self.key, &self.user, &self.password) {
            (Some(_), None, ..) => wrong("cert", "needs `key`"),
            (None, Some(_), ..) => wrong("key", "needs `cert`"),
            (.., Some(_), None) => wrong("user", "needs `passwordFile`"),
            (.., None, Some(_)) => wrong("passwordFile", "needs `user`"),
            _ => Ok(()),
        }
    }

    /// As etcdctl's variables say.
    pub(super) fn of_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        let user = variable("ETCDCTL_USER");
        let (user, password) = match user.as_deref().and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
            None => (user, variable("ETCDCTL_PASSWORD")),
        };
        let skips = variable("ETCDCTL_INSECURE_SKIP_TLS_VERIFY");
        Self {
            ca_cert: path("ETCDCTL_CACERT"),
            cert: path("ETCDCTL_CERT"),
            key: path("ETCDCTL_KEY"),
            insecure_skip_tls_verify: skips.is_some_and(|value| matches!(value.as_str(), "true" | "1")),
            user,
            password,
        }
    }

    /// Whether anything is said about TLS: then endpoints without a scheme are reached by TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.ca_cert.is_some() || self.cert.is_some() || self.insecure_skip_tls_verify
    }

    pub(crate) fn apply(&self, mut connect: Connect) -> Connect {
        if self.has_tls() {
            let tls = self.ca_cert.iter().fold(Tls::default(), Tls::ca_file);
            let identity = self.cert.iter().zip(&self.key);
            let tls = identity.fold(tls, |tls, (cert, key)| tls.client_certificate_files(cert, key));
            connect = connect.tls(if self.insecure_skip_tls_verify { tls.insecure_skip_verify() } else { tls });
        }
        match (&self.user, &self.password) {
            (Some(user), Some(password)) => connect.user(user, password),
            _ => connect,
        }
    }
}
