//! The environment as a value: variables, working directory, temporary directory. The library reads the
//! process's own only in [`Env::from_process`], so that callers and tests decide what it sees.
//! Never printed: an inherited environment holds secrets.

mod cargo;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use semver::Version;

/// Names the processor, as Go does, that an etcd whose release does not support it runs on all the same; without it such
/// an etcd ends at once, also when it is only asked for its version: etcdmain/etcd.go, `checkSupportArch`.
const UNSUPPORTED_ARCH: &str = "ETCD_UNSUPPORTED_ARCH";

/// A snapshot of what a process inherits. Variables that cargo and rustup set for this process are seen by it, and not
/// handed to its children.
#[derive(Clone)]
pub struct Env {
    /// The user's.
    vars: BTreeMap<OsString, OsString>,
    /// What cargo and rustup added or changed, as they left it.
    cargos: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
    temp_dir: PathBuf,
}

impl Env {
    /// The environment of this process.
    ///
    /// # Errors
    /// If the working directory is gone or may not be read.
    pub fn from_process() -> io::Result<Self> {
        let (mut vars, cwd) = (std::env::vars_os().collect(), std::env::current_dir()?);
        let cargos = cargo::take(&mut vars, &cwd, std::env::current_exe().ok().as_deref());
        Ok(Self { vars, cargos, cwd, temp_dir: std::env::temp_dir() })
    }

    /// An environment without any variable, rooted in `cwd`, with `cwd` for temporary files.
    #[must_use]
    pub fn empty(cwd: impl Into<PathBuf>) -> Self {
        let cwd = cwd.into();
        Self { vars: BTreeMap::new(), cargos: BTreeMap::new(), temp_dir: cwd.clone(), cwd }
    }

    /// The same environment with one variable set.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.cargos.remove(&name);
        self.vars.insert(name, value.into());
        self
    }

    /// The same environment without one variable.
    #[must_use]
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.vars.remove(name.as_ref());
        self.cargos.remove(name.as_ref());
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
        let value = match self.cargos.get(OsStr::new(name)).or_else(|| self.vars.get(OsStr::new(name))) {
            Some(value) => Some(value),
            // Windows spells it `Path`, and compares names without regard to case.
            None if cfg!(windows) => self
                .cargos
                .iter()
                .chain(&self.vars)
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

    /// The variable that leads a cargo to the toolchain that runs this process, if rustup chose it.
    #[must_use]
    pub fn toolchain(&self) -> Option<(&'static str, &OsStr)> {
        const NAME: &str = "RUSTUP_TOOLCHAIN";
        self.var_os(NAME).map(|toolchain| (NAME, toolchain))
    }

    /// What `[env]` of Cargo's configuration sets a variable to, for what cargo runs in `dir`.
    #[must_use]
    pub fn configured_var_os(&self, name: &str, dir: &Path) -> Option<OsString> {
        let home = self.path_var("CARGO_HOME").or_else(|| self.home().map(|home| home.join(".cargo")));
        cargo::configured(dir, home.as_deref()).into_iter().find_map(|(set, to)| (set == name).then_some(to))
    }

    /// The user's variables, for a child that is to inherit them.
    pub fn vars(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// What an etcd of this version, if that is known, inherits: none of the `ETCD_*` variables, which it reads as flags,
    /// and which mean other things to us. But the one that lets it run on a processor that its release does not support.
    pub fn for_etcd(&self, version: Option<&Version>) -> Self {
        let mut env = self.clone();
        env.vars.retain(|name, _| name == UNSUPPORTED_ARCH || !name.to_string_lossy().starts_with("ETCD_"));
        match unsupported_arch(std::env::consts::ARCH, version) {
            Some(arch) if env.var_os(UNSUPPORTED_ARCH).is_none() => env.with(UNSUPPORTED_ARCH, arch),
            _ => env,
        }
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

/// Go's name of a processor for which etcd is published and which a version of it does not support yet: arm64 before 3.5.
fn unsupported_arch(arch: &str, version: Option<&Version>) -> Option<&'static str> {
    let is_supported = version.is_some_and(|version| (version.major, version.minor) >= (3, 5));
    (arch == "aarch64" && !is_supported).then_some("arm64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_gets_no_variable_of_etcds_but_the_one_that_no_flag_is_there_for() {
        let env = Env::empty("/").with("ETCD_NAME", "n").with(UNSUPPORTED_ARCH, "riscv64").with("ETCDDATA", "d");
        let vars = env.for_etcd(None);
        let names: Vec<_> = vars.vars().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["ETCDDATA", UNSUPPORTED_ARCH]);
        assert_eq!(vars.var(UNSUPPORTED_ARCH), Some("riscv64"));
    }

    #[test]
    fn only_3_4_needs_to_be_told_that_it_runs_on_arm64() {
        let (old, new) = (Version::new(3, 4, 42), Version::new(3, 5, 0));
        assert_eq!(unsupported_arch("aarch64", Some(&old)), Some("arm64"));
        assert_eq!(unsupported_arch("aarch64", None), Some("arm64"), "its version is still to be asked for");
        assert_eq!(unsupported_arch("aarch64", Some(&new)), None);
        assert_eq!(unsupported_arch("x86_64", Some(&old)), None);
    }
}
