//! What every source of an installation shares: the job it is given, what it delivers, and why it may fail.
//! A source writes into the job's scratch directory and nowhere else.

use std::fmt::Write as _;
use std::path::PathBuf;

use semver::Version;

use super::archive::ArchiveError;
use super::download::DownloadError;
use super::plan::Attempt;
use crate::cache::CacheError;
use crate::command::CommandError;
use crate::platform::Platform;
use crate::reporter::Event;
use crate::version::VersionError;
use crate::{Binaries, Sha256, Tool};

/// Why one source did not deliver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It would need the network.
    #[error("this source needs the network, and the installation is offline")]
    Offline,
    /// Cargo would need the network.
    #[error("cargo has not downloaded this before, and the installation is offline")]
    NotDownloaded,
    /// Nothing vouches for what it would deliver.
    #[error("no SHA-256 of `{what}` is known")]
    Unpinned {
        /// The file or tree.
        what: String,
    },
    /// What it delivered is not what is pinned. It was neither unpacked nor run.
    #[error("`{what}` has SHA-256 {found}, expected {expected}{}", explained(*web_page))]
    Mismatch {
        /// The file or tree.
        what: String,
        /// The pinned sum, or the caller's.
        expected: Sha256,
        /// The sum of what came.
        found: Sha256,
        /// Whether it looks like a web page.
        web_page: bool,
    },
    /// A helper program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Cargo's answer could not be understood.
    #[error("the answer of `{command}` could not be understood")]
    Metadata {
        /// The command line.
        command: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The crate is not as expected.
    #[error("the crate `{crate_name}` has no `{file}`")]
    NotInCrate {
        /// The crate.
        crate_name: String,
        /// What should be in it.
        file: String,
    },
    /// The mirror's address is no URL.
    #[error("the mirror `{mirror}` is not a valid URL: it must begin with `https://`, `http://` or `file://`")]
    NotAMirror {
        /// What is set.
        mirror: String,
    },
    /// The download failed.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The archive has the right sum and is not as expected all the same.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Go can fetch no such version.
    #[error("Go can build only etcd 3.5.0 or later")]
    BeforeGoModules,
    /// What was built does not tell its version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// What was built is something else.
    #[error("Go built version {found} instead")]
    WrongVersion {
        /// The version that it tells.
        found: Version,
    },
    /// The scratch directory cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl SourceError {
    /// On one short line: of a helper program only what it complained of last, which is why, and not its command line.
    pub(super) fn in_short(&self) -> String {
        /// As much as a few lines of a terminal hold.
        const LONGEST: usize = 240;
        let text = match self {
            Self::Download(error) => error.to_string(),
            Self::Command(CommandError::Failed { stderr, .. }) if !stderr.is_empty() => gist(stderr),
            Self::Command(CommandError::Failed { status, .. }) => format!("it failed ({status})"),
            Self::Command(CommandError::TimedOut { timeout, .. }) => {
                format!("it did not finish within {} s", timeout.as_secs())
            }
            other => with_causes(other),
        };
        let mut chars = text.chars();
        let mut short: String = chars.by_ref().take(LONGEST).collect();
        short.extend(chars.next().map(|_| '…'));
        short
    }
}

/// Why a program failed: cargo's last cause, else the last line that says `error`, else the last line.
fn gist(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let cause = stderr
        .rsplit_once("Caused by:")
        .and_then(|(_, cause)| cause.lines().map(str::trim).find(|line| !line.is_empty()));
    let error = || lines().filter_map(|line| line.strip_prefix("error: ")).next_back();
    cause.or_else(error).or_else(|| lines().next_back()).unwrap_or_default().to_owned()
}

/// An error and its causes, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("; ")
}

fn explained(web_page: bool) -> &'static str {
    if web_page { ": the mirror answered with a web page" } else { "" }
}

/// One installation from one source.
pub(super) struct Job<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) platform: Platform,
    pub(super) tool: Tool,
    pub(super) attempt: &'a Attempt,
    pub(super) scratch: PathBuf,
}

/// What a source has put into [`Job::tree`].
#[derive(Debug)]
pub(super) struct Delivered {
    /// The programs, by their path in the tree, with their sums; the tool itself comes first.
    pub(super) sums: Vec<(String, Sha256)>,
    /// The sum of the archive that they came in.
    pub(super) archive_sha256: Option<Sha256>,
}

impl Job<'_> {
    /// What becomes the installation.
    pub(super) fn tree(&self) -> PathBuf {
        self.scratch.join("tree")
    }

    /// What goes away.
    pub(super) fn work(&self) -> PathBuf {
        self.scratch.join("work")
    }

    pub(super) fn report(&self, event: &Event) {
        self.binaries.reporter.report(event);
    }

    /// That `found` is the sum that was asked for.
    pub(super) fn vouched(&self, what: &str, found: Sha256) -> Result<(), SourceError> {
        let Some(expected) = self.attempt.sum else {
            return Err(SourceError::Unpinned { what: what.to_owned() });
        };
        same(what, expected, found)
    }
}

pub(super) fn same(what: &str, expected: Sha256, found: Sha256) -> Result<(), SourceError> {
    if found == expected {
        return Ok(());
    }
    Err(SourceError::Mismatch { what: what.to_owned(), expected, found, web_page: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_program_complains_of_the_cause_is_told() {
        let cargo = "error: failed to get `a` as a dependency of package `b v0.0.0 (/tmp/x)`\n\nCaused by:\n  download failed\n\n\
                     Caused by:\n  [7] Could not connect to server (Failed to connect)\n";
        assert_eq!(gist(cargo), "[7] Could not connect to server (Failed to connect)");
        assert_eq!(gist("warning: old\nerror: no such thing\nhelp: none\n"), "no such thing");
        assert_eq!(gist("go: downloading a\ngo: no such host\n"), "go: no such host");
        assert_eq!(gist(""), "");
    }
}
