//! What a test finds by itself: the workspace's roots, its running instance, a directory for locks. Reads files; asks no
//! etcd.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use etcd_keys::Redaction;
use etcd_workspace::{
    ClientConfig, DEFAULT_PORT, DEFAULT_TEST_ROOT, Liveness, ManifestSettings, NoRoot, NotYours, Port, Record, STATE,
    home, liveness,
};

use crate::error::Error;
use crate::hint;
use crate::roots::Roots;

/// The instance that tests use.
const INSTANCE: &str = "default";

/// The workspace that this process belongs to, if any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    dir: Option<PathBuf>,
}

/// Which etcd a test uses.
#[derive(Debug)]
pub(crate) enum Target {
    /// The running instance of a workspace, and no other server.
    Instance { workspace: PathBuf, record: Box<Record> },
    /// Whatever answers at the endpoints that `ETCD_ENDPOINTS` names.
    Named(Box<ClientConfig>),
    /// A server for one test alone.
    #[cfg(feature = "private")]
    Private(Box<ClientConfig>),
}

impl Target {
    pub(crate) fn endpoints(&self) -> &[String] {
        match self {
            Self::Instance { record, .. } => &record.endpoints,
            Self::Named(config) => &config.endpoints,
            #[cfg(feature = "private")]
            Self::Private(config) => &config.endpoints,
        }
    }

    /// The next step where no etcd answers.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Instance { .. } => hint::LOOK,
            Self::Named(_) => hint::NAMED,
            #[cfg(feature = "private")]
            Self::Private(_) => "it was started for this test alone, and has ended",
        }
    }
}

/// The endpoints, and where they come from.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.endpoints().join(","))?;
        match self {
            Self::Instance { workspace, .. } => write!(f, "etcd `{INSTANCE}` of `{}`", workspace.display()),
            Self::Named(_) => f.write_str("named by ETCD_ENDPOINTS"),
            #[cfg(feature = "private")]
            Self::Private(_) => f.write_str("started for this test alone"),
        }
    }
}

impl Workspace {
    /// The nearest workspace above the package's directory, which cargo names, or else above the current directory.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let start = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let start = start.or_else(|| std::env::current_dir().ok());
        start.map_or_else(Self::default, |start| Self::above(&start))
    }

    /// The nearest workspace above a directory.
    #[must_use]
    pub(crate) fn above(start: &Path) -> Self {
        let is_workspace = |dir: &&Path| {
            fs::read_to_string(dir.join("Cargo.toml"))
                .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("[workspace")))
        };
        Self { dir: start.ancestors().find(is_workspace).map(Path::to_owned) }
    }

    /// Its directory; `None`: there is no workspace.
    #[cfg(feature = "private")]
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The roots of `[workspace.metadata.etcd]`: `root`, `test-root`, `protected`.
    ///
    /// # Errors
    /// If the manifest cannot be read, names no root, or names roots that are not valid.
    pub(crate) fn roots(&self) -> Result<Roots, Error> {
        let settings = self.settings()?;
        let test_root = settings.test_root.as_deref().unwrap_or(DEFAULT_TEST_ROOT);
        Ok(Roots::new(settings.root.as_deref().ok_or(NoRoot)?, test_root, &settings.protected)?)
    }

    /// The keys whose values are not shown: `redact`. A manifest that cannot be read hides nothing: without it there is no
    /// run either.
    pub(crate) fn redaction(&self) -> Redaction {
        let settings = self.settings().unwrap_or_default();
        Redaction::new(settings.redact.iter().map(String::as_str))
    }

    fn settings(&self) -> Result<ManifestSettings, Error> {
        let Some(dir) = &self.dir else { return Ok(ManifestSettings::default()) };
        let path = dir.join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(Error::system(format!("read `{}`", path.display())))?;
        ManifestSettings::parse(&text).map_err(|why| Error::Manifest { path, why })
    }

    /// `ETCD_ENDPOINTS`, else the running instance `default`. While that instance is stopped, an etcd on its port is not
    /// this workspace's.
    ///
    /// # Errors
    /// If there is no such instance, it is not running, or its record does not lead to it.
    pub(crate) fn target(&self) -> Result<Target, Error> {
        if variable("ETCD_ENDPOINTS").is_some() {
            let config = ClientConfig::from_variables(variable)?;
            config.check()?;
            return Ok(Target::Named(Box::new(config)));
        }
        let Some(dir) = &self.dir else { return Err(Error::NoWorkspace) };
        let unusable = |why: &str, hint| Error::Instance { workspace: dir.clone(), why: why.to_owned(), hint };
        match liveness(&home(dir, std::env::var_os(STATE).as_deref()).join(INSTANCE)) {
            Ok(Liveness::Running(record)) if record.cluster_id.is_some() => {
                Ok(Target::Instance { workspace: dir.clone(), record })
            }
            Ok(Liveness::Running(_)) => {
                Err(unusable("runs, but its record does not say which cluster it is", hint::WAIT))
            }
            Ok(Liveness::Starting) => Err(unusable("is starting", hint::WAIT)),
            Ok(Liveness::NoQuorum { running, members }) => {
                Err(unusable(&format!("has no quorum: {running} of {members} members run"), hint::START_OTHERS))
            }
            Ok(Liveness::Stopped) => Err(Error::NotRunning { workspace: dir.clone(), other: None }),
            Err(error) => Err(unusable(&format!("cannot be found: {error}"), hint::LOOK)),
        }
    }

    /// Where the instance listens unless `etcd-up` was told another port; `None`: only the record knows.
    ///
    /// # Errors
    /// If the manifest cannot be read.
    pub(crate) fn usual_endpoint(&self) -> Result<Option<String>, Error> {
        match self.settings()?.port.unwrap_or(Port::Fixed(DEFAULT_PORT)) {
            Port::Fixed(port) => Ok(Some(format!("http://127.0.0.1:{port}"))),
            Port::Auto => Ok(None),
        }
    }

    /// The directory of the runs' locks: beside the workspace's instances, if there are any and they are this user's,
    /// under a name that no instance has; else a directory of this user among temporary files.
    #[must_use]
    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.own_home().map_or_else(temporary, |home| home.join(".runs"))
    }

    /// The directory of the certificates of tests' own etcds, in the same place.
    #[cfg(feature = "private")]
    pub(crate) fn tls_dir(&self) -> PathBuf {
        self.own_home().map_or_else(|| temporary().join("tls"), |home| home.join(".tls"))
    }

    /// The directory of the workspace's instances, if there is one and it is this user's.
    fn own_home(&self) -> Option<PathBuf> {
        let home = self.dir.as_deref().map(|dir| home(dir, std::env::var_os(STATE).as_deref()));
        home.filter(|home| home.is_dir() && NotYours::find(home).is_none())
    }
}

#[cfg(unix)]
fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("etcd-sandbox-{}", rustix::process::geteuid().as_raw()))
}

/// There each user has a directory of temporary files.
#[cfg(not(unix))]
fn temporary() -> PathBuf {
    std::env::temp_dir().join("etcd-sandbox")
}

/// A variable of the environment that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(manifest: &str) -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        let inner = dir.path().join("crates/a");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("Cargo.toml"), "[package]\nname='a'").unwrap();
        let workspace = Workspace::above(&inner);
        (dir, workspace)
    }

    #[test]
    fn the_roots_are_those_of_the_manifest() {
        let (_dir, defaults) = workspace("[workspace]\nmembers = ['crates/*']");
        assert!(format!("{:?}", defaults.roots().unwrap_err()).contains("hint: add a line like `root = "));
        let (_dir, defaults) = workspace("[workspace.metadata.etcd]\nroot = '/Inventory/v1'");
        assert_eq!(defaults.roots().unwrap().test_root(), "/Inventory/v1/Test/");
        let table = "[workspace]\n[workspace.metadata.etcd]\nversion = '^3.5'\nroot = '/a/'\ntest-root = 'b'";
        assert_eq!(workspace(table).1.roots().unwrap().test_root(), "/a/b/");
        let dated = format!("{table}\n[workspace.metadata.x]\nsince = 2024-01-01");
        assert_eq!(workspace(&dated).1.roots().unwrap().test_root(), "/a/b/");
    }

    #[test]
    fn roots_that_are_not_valid_are_refused_when_read() {
        for line in
            ["root = '/'", "test-root = ''", "test-root = '../x'", "test-root = '/a'", "root = 5", "protekted = ['/a']"]
        {
            let (_dir, workspace) = workspace(&format!("[workspace]\n[workspace.metadata.etcd]\n{line}"));
            assert!(workspace.roots().is_err(), "{line}");
        }
    }

    #[test]
    fn the_manifest_says_where_the_instance_would_be() {
        let usual = |line: &str| {
            let (_dir, workspace) = workspace(&format!("[workspace]\n[workspace.metadata.etcd]\n{line}"));
            workspace.usual_endpoint()
        };
        for (line, port) in [("", 2379), ("port = 22379", 22379), ("port = '22379'", 22379)] {
            assert_eq!(usual(line).unwrap(), Some(format!("http://127.0.0.1:{port}")), "{line}");
        }
        assert_eq!(usual("port = 'auto'").unwrap(), None);
        for line in
            ["port = 0", "port = 65536", "port = 'some'", "port = -1", "port = 2379.5", "port = true", "port = []"]
        {
            let why = usual(line).unwrap_err().to_string();
            assert!(why.contains("Cargo.toml") && why.contains("neither a port"), "{line}: {why}");
        }
    }

    #[test]
    fn locks_are_beside_the_instances_if_there_are_any() {
        let (dir, workspace) = workspace("[workspace]");
        assert!(workspace.lock_dir().starts_with(std::env::temp_dir()));
        fs::create_dir_all(dir.path().join(".etcd/default")).unwrap();
        assert_eq!(workspace.lock_dir(), dir.path().join(".etcd/.runs"));
    }
}
