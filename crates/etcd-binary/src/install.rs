//! Installing: lock, look again, fetch into a scratch directory, record, rename. Whatever interrupts it leaves either
//! nothing or the whole; the next installation clears up. Nothing is run here before its sum was checked.

mod archive;
mod download;
mod go;
mod plan;
mod registry;
mod release;
mod source;

use std::path::PathBuf;

use semver::Version;

use self::plan::{Attempt, Request};
use self::source::{Delivered, Job};
use crate::cache::{self, CacheError, Installed, Record, Slot};
use crate::platform::Platform;
use crate::reporter::Event;
use crate::{Binaries, Binary, Origin, Route, Sha256, Source, Tool, Wanted};

pub use self::archive::ArchiveError;
pub use self::download::DownloadError;
pub(crate) use self::download::Timeouts;
pub use self::source::SourceError;
pub(crate) use self::source::with_causes;

/// Why a program could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There are no published binaries for this machine.
    #[error("no binaries are published for {os} on {arch}")]
    NoPlatform {
        /// The operating system, as Rust calls it.
        os: &'static str,
        /// The processor, as Rust calls it.
        arch: &'static str,
    },
    /// A path is nothing to install.
    #[error("`{}` is a path: only a version can be installed", path.display())]
    NotAVersion {
        /// The path.
        path: PathBuf,
    },
    /// This source never has this tool.
    #[error("{tool} cannot be installed from {origin}")]
    NotOffered {
        /// The requested program.
        tool: Tool,
        /// From where.
        origin: Source,
    },
    /// No sum is known for such a version, so no download of it could be trusted.
    #[error(
        "{tool} `{wanted}` is not known for {platform}, and is not installed without its SHA-256{}",
        listed(nearest)
    )]
    Unknown {
        /// The requested program.
        tool: Tool,
        /// The requested version.
        wanted: Wanted,
        /// The platform, as the publisher spells it.
        platform: &'static str,
        /// Known versions near to it.
        nearest: Vec<Version>,
    },
    /// Another source has this version, but was not requested or needs the network.
    #[error(
        "{tool} `{wanted}` does not come from {requested}, but from {origin}{}",
        if *offline { ", which needs the network" } else { "" }
    )]
    OtherSource {
        /// The requested program.
        tool: Tool,
        /// The requested version.
        wanted: Wanted,
        /// The requested source.
        requested: Source,
        /// The source that has it.
        origin: Source,
        /// Whether that source was left out because it needs the network.
        offline: bool,
    },
    /// All sources failed.
    #[error("{tool} could not be installed{}", failures(tried))]
    Failed {
        /// The requested program.
        tool: Tool,
        /// What was tried, in order.
        tried: Vec<Tried>,
    },
    /// PATH has no such program.
    #[error("PATH has no {tool} that satisfies `{wanted}`")]
    NotOnPath {
        /// The requested program.
        tool: Tool,
        /// The requested version.
        wanted: Wanted,
    },
    /// A program that a variable names is not there.
    #[error("`{variable}` is set to `{}`, which is not a file", path.display())]
    NoSuchFile {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// One source that was tried, and why it did not deliver.
#[derive(Debug)]
pub struct Tried {
    /// The version.
    pub version: Version,
    /// From where.
    pub source: Source,
    /// Why not.
    pub error: SourceError,
}

fn listed(nearest: &[Version]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let names: Vec<String> = nearest.iter().map(Version::to_string).collect();
    format!("; near to it are {}", names.join(", "))
}

/// A line for each.
fn failures(tried: &[Tried]) -> String {
    let line =
        |Tried { version, source, error }: &Tried| format!("\n    {version} from {source}: {}", error.in_short());
    tried.iter().map(line).collect()
}

impl Binaries {
    /// Installs a tool into the cache, unless that version is there already and intact, from whichever source.
    /// One that was damaged is replaced. With [`Route::Path`] nothing is installed: PATH must have it.
    ///
    /// `sha256` replaces the pinned sum: it is that of the program for the registry and for Go, and that of the
    /// archive for a release. Without either nothing is installed, save what Go builds from source: Go's own checksum
    /// database vouches for that.
    ///
    /// # Errors
    /// If the version is not known here, no source delivers it, or the cache cannot be used.
    pub fn install(
        &self,
        tool: Tool,
        wanted: &Wanted,
        route: Route,
        sha256: Option<Sha256>,
    ) -> Result<Binary, InstallError> {
        if route == Route::Path {
            return self.satisfying_on_path(tool, wanted);
        }
        let platform = self.platform()?;
        let request = Request {
            tool,
            wanted,
            route,
            given: sha256,
            platform,
            offline: self.offline,
            has_go: crate::command::on_path(&self.env, "go").is_some(),
        };
        let cache = self.cache()?;
        if let Some(version) = wanted.only_version()
            && let Some(installed) = intact(&cache.slot(tool, &version, platform), sha256)
        {
            return Ok(from_cache(installed));
        }
        let plan = request.plan()?;
        let mut tried: Vec<Tried> = Vec::new();
        for attempt in plan {
            let slot = cache.slot(tool, &attempt.version, platform);
            match self.attempt(&slot, platform, &attempt, sha256)? {
                Ok(binary) => {
                    // Where no source delivers, the error says all this.
                    for Tried { source, error, .. } in tried {
                        self.reporter.report(&Event::SourceFailed { source, reason: error.in_short() });
                    }
                    return Ok(binary);
                }
                Err(error) => tried.push(Tried { version: attempt.version, source: attempt.source, error }),
            }
        }
        Err(InstallError::Failed { tool, tried })
    }

    fn attempt(
        &self,
        slot: &Slot,
        platform: Platform,
        attempt: &Attempt,
        given: Option<Sha256>,
    ) -> Result<Result<Binary, SourceError>, CacheError> {
        let _lock = slot.lock(self.reporter.as_ref(), self.lock_timeout)?;
        // An installation that was killed may have left files.
        let scratch = slot.scratch();
        cache::remove_dir(&scratch)?;
        if let Some(installed) = intact(slot, given) {
            return Ok(Ok(from_cache(installed)));
        }
        let (tool, version, source) = (slot.tool, attempt.version.clone(), attempt.source);
        self.reporter.report(&Event::Installing { tool, version, source });
        let job = Job { binaries: self, platform, tool, attempt, scratch: scratch.clone() };
        let installed = match fetch(&job) {
            Ok(delivered) => self.keep(slot, platform, attempt, &job, delivered).map(Ok),
            Err(error) => Ok(Err(error)),
        };
        let cleared = cache::remove_dir(&scratch);
        let outcome = installed?;
        cleared?;
        if let Ok(binary) = &outcome {
            self.reporter.report(&Event::Installed { path: binary.path.clone() });
        }
        Ok(outcome)
    }

    /// Moves what was fetched and checked to its place. The last rename is the installation.
    fn keep(
        &self,
        slot: &Slot,
        platform: Platform,
        attempt: &Attempt,
        job: &Job<'_>,
        delivered: Delivered,
    ) -> Result<Binary, CacheError> {
        let (tree, dir) = (job.tree(), slot.dir());
        let name = (slot.tool, &slot.version, platform.name(slot.tool));
        let record = Record::of(name, attempt.source, delivered.archive_sha256, &tree, &delivered.sums)?;
        record.write(&tree)?;
        cache::sync_dir(&tree)?;
        cache::remove_dir(&job.work())?;
        if let Some(parent) = dir.parent() {
            cache::create_private_dir(parent)?;
            // A directory cannot be replaced in one step. What lies there is damaged: losing it loses nothing.
            if dir.exists() {
                std::fs::rename(&dir, job.work()).map_err(CacheError::io("move away", &dir))?;
            }
            std::fs::rename(&tree, &dir).map_err(CacheError::io("move the installation to", &dir))?;
            cache::sync_dir(parent)?;
        }
        let installed = slot.read().ok_or_else(|| CacheError::io("find", &dir)(std::io::ErrorKind::NotFound.into()))?;
        let origin = Origin::Installed(attempt.source);
        Ok(Binary { path: installed.path, version: installed.version, origin })
    }
}

fn fetch(job: &Job<'_>) -> Result<Delivered, SourceError> {
    cache::create_private_dir(&job.tree())?;
    cache::create_private_dir(&job.work())?;
    match job.attempt.source {
        Source::Registry => registry::fetch(job),
        Source::Release => release::fetch(job),
        Source::GoSource => go::fetch(job),
    }
}

/// What a slot holds, if it is whole, unchanged, and has the caller's sum where there is one.
fn intact(slot: &Slot, given: Option<Sha256>) -> Option<Installed> {
    let left_over = slot.scratch().exists();
    slot.read()
        .filter(|installed| !left_over && installed.check().is_ok() && given.is_none_or(|sum| installed.has_sum(sum)))
}

fn from_cache(installed: Installed) -> Binary {
    Binary { path: installed.path, version: installed.version, origin: Origin::Cache }
}

#[cfg(test)]
mod tests;
