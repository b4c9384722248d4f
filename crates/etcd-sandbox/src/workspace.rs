//! What a test finds by itself when nobody told it: the workspace's roots, its running instance, a place for
//! locks. Reads files; knows no etcd.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::instance::Instance;
use crate::roots::Roots;

/// Where etcd listens when nobody says anything: its own default.
const DEFAULT_PORT: u16 = 2379;

/// The workspace that this process belongs to, or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    dir: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Manifest {
    workspace: Option<Table>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    etcd: Places,
}

/// What we read of `[workspace.metadata.etcd]`. The rest of it is for those who run an etcd.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Places {
    root: Option<String>,
    test_root: Option<String>,
    protected: Vec<String>,
    port: Option<Port>,
}

/// Where the instance `default` listens, as `cargo xtask etcd-up` understands it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Spelling")]
enum Port {
    Fixed(u16),
    /// Only its record says which.
    Auto,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Spelling {
    Number(u64),
    Text(String),
}

impl TryFrom<Spelling> for Port {
    type Error = String;

    fn try_from(port: Spelling) -> Result<Self, String> {
        let text = match port {
            Spelling::Text(text) if text == "auto" => return Ok(Self::Auto),
            Spelling::Text(text) => text,
            Spelling::Number(number) => number.to_string(),
        };
        match text.parse() {
            Ok(port) if port != 0 => Ok(Self::Fixed(port)),
            _ => Err(format!("`{text}` is neither a port from 1 to 65535 nor `auto`")),
        }
    }
}

/// Where etcd is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// This instance, whose record is here, and nobody else.
    Instance(PathBuf, Instance),
    /// Whoever answers at these endpoints.
    Anyone(Vec<String>),
}

impl Workspace {
    /// The nearest workspace upwards of where cargo says that the package is, or else of the current directory.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let start = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let start = start.or_else(|| std::env::current_dir().ok());
        start.map_or_else(Self::default, |start| Self::above(&start))
    }

    /// The nearest workspace upwards of a directory.
    #[must_use]
    pub(crate) fn above(start: &Path) -> Self {
        let is_workspace = |dir: &&Path| {
            fs::read_to_string(dir.join("Cargo.toml"))
                .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("[workspace")))
        };
        Self { dir: start.ancestors().find(is_workspace).map(Path::to_owned) }
    }

    /// Its directory; `None`: there is no workspace.
    #[cfg(any(test, feature = "private"))]
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The roots of `[workspace.metadata.etcd]`: `root`, `test-root`, `protected`.
    ///
    /// # Errors
    /// If the manifest cannot be read, or names roots that cannot be.
    pub(crate) fn roots(&self) -> Result<Roots, Error> {
        let places = self.places()?;
        let root = places.root.as_deref().unwrap_or("/CloudChamber/v0.1");
        Ok(Roots::new(root, places.test_root.as_deref().unwrap_or("Test"), &places.protected)?)
    }

    fn places(&self) -> Result<Places, Error> {
        let Some(dir) = &self.dir else { return Ok(Places::default()) };
        let path = dir.join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(Error::system(format!("read `{}`", path.display())))?;
        let manifest: Manifest = basic_toml::from_str(&text)
            .map_err(|error| Error::Manifest { path, why: error.to_string().trim_end().to_owned() })?;
        Ok(manifest.workspace.unwrap_or_default().metadata.etcd)
    }

    /// `ETCD_ENDPOINTS`, else the running instance `default`, else the manifest's port, etcd's own where it names none.
    ///
    /// # Errors
    /// If the record of the running instance does not say which cluster it is; if none is running, and the manifest
    /// cannot be read, or leaves the port to the instance.
    pub(crate) fn place(&self) -> Result<Place, Error> {
        if let Some(urls) = variable("ETCD_ENDPOINTS") {
            return Ok(Place::Anyone(urls.split(',').map(|url| url.trim().to_owned()).collect()));
        }
        let found = self.dir.as_ref().and_then(|dir| {
            let path = dir.join(".etcd/default/instance.json");
            let instance = Instance::running(&path).ok()??;
            Some((path, instance))
        });
        match found {
            Some((path, instance)) if instance.cluster_id.is_some() => Ok(Place::Instance(path, instance)),
            Some((path, _)) => {
                let why = "it does not say which cluster it is; `cargo xtask etcd-up` waits until that is known";
                Err(Error::Record { path, why: why.to_owned() })
            }
            None => self.configured().map(Place::Anyone),
        }
    }

    /// Where an etcd would be that nobody wrote down: one that was not started by `cargo xtask etcd-up`.
    fn configured(&self) -> Result<Vec<String>, Error> {
        match self.places()?.port.unwrap_or(Port::Fixed(DEFAULT_PORT)) {
            Port::Fixed(port) => Ok(vec![format!("http://127.0.0.1:{port}")]),
            Port::Auto => Err(Error::NotRunning),
        }
    }

    /// Where the locks of runs are: with the workspace's instances, where there are any, under a name that no instance
    /// has; else among temporary files, each user's apart.
    #[must_use]
    pub(crate) fn lock_dir(&self) -> PathBuf {
        let home = self.dir.as_ref().map(|dir| dir.join(".etcd")).filter(|home| home.is_dir());
        home.map_or_else(temporary, |home| home.join(".runs"))
    }
}

#[cfg(unix)]
fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("etcd-sandbox-{}", rustix::process::geteuid().as_raw()))
}

/// Temporary files are each user's own there.
#[cfg(not(unix))]
fn temporary() -> PathBuf {
    std::env::temp_dir().join("etcd-sandbox")
}

/// A variable of the environment that has a value.
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
        assert_eq!(defaults.roots().unwrap().test_root(), "/CloudChamber/v0.1/Test/");
        let table = "[workspace]\n[workspace.metadata.etcd]\nversion = '^3.5'\nroot = '/a/'\ntest-root = 'b'";
        assert_eq!(workspace(table).1.roots().unwrap().test_root(), "/a/b/");
    }

    #[test]
    fn roots_that_cannot_be_are_refused_when_read() {
        for line in ["root = '/'", "test-root = ''", "test-root = '../x'", "test-root = '/a'", "root = 5"] {
            let (_dir, workspace) = workspace(&format!("[workspace]\n[workspace.metadata.etcd]\n{line}"));
            assert!(workspace.roots().is_err(), "{line}");
        }
    }

    #[test]
    fn without_an_instance_the_manifest_says_where() {
        let configured = |line: &str| {
            let (_dir, workspace) = workspace(&format!("[workspace]\n[workspace.metadata.etcd]\n{line}"));
            workspace.configured().map(|endpoints| endpoints.join(","))
        };
        for (line, endpoint) in [("", 2379), ("port = 22379", 22379), ("port = '22379'", 22379)] {
            assert_eq!(configured(line).unwrap(), format!("http://127.0.0.1:{endpoint}"), "{line}");
        }
        assert!(matches!(configured("port = 'auto'"), Err(Error::NotRunning)));
        for line in ["port = 0", "port = 65536", "port = 'some'"] {
            let why = configured(line).unwrap_err().to_string();
            assert!(why.contains("Cargo.toml") && why.contains("neither a port"), "{line}: {why}");
        }
        assert_eq!(Workspace::default().configured().unwrap(), ["http://127.0.0.1:2379"]);
    }

    #[test]
    fn an_instance_is_used_while_it_runs() {
        let (dir, workspace) = workspace("[workspace]");
        assert!(workspace.lock_dir().starts_with(std::env::temp_dir()));
        let home = dir.path().join(".etcd/default");
        fs::create_dir_all(&home).unwrap();
        assert_eq!(workspace.lock_dir(), dir.path().join(".etcd/.runs"));
        if variable("ETCD_ENDPOINTS").is_some() {
            return;
        }
        let path = home.join("instance.json");
        let instance = Instance { endpoints: vec!["http://127.0.0.1:7".to_owned()], cluster_id: Some(0xab) };
        let anyone = || Place::Anyone(vec!["http://127.0.0.1:2379".to_owned()]);
        for (text, place) in [
            (
                r#"{"endpoints":["http://127.0.0.1:7"],"pids":[1],"cluster_id":"00000000000000ab"}"#,
                Place::Instance(path.clone(), instance),
            ),
            (r#"{"endpoints":["http://127.0.0.1:7"],"pids":[]}"#, anyone()),
            ("damaged", anyone()),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(workspace.place().unwrap(), place);
        }
        for id in ["", r#","cluster_id":null"#, r#","cluster_id":"""#, r#","cluster_id":"x""#] {
            fs::write(&path, format!(r#"{{"endpoints":["http://127.0.0.1:7"],"pids":[1]{id}}}"#)).unwrap();
            let why = workspace.place().unwrap_err().to_string();
            assert!(why.contains("instance.json") && why.contains("which cluster"), "{id}: {why}");
        }
    }
}
