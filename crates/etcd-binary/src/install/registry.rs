//! The Cargo registry as a source: etcd's and protoc's official binaries come as crates, through whatever mirror, proxy
//! or vendoring the user's Cargo is set up with. Compiles nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::source::{Delivered, Job, SourceError, same};
use crate::cache::{self, CacheError, Purpose, write_new};
use crate::command::{CommandError, Helper};
use crate::env::Env;
use crate::pins::{self, Pinned};
use crate::reporter::Event;
use crate::sha256::Hasher;
use crate::{Sha256, Tool};

/// For 9 MB over a slow line, and for the lock on Cargo's package cache while another Cargo downloads.
const TIMEOUT: Duration = Duration::from_secs(600);

pub(super) fn fetch(job: &Job<'_>) -> Result<Delivered, SourceError> {
    let crate_name = format!("{}-bin-vendored-{}", job.tool, job.platform.name(job.tool));
    let crate_dir = download(job, &crate_name)?;
    job.report(&Event::Downloaded);
    let program = job.platform.program(&job.tool.to_string());
    match job.tool {
        Tool::Etcd => {
            let sum = take(job, &crate_name, &crate_dir.join("bin").join(&program), &job.tree().join(&program))?;
            Ok(Delivered { sums: vec![(program, sum)], archive_sha256: None })
        }
        // protoc looks for its own .proto files in ../include.
        Tool::Protoc => {
            let bin = job.tree().join("bin");
            cache::create_private_dir(&bin)?;
            let sum = take(job, &crate_name, &crate_dir.join("bin").join(&program), &bin.join(&program))?;
            cache::sync_dir(&bin)?;
            take_include(job, &crate_name, &crate_dir)?;
            Ok(Delivered { sums: vec![(format!("bin/{program}"), sum)], archive_sha256: None })
        }
    }
}

/// Has Cargo bring the crate, and tells where it lies.
fn download(job: &Job<'_>, crate_name: &str) -> Result<PathBuf, SourceError> {
    let manifest = job.work().join("Cargo.toml");
    let library = job.work().join("lib.rs");
    let text = format!(
        "[package]\nname = \"etcd-local-fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n[workspace]\n\n[dependencies]\n{crate_name} = \"={}\"\n",
        job.attempt.version
    );
    std::fs::write(&manifest, text).map_err(CacheError::io("write", &manifest))?;
    std::fs::write(&library, "").map_err(CacheError::io("write", &library))?;
    // From the user's workspace, because that is where Cargo looks for the user's configuration.
    let mut helper = cargo(&job.binaries.env)?
        .dir(&job.binaries.workspace)
        .args(["metadata", "--quiet", "--format-version", "1", "--manifest-path"])
        .args([&manifest]);
    if job.binaries.offline {
        helper = helper.args(["--offline"]);
    }
    let output = match helper.run(TIMEOUT) {
        Err(CommandError::Failed { stderr, .. }) if job.binaries.offline && stderr.contains("offline") => {
            return Err(SourceError::NotDownloaded);
        }
        ran => ran?,
    };
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|source| SourceError::Metadata { command: helper.line(), source })?;
    let package = metadata.packages.into_iter().find(|package| package.name == crate_name);
    let dir = package.and_then(|package| package.manifest_path.parent().map(Path::to_owned));
    dir.ok_or_else(|| SourceError::NotInCrate { crate_name: crate_name.to_owned(), file: "Cargo.toml".to_owned() })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

fn cargo(env: &Env) -> Result<Helper, CommandError> {
    let named = env.var_os("CARGO").map(Path::new).filter(|path| path.components().count() > 1);
    let helper = match named {
        Some(path) => Helper::at(env.cwd().join(path), env),
        None => Helper::on_path("cargo", env)?,
    };
    let helper = helper.without_vars(|name| !cargo_may_see(name)).var("CARGO_TERM_COLOR", "never");
    Ok(match env.toolchain() {
        Some((name, toolchain)) => helper.var(name, toolchain),
        None => helper,
    })
}

/// How the user's own builds are set up is not for this Cargo; only where to get crates.
fn cargo_may_see(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    let is_cargos = name == "CARGO" || name.starts_with("CARGO_") || name.starts_with("RUSTC") || name == "RUSTFLAGS";
    !is_cargos || kept.iter().any(|kept| name == *kept || kept.ends_with('_') && name.starts_with(kept))
}

/// Copies the program; the bytes that are summed up are the bytes that are written.
fn take(job: &Job<'_>, crate_name: &str, from: &Path, to: &Path) -> Result<Sha256, SourceError> {
    let mut program = open(crate_name, from)?;
    let (_, sum) = write_new(&mut program, to, Purpose::Program)?;
    job.vouched(&format!("{crate_name} {}", job.attempt.version), sum)?;
    Ok(sum)
}

fn open(crate_name: &str, path: &Path) -> Result<File, SourceError> {
    match File::open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            Err(SourceError::NotInCrate { crate_name: crate_name.to_owned(), file })
        }
        Err(error) => Err(CacheError::io("open", path)(error).into()),
    }
}

/// Copies the include tree, and checks it as a whole: see `pins.tsv`.
fn take_include(job: &Job<'_>, crate_name: &str, crate_dir: &Path) -> Result<(), SourceError> {
    let what = format!("include of {crate_name} {}", job.attempt.version);
    let expected = pins::find(Pinned::ProtocInclude, &job.attempt.version, job.platform);
    let expected = expected.ok_or_else(|| SourceError::Unpinned { what: what.clone() })?;
    let mut sums = BTreeMap::new();
    take_tree(&crate_dir.join("include"), &job.tree().join("include"), "", &mut sums)?;
    let mut digest = Hasher::new();
    for (name, sum) in &sums {
        digest.update(format!("{name}\0{sum}\n").as_bytes());
    }
    same(&what, expected, digest.finish())
}

fn take_tree(from: &Path, to: &Path, prefix: &str, sums: &mut BTreeMap<String, Sha256>) -> Result<(), CacheError> {
    cache::create_private_dir(to)?;
    for entry in std::fs::read_dir(from).map_err(CacheError::io("read", from))? {
        let entry = entry.map_err(CacheError::io("read", from))?;
        let (path, name) = (entry.path(), entry.file_name());
        let (target, relative) = (to.join(&name), format!("{prefix}{}", name.to_string_lossy()));
        if entry.file_type().map_err(CacheError::io("read", &path))?.is_dir() {
            take_tree(&path, &target, &format!("{relative}/"), sums)?;
        } else {
            let mut file = File::open(&path).map_err(CacheError::io("open", &path))?;
            let (_, sum) = write_new(&mut file, &target, Purpose::Data)?;
            sums.insert(relative, sum);
        }
    }
    cache::sync_dir(to)
}
