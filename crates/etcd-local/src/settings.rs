//! What a local etcd is to be like, from `[workspace.metadata.etcd]` and the environment; the builder's
//! setters beat both. Reads two files at most and touches nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use etcd_workspace::{DEFAULT_PORT, Port, TlsSetting};
use etcd_workspace::{DEFAULT_TEST_ROOT, ManifestSettings};
use semver::VersionReq;

use crate::binary::Wanted;
use crate::env::Env;

/// etcd's own default for other members; ours beside [`DEFAULT_PORT`].
pub const DEFAULT_PEER_PORT: u16 = 2380;
/// The version of etcd to run if no setting names one. It must have checksums in etcd-binary's `pins.tsv`.
pub const DEFAULT_VERSION: &str = "=3.7.2";

/// The instance that is meant where none is named. The ports of a manifest, and etcd's own, are its alone.
pub const DEFAULT_INSTANCE: &str = "default";

/// How the servers of a workspace are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Which etcd to run.
    pub wanted: Wanted,
    /// The address to listen on; loopback unless somebody plainly said otherwise.
    pub host: IpAddr,
    /// The client port; `None`: see [`Settings::client`]. The manifest names the one of the instance [`DEFAULT_INSTANCE`].
    /// Others have any, unless a variable or the builder's setter names one.
    pub port: Option<Port>,
    /// The peer port, named in the same way; `None`: see [`Settings::peer`].
    pub peer_port: Option<Port>,
    pub(crate) for_any_instance: NamedPorts,
    /// The member's name; `None`: the host's name.
    pub member: Option<String>,
    /// Where the data goes; `None`: the instance's own directory.
    pub data_dir: Option<PathBuf>,
    /// How long a start may take, from spawn to proven ready.
    pub start_timeout: Duration,
    /// The product's key prefix, without a trailing slash; `None`: the workspace does not say.
    pub root: Option<String>,
    /// The test root, below `root`, one segment.
    pub test_root: String,
    /// More prefixes that no command deletes below.
    pub protected: Vec<String>,
    /// Who speaks TLS with instances, and with which certificates.
    pub tls: Option<TlsSetting>,
    /// Whether authentication is on in instances.
    pub auth: bool,
    /// How many learners a new instance of several members has.
    pub learners: usize,
}

/// The ports that a variable or a setter names. They hold for any instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamedPorts {
    port: Option<Port>,
    peer_port: Option<Port>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wanted: Wanted::Matching(VersionReq::parse(DEFAULT_VERSION).unwrap_or(VersionReq::STAR)),
            host: Ipv4Addr::LOCALHOST.into(),
            port: None,
            peer_port: None,
            for_any_instance: NamedPorts::default(),
            member: None,
            data_dir: None,
            start_timeout: Duration::from_secs(30),
            root: None,
            test_root: DEFAULT_TEST_ROOT.to_owned(),
            protected: Vec::new(),
            tls: None,
            auth: false,
            learners: 0,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The manifest cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest, or its `[workspace.metadata.etcd]`, is not what it should be.
    #[error("`{}`: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, with the line where the parser knows it.
        reason: String,
    },
    /// A variable of the environment has a value that it cannot have.
    #[error("the variable `{name}` is `{value}`: {reason}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Settings {
    /// The settings of the workspace at `root`: its `Cargo.toml`, then the environment's `ETCD*` variables.
    ///
    /// # Errors
    /// If the manifest or a variable cannot be read or understood. The table's keys that nobody knows are
    /// errors, too: a misspelt `protected` must not protect nothing.
    pub fn load(root: &Path, env: &Env) -> Result<Self, SettingsError> {
        let path = root.join("Cargo.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SettingsError::Read { path, source }),
        };
        let table = ManifestSettings::parse(&text).map_err(|reason| SettingsError::Manifest { path, reason })?;
        let mut settings = Self::default();
        settings.apply_table(table, root);
        settings.apply_env(env)?;
        Ok(settings)
    }

    /// The client port: as it was set, else etcd's own.
    #[must_use]
    pub fn client(&self) -> Port {
        self.port.unwrap_or(Port::Fixed(DEFAULT_PORT))
    }

    /// The peer port: as it was set, else 2380 if the client port is 2379, else any free port. Users need not know the peer
    /// port, and two servers cannot share 2380.
    #[must_use]
    pub fn peer(&self) -> Port {
        self.peer_port.unwrap_or(match self.client() {
            Port::Fixed(DEFAULT_PORT) => Port::Fixed(DEFAULT_PEER_PORT),
            Port::Fixed(_) | Port::Auto => Port::Auto,
        })
    }

    /// Names the client port of any instance.
    pub(crate) fn set_port(&mut self, port: Port) {
        (self.port, self.for_any_instance.port) = (Some(port), Some(port));
    }

    /// Names the peer port of any instance.
    pub(crate) fn set_peer_port(&mut self, port: Port) {
        (self.peer_port, self.for_any_instance.peer_port) = (Some(port), Some(port));
    }

    /// As they are for one instance: a manifest's ports, and etcd's own, can be those of one only.
    pub(crate) fn of_instance(&self, name: &str) -> Self {
        let mut settings = self.clone();
        if name != DEFAULT_INSTANCE {
            settings.port = self.for_any_instance.port.or(Some(Port::Auto));
            settings.peer_port = self.for_any_instance.peer_port;
        }
        settings
    }

    /// For the fuzz target: what a manifest says.
    #[cfg(fuzzing)]
    pub(crate) fn fuzz(manifest: &str) -> Option<Self> {
        let mut settings = Self::default();
        settings.apply_table(ManifestSettings::parse(manifest).ok()?, Path::new("/workspace"));
        Some(settings)
    }

    fn apply_table(&mut self, table: ManifestSettings, root: &Path) {
        if let Some(version) = table.version {
            self.wanted = Wanted::Matching(version);
        }
        self.port = table.port.or(self.port);
        self.peer_port = table.peer_port.or(self.peer_port);
        self.data_dir = table.data_dir.map(|dir| root.join(dir)).or(self.data_dir.take());
        self.start_timeout = table.start_timeout.unwrap_or(self.start_timeout);
        self.root = table.root.or(self.root.take());
        if let Some(segment) = table.test_root {
            self.test_root = segment;
        }
        self.protected = table.protected;
        self.auth = table.auth;
        self.learners = table.learners;
        self.tls = table.tls.map(|tls| match tls {
            TlsSetting::Dir(dir) => TlsSetting::Dir(root.join(dir)),
            made @ TlsSetting::Made(_) => made,
        });
    }

    fn apply_env(&mut self, env: &Env) -> Result<(), SettingsError> {
        if let Some(port) = from_env(env, "ETCDPORTCLNT", Port::from_str)? {
            self.set_port(port);
        }
        if let Some(port) = from_env(env, "ETCDPORTPEER", Port::from_str)? {
            self.set_peer_port(port);
        }
        if let Some(host) = from_env(env, "ETCDNODEADDR", host)? {
            self.host = host;
        }
        if let Some(member) = from_env(env, "ETCDINSTANCE", member_name)? {
            self.member = Some(member);
        }
        if let Some(dir) = env.path_var("ETCDDATA") {
            self.data_dir = Some(dir);
        }
        if let Some(path) = env.path_var("ETCDBINPATH") {
            self.wanted = Wanted::At(path);
        }
        Ok(())
    }
}

fn from_env<T>(
    env: &Env,
    name: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, SettingsError> {
    let Some(value) = env.var_os(name) else { return Ok(None) };
    let value = value.to_string_lossy();
    match parse(&value) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(reason) => Err(SettingsError::Variable { name, value: value.into_owned(), reason }),
    }
}

/// etcd listens on IP addresses and on `localhost`, nothing else. An IPv6 address may have the brackets of a URL.
fn host(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match (text, bare.unwrap_or(text).parse::<IpAddr>()) {
        ("localhost", _) => Ok(Ipv4Addr::LOCALHOST.into()),
        (_, Ok(host)) if bare.is_none() || host.is_ipv6() => Ok(host.to_canonical()),
        _ => Err("it must be an IP address or `localhost`".to_owned()),
    }
}

/// A name that survives in `--initial-cluster NAME=URL,NAME=URL`.
pub(crate) fn member_name(text: &str) -> Result<String, String> {
    match text.chars().find(|c| matches!(c, '=' | ',') || c.is_whitespace() || c.is_control()) {
        Some(c) => Err(format!("a member's name must not contain {c:?}")),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let parsed = ManifestSettings::parse(&format!("[workspace]\n[workspace.metadata.etcd]\n{lines}"))?;
        settings.apply_table(parsed, Path::new("/w"));
        Ok(settings)
    }

    #[test]
    fn the_default_version_is_a_requirement() {
        assert_eq!(Settings::default().wanted, Wanted::Matching(VersionReq::parse(DEFAULT_VERSION).unwrap()));
    }

    #[test]
    fn the_environment_beats_the_manifest_which_beats_the_default() {
        let mut settings = table("port = 3000\npeer-port = 'auto'\ndata-dir = 'data'\nstart-timeout = 90").unwrap();
        assert_eq!(settings.start_timeout, Duration::from_secs(90));
        assert_eq!((settings.port, settings.peer_port), (Some(Port::Fixed(3000)), Some(Port::Auto)));
        assert_eq!(settings.data_dir, Some("/w/data".into()));
        let env = Env::empty("/cwd").with("ETCDPORTCLNT", "4000").with("ETCDDATA", "here").with("ETCDBINPATH", "bin");
        settings.apply_env(&env).unwrap();
        assert_eq!(settings.port, Some(Port::Fixed(4000)));
        assert_eq!(settings.data_dir, Some("/cwd/here".into()));
        assert_eq!(settings.wanted, Wanted::At("/cwd/bin".into()));
        assert_eq!(settings.host, Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn an_address_may_be_of_either_version() {
        for (text, expected) in [
            ("localhost", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host(text), Ok(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (name, value) in [
            ("ETCDPORTCLNT", "x"),
            ("ETCDPORTPEER", "0"),
            ("ETCDNODEADDR", "host"),
            ("ETCDNODEADDR", "[127.0.0.1]"),
            ("ETCDNODEADDR", "fe80::1%eth0"),
            ("ETCDINSTANCE", "a=b"),
        ] {
            let error = Settings::default().apply_env(&Env::empty("/").with(name, value)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
