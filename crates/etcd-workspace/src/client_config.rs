//! How a cluster is reached, and as which user: endpoints, TLS, user. Read once, from flags, from the variables of
//! etcdctl, or from a cluster that the manifest names, and handed on whole. Connects to nothing and reads no certificate.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::tls::TlsFiles;

/// Everything that leads to a cluster. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// The client URLs; empty: the workspace's own instance is meant.
    pub endpoints: Vec<String>,
    /// A file with the CA certificates to trust, in PEM; `None`: those of the system.
    pub cacert: Option<PathBuf>,
    /// A file with our certificate, in PEM.
    pub cert: Option<PathBuf>,
    /// A file with our certificate's key, in PEM.
    pub key: Option<PathBuf>,
    /// Whether any server is taken for the right one.
    pub insecure_skip_tls_verify: bool,
    /// The user of etcd.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Password>,
}

/// What leads to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Endpoints that a flag names.
    Endpoints,
    /// A cluster of the manifest.
    Cluster,
    /// The environment.
    Variables,
    /// The workspace's own instance.
    Instance,
}

/// A password. No form of it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A password as text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a file that holds a password, with or without a newline at its end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, ClientConfigError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| ClientConfigError::PasswordFile { path: path.to_owned(), source })?;
        Ok(Self(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// The password as text, for the login.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A cluster of `[workspace.metadata.etcd.clusters.NAME]`. A password has no place in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default, expecting = "a table")]
#[non_exhaustive]
pub struct ManifestCluster {
    /// The client URLs.
    pub endpoints: Vec<String>,
    /// Files, relative to the workspace or absolute.
    pub cacert: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether any server is taken for the right one.
    pub insecure_skip_tls_verify: bool,
    /// The user of etcd.
    pub user: Option<String>,
    /// A file with the user's password.
    pub password_file: Option<PathBuf>,
}

/// Why it is not known how to reach a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientConfigError {
    /// The manifest has no cluster of this name.
    #[error("there is no cluster `{name}` in `[workspace.metadata.etcd.clusters]`{}", list(.known))]
    NoCluster {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The cluster has no endpoints.
    #[error("the cluster `{0}` of `[workspace.metadata.etcd.clusters]` has no `endpoints`")]
    NoEndpoints(String),
    /// The file with the password cannot be read.
    #[error("cannot read the password file `{}`", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("a client certificate needs both `cert` and `key`")]
    HalfCertificate,
    /// A user without a password.
    #[error("the user `{0}` has no password")]
    NoPassword(String),
    /// A password without a user.
    #[error("a password is given, but no user")]
    NoUser,
    /// The manifest cannot be read, or has a mistake.
    #[error("cannot use `{}`: {why}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A variable that is neither true nor false.
    #[error("{name} is `{value}`, which is neither `true` nor `false`")]
    NotAFlag {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; there are: {}", names.join(", ")) }
}

impl ClientConfig {
    /// etcd's user who can do everything.
    pub const ROOT: &'static str = "root";

    /// All variables that [`ClientConfig::variables`] may set. A child that is given some of them must not inherit the
    /// others.
    pub const VARIABLES: [&'static str; 8] = [
        "ETCD_ENDPOINTS",
        "ETCDCTL_ENDPOINTS",
        "ETCDCTL_CACERT",
        "ETCDCTL_CERT",
        "ETCDCTL_KEY",
        "ETCDCTL_INSECURE_SKIP_TLS_VERIFY",
        "ETCDCTL_USER",
        "ETCDCTL_PASSWORD",
    ];

    /// A local instance, with the directory of its certificates if it speaks TLS, and the file with the password of
    /// [`ROOT`](Self::ROOT) if authentication is on.
    ///
    /// # Errors
    /// [`ClientConfigError::PasswordFile`].
    pub fn of_instance(
        endpoints: Vec<String>,
        tls: Option<&Path>,
        password_file: Option<&Path>,
    ) -> Result<Self, ClientConfigError> {
        let files = tls.map(TlsFiles::in_dir);
        let (cert, key) = files.as_ref().map(TlsFiles::client).unzip();
        Ok(Self {
            endpoints,
            cacert: files.map(|files| files.ca()),
            cert,
            key,
            insecure_skip_tls_verify: false,
            user: password_file.map(|_| Self::ROOT.to_owned()),
            password: password_file.map(Password::from_file).transpose()?,
        })
    }

    /// What the environment says: `ETCD_ENDPOINTS`, and etcdctl's variables for TLS and the user.
    ///
    /// # Errors
    /// [`ClientConfigError::NotAFlag`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ClientConfigError> {
        const SKIP: &str = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY";
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        let insecure_skip_tls_verify = match text(SKIP).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(value) => return Err(ClientConfigError::NotAFlag { name: SKIP, value: value.to_owned() }),
        };
        let urls = text("ETCD_ENDPOINTS").unwrap_or_default();
        let endpoints = urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
        let path = |name| text(name).map(PathBuf::from);
        let config = Self {
            endpoints,
            cacert: path("ETCDCTL_CACERT"),
            cert: path("ETCDCTL_CERT"),
            key: path("ETCDCTL_KEY"),
            insecure_skip_tls_verify,
            user: None,
            password: text("ETCDCTL_PASSWORD").map(Password),
        };
        Ok(config.with_user(text("ETCDCTL_USER")))
    }

    /// What a cluster of the manifest says; `dir` is the workspace.
    ///
    /// # Errors
    /// [`ClientConfigError::NoCluster`], [`ClientConfigError::NoEndpoints`], [`ClientConfigError::PasswordFile`].
    pub fn named(
        name: &str,
        clusters: &BTreeMap<String, ManifestCluster>,
        dir: &Path,
    ) -> Result<Self, ClientConfigError> {
        let Some(cluster) = clusters.get(name) else {
            let known = clusters.keys().cloned().collect();
            return Err(ClientConfigError::NoCluster { name: name.to_owned(), known });
        };
        if cluster.endpoints.is_empty() {
            return Err(ClientConfigError::NoEndpoints(name.to_owned()));
        }
        let file = |path: &Option<PathBuf>| path.as_deref().map(|path| dir.join(path));
        Ok(Self {
            endpoints: cluster.endpoints.clone(),
            cacert: file(&cluster.cacert),
            cert: file(&cluster.cert),
            key: file(&cluster.key),
            insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
            user: cluster.user.clone(),
            password: file(&cluster.password_file).map(|path| Password::from_file(&path)).transpose()?,
        })
    }

    /// Which cluster a command is for. `flags` beat all else; then a cluster of the manifest by its name; then
    /// `ETCD_ENDPOINTS`, unless an instance is named; then the workspace's own instance, for which etcdctl's variables, set for
    /// another cluster, say nothing but the password of a user that is named.
    ///
    /// # Errors
    /// What may be wrong with any of these, and with what they say together.
    pub fn resolve(
        flags: Self,
        cluster: Option<&str>,
        names_instance: bool,
        variable: impl Fn(&str) -> Option<String>,
        manifest: impl FnOnce() -> Result<(BTreeMap<String, ManifestCluster>, PathBuf), ClientConfigError>,
    ) -> Result<(Leads, Self), ClientConfigError> {
        let (leads, config) = if !flags.endpoints.is_empty() {
            (Leads::Endpoints, flags.or(Self::from_variables(variable)?))
        } else if let Some(name) = cluster {
            let (clusters, dir) = manifest()?;
            let named = flags.or(Self::named(name, &clusters, &dir)?);
            let user = Self::from_variables(variable)?;
            let user = Self { user: user.user, password: user.password, ..Self::default() };
            (Leads::Cluster, named.or(user))
        } else if !names_instance && variable("ETCD_ENDPOINTS").is_some_and(|urls| !urls.is_empty()) {
            (Leads::Variables, flags.or(Self::from_variables(variable)?))
        } else {
            let password = variable("ETCDCTL_PASSWORD").filter(|text| flags.user.is_some() && !text.is_empty());
            (Leads::Instance, flags.or(Self { password: password.map(Password), ..Self::default() }))
        };
        config.check()?;
        Ok((leads, config))
    }

    /// The same for a user as etcdctl has it: `name`, or `name:password`.
    #[must_use]
    pub fn with_user(mut self, user: Option<String>) -> Self {
        match user.as_deref().map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, "")) => self.user = Some(name.to_owned()),
            Some((name, password)) => {
                self.user = Some(name.to_owned());
                self.password = Some(Password::new(password));
            }
            None => {}
        }
        self
    }

    /// What is said here, and where nothing is said, what `other` says. A user goes with a password, and a certificate
    /// with its key: another user's password is not taken.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let has_identity = self.cert.is_some() || self.key.is_some();
        let other_password =
            other.password.filter(|_| self.user.is_none() || self.user == other.user || other.user.is_none());
        Self {
            endpoints: if self.endpoints.is_empty() { other.endpoints } else { self.endpoints },
            cacert: self.cacert.or(other.cacert),
            cert: if has_identity { self.cert } else { other.cert },
            key: if has_identity { self.key } else { other.key },
            insecure_skip_tls_verify: self.insecure_skip_tls_verify || other.insecure_skip_tls_verify,
            user: self.user.or(other.user),
            password: self.password.or(other_password),
        }
    }

    /// Whether it can be used: certificates with keys, users with passwords.
    ///
    /// # Errors
    /// [`ClientConfigError::HalfCertificate`], [`ClientConfigError::NoPassword`], [`ClientConfigError::NoUser`].
    pub fn check(&self) -> Result<(), ClientConfigError> {
        match (&self.user, &self.password) {
            _ if self.cert.is_some() != self.key.is_some() => Err(ClientConfigError::HalfCertificate),
            (Some(user), None) => Err(ClientConfigError::NoPassword(user.clone())),
            (None, Some(_)) => Err(ClientConfigError::NoUser),
            _ => Ok(()),
        }
    }

    /// Whether anything is said about TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.insecure_skip_tls_verify
    }

    /// The variables by which a child finds the cluster: ours, and those that etcdctl and users of etcd-client expect. With
    /// the password: for an environment, never for a log.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let urls = self.endpoints.join(",");
        let mut variables =
            vec![("ETCD_ENDPOINTS", urls.clone()), ("ETCDCTL_API", "3".to_owned()), ("ETCDCTL_ENDPOINTS", urls)];
        let files = [("ETCDCTL_CACERT", &self.cacert), ("ETCDCTL_CERT", &self.cert), ("ETCDCTL_KEY", &self.key)];
        let files = files.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?.display().to_string())));
        variables.extend(files);
        if self.insecure_skip_tls_verify {
            variables.push(("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true".to_owned()));
        }
        variables.extend(self.user.clone().map(|user| ("ETCDCTL_USER", user)));
        variables.extend(self.password.as_ref().map(|password| ("ETCDCTL_PASSWORD", password.0.clone())));
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<ClientConfig, ClientConfigError> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ClientConfig::from_variables(find)
    }

    #[test]
    fn what_is_handed_on_is_read_again() {
        let said = [
            ("ETCD_ENDPOINTS", "https://a:1, b:2"),
            ("ETCDCTL_CACERT", "ca.pem"),
            ("ETCDCTL_CERT", "c.pem"),
            ("ETCDCTL_KEY", "k.pem"),
            ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "1"),
            ("ETCDCTL_USER", "ci:a:b"),
        ];
        let config = of(&said).unwrap();
        assert_eq!((config.endpoints.len(), config.user.as_deref()), (2, Some("ci")));
        assert_eq!(config.password.as_ref().unwrap().reveal(), "a:b");
        assert!(!format!("{config:?}").contains("a:b"));
        let variables = config.variables();
        assert!(variables.iter().all(|(name, _)| *name == "ETCDCTL_API" || ClientConfig::VARIABLES.contains(name)));
        let again: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(of(&again).unwrap(), config);
        assert!(of(&[("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "yes")]).is_err());
    }

    #[test]
    fn a_flag_beats_what_else_is_said_and_takes_no_other_users_password() {
        let other = of(&[("ETCD_ENDPOINTS", "a:1"), ("ETCDCTL_USER", "root:secret"), ("ETCDCTL_CERT", "c")]).unwrap();
        let flags = ClientConfig { user: Some("guest".to_owned()), key: Some("k".into()), ..ClientConfig::default() };
        let config = flags.or(other);
        assert_eq!((config.endpoints.as_slice(), config.password.as_ref()), (["a:1".to_owned()].as_slice(), None));
        assert!(matches!(config.check(), Err(ClientConfigError::HalfCertificate)));
        let config = ClientConfig { key: None, ..config };
        assert!(matches!(config.check(), Err(ClientConfigError::NoPassword(user)) if user == "guest"));
    }

    #[test]
    fn a_cluster_of_the_manifest_has_files_of_the_workspace() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pw"), "secret\n").unwrap();
        let cluster = ManifestCluster {
            endpoints: vec!["https://a:1".to_owned()],
            cacert: Some("ca.pem".into()),
            user: Some("ci".to_owned()),
            password_file: Some("pw".into()),
            ..ManifestCluster::default()
        };
        let clusters = BTreeMap::from([("ci".to_owned(), cluster), ("none".to_owned(), ManifestCluster::default())]);
        let named = |name| ClientConfig::named(name, &clusters, dir.path());
        let config = named("ci").unwrap();
        assert_eq!(config.cacert, Some(dir.path().join("ca.pem")));
        assert_eq!(config.password.unwrap().reveal(), "secret");
        assert!(named("cii").unwrap_err().to_string().ends_with("there are: ci, none"));
        assert!(matches!(named("none"), Err(ClientConfigError::NoEndpoints(_))));
    }
}
