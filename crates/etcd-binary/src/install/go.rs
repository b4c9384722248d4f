//! Go source as a source: `go build` of etcd's modules at a version. Nothing is pinned here: Go checks what it downloads
//! against its own checksum database, and the result must tell the version that was asked for.

use std::path::Path;
use std::time::Duration;

use semver::Version;

use super::source::{Delivered, Job, SourceError};
use crate::command::{CommandError, Helper};
use crate::reporter::Event;
use crate::{Sha256, version};

/// For downloading and compiling some 300 packages on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The modules of etcd's programs, by the program's name.
const MODULES: [(&str, &str); 2] = [("etcd", "go.etcd.io/etcd/server/v3"), ("etcdctl", "go.etcd.io/etcd/etcdctl/v3")];

pub(super) fn fetch(job: &Job<'_>) -> Result<Delivered, SourceError> {
    if job.binaries.offline {
        return Err(SourceError::Offline);
    }
    let version = &job.attempt.version;
    if *version < Version::new(3, 5, 0) {
        return Err(SourceError::BeforeGoModules);
    }
    let at_version: Vec<String> = MODULES.iter().map(|(_, module)| format!("{module}@v{version}")).collect();
    go(job, &["mod", "init", "etcd-local-build"])?;
    go(job, &[&["get"], at_version.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat())?;
    job.report(&Event::Downloaded);
    let mut sums = Vec::new();
    for (name, module) in MODULES {
        let program = job.platform.program(name);
        let path = job.tree().join(&program);
        go(job, &["build", "-trimpath", "-o", &path.to_string_lossy(), module])?;
        let sum = Sha256::of_file(&path).map_err(crate::cache::CacheError::io("read", &path))?;
        sums.push((program, sum));
    }
    if let (Some(_), Some((program, sum))) = (job.attempt.sum, sums.first()) {
        job.vouched(program, *sum)?;
    }
    tells(job, &job.tree().join(job.platform.program("etcd")))?;
    Ok(Delivered { sums, archive_sha256: None })
}

fn tells(job: &Job<'_>, etcd: &Path) -> Result<(), SourceError> {
    let found = version::version_of(etcd, &job.binaries.env)?;
    if found == job.attempt.version { Ok(()) } else { Err(SourceError::WrongVersion { found }) }
}

/// For this machine and from the module cache, whatever else the user builds with Go.
fn go(job: &Job<'_>, args: &[&str]) -> Result<(), CommandError> {
    Helper::on_path("go", &job.binaries.env)?
        .dir(&job.work())
        .without_vars(|name| matches!(name, "GOOS" | "GOARCH"))
        .var("CGO_ENABLED", "0")
        .var("GOFLAGS", "-mod=mod")
        .var("GOWORK", "off")
        .args(args)
        .run(TIMEOUT)
        .map(drop)
}
