//! The environment as a value: variables, working directory, temporary directory. The library reads the
//! process's own only in [`Env::from_process`], so that callers and tests decide what it sees.
//! Never printed: an inherited environment holds secrets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A snapshot of what a process inherits.
#[derive(Clone)]
pub struct Env {
    vars: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
    temp_dir: PathBuf,
}

impl Env {
    /// The environment of this process.
    ///
    /// # Errors
    /// If the working directory is gone or may not be read.
    pub fn from_process() -> io::Result<Self> {
        Ok(Self { vars: std::env::vars_os().collect(), cwd: std::env::current_dir()?, temp_dir: std::env::temp_dir() })
    }

    /// An environment without any variable, rooted in `cwd`, with `cwd` for temporary files.
    #[must_use]
    pub fn empty(cwd: impl Into<PathBuf>) -> Self {
        let cwd = cwd.into();
        Self { vars: BTreeMap::new(), temp_dir: cwd.clone(), cwd }
    }

    /// The same environment with one variable set.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// The same environment without one variable.
    #[must_use]
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.vars.remove(name.as_ref());
        self
    }

    /// The same environment with another directory for temporary files.
    #[must_use]
    pub fn with_temp_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.temp_dir = dir.into();
        self
    }

    /// A variable's value; one that is set to nothing counts as unset, as it does for etcd and Cargo.
    #[must_use]
    pub fn var_os(&self, name: &str) -> Option<&OsStr> {
        let value = match self.vars.get(OsStr::new(name)) {
            Some(value) => Some(value),
            // Windows spells it `Path`, and compares names without regard to case.
            None if cfg!(windows) => self
                .vars
                .iter()
                .find(|(key, _)| key.to_str().is_some_and(|key| key.eq_ignore_ascii_case(name)))
                .map(|(_, value)| value),
            None => None,
        };
        value.map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Like [`Env::var_os`], for values that must be text; others count as unset.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.var_os(name).and_then(OsStr::to_str)
    }

    /// A variable that names a path; a relative one is taken from the working directory.
    #[must_use]
    pub fn path_var(&self, name: &str) -> Option<PathBuf> {
        self.var_os(name).map(|value| self.cwd.join(value))
    }

    /// All variables, for a child that is to inherit them.
    pub fn vars(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Where temporary directories go.
    #[must_use]
    pub fn temp_dir(&self) -> &Path {
        &self.temp_dir
    }

    /// The user's home directory, if any variable names one.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.path_var(if cfg!(windows) { "USERPROFILE" } else { "HOME" })
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("cwd", &self.cwd).field("vars", &self.vars.len()).finish_non_exhaustive()
    }
}
