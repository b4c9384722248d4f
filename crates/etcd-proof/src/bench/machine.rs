//! The head of every report: the machine, and the versions of the programs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;
use etcd_local::binary::{Route, Tool, Wanted};
use etcd_xtask::Context;
use semver::Version;

use super::report::{Machine, Versions};

/// The version of the default, and the one whose restarts take longest by hand.
pub(super) const NEW: Version = Version::new(3, 7, 2);
pub(super) const OLD: Version = Version::new(3, 5, 27);

/// The programs of the other side.
pub(super) struct Installed {
    pub(super) etcdctl: Option<PathBuf>,
    pub(super) pifpaf: Option<PathBuf>,
    /// Its version.
    pub(super) nextest: Option<String>,
}

impl Installed {
    pub(super) fn look(cx: &Context) -> Result<Self> {
        let etcdctl = cx.builder()?.binaries().etcdctl(None);
        let pifpaf = which::which_in("pifpaf", cx.env.var_os("PATH"), cx.env.cwd()).ok();
        let nextest =
            output_of(Command::new("cargo").args(["nextest", "--version"])).and_then(|text| first_number(&text));
        Ok(Self { etcdctl, pifpaf, nextest })
    }

    pub(super) fn versions(&self, with_old: bool) -> Versions {
        let mut etcd = vec![NEW.to_string()];
        etcd.extend(with_old.then(|| OLD.to_string()));
        let version =
            |path: &Option<PathBuf>, arg: &str| first_number(&output_of(Command::new(path.as_ref()?).arg(arg))?);
        Versions {
            ours: env!("CARGO_PKG_VERSION"),
            etcd,
            etcdctl: version(&self.etcdctl, "version"),
            nextest: self.nextest.clone(),
            pifpaf: version(&self.pifpaf, "--version"),
        }
    }
}

/// An etcd of this version, installed if need be.
pub(super) fn etcd(version: &Version, cx: &Context) -> Result<PathBuf> {
    let binaries = cx.builder()?.binaries();
    Ok(binaries.install(Tool::Etcd, &Wanted::Exactly(version.clone()), Route::Auto, None)?.path)
}

/// What a program prints, if it is installed.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).env("ETCDCTL_API", "3").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `3.4.23` of `etcdctl version: 3.4.23 …`.
fn first_number(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| c.is_whitespace() || c == ',');
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

pub(super) fn machine() -> Machine {
    Machine {
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        processor: field("/proc/cpuinfo", "model name"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_mb: field("/proc/meminfo", "MemTotal")
            .and_then(|text| Some(text.strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)),
        load: fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse().ok()),
    }
}

/// A field of one of Linux's `name: value` files.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(first_number("etcdctl version: 3.4.23\nAPI version: 3.4").as_deref(), Some("3.4.23"));
        assert_eq!(first_number("cargo-nextest 0.9.114 (abc 2025-11-01)").as_deref(), Some("0.9.114"));
        assert_eq!(first_number("pifpaf, version 3.3.0").as_deref(), Some("3.3.0"));
        assert_eq!(first_number("none"), None);
    }
}
