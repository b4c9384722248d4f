//! The report of a run: a directory with a page, its JSON document, nextest's JUnit file, and the timelines of failed tests until they
//! are in the document. docs/report.md describes them. A report that cannot be written never changes how a run ends.

mod document;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::keeper::{Ended, Registered};
use crate::runs::report::document::Document;
use crate::runs::server::Server;
use crate::runs::server_health::{MemberHealth, ServerHealth};
use crate::runs::test_results::TestResults;

/// The document's name.
const DOCUMENT: &str = "report.json";
/// The page's name: see `page` in etcd-console.
const PAGE: &str = "report.html";

/// The file in `.etcd` that names the directory of the last report.
const LAST: &str = "last-report";

/// Where reports go: a directory with one directory for each run.
#[derive(Clone)]
pub(crate) struct Reports(PathBuf);

impl Reports {
    /// The directory of a flag, else that of Cargo.toml, if there is one.
    ///
    /// # Errors
    /// If the flag's directory cannot be written. That of Cargo.toml only warns: tests also run where nothing can be written.
    pub(crate) fn choose(flag: Option<&Path>, cx: &Context) -> Result<Option<Self>> {
        let dir = match flag {
            Some(dir) => cx.env.cwd().join(dir),
            None => match cx.manifest_settings()?.report {
                Some(dir) => cx.workspace.join(dir),
                None => return Ok(None),
            },
        };
        match fs::create_dir_all(&dir).and_then(|()| etcd_local::check_writable(&dir)) {
            Ok(()) => Ok(Some(Self(dir))),
            Err(error) => {
                let what = format!("no report can be written to `{}`: {error}", dir.display());
                if flag.is_some() {
                    let next = "name a directory with `--report` that you can write to";
                    return Err(Failure::with_exit(Exit::USAGE, what, next));
                }
                cx.output.warn(what);
                Ok(None)
            }
        }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// Begins the report of a run. `console` is the program that draws the page.
    pub(crate) fn begin(&self, run: &Registered, server: &Server, console: &Path, cx: &Context) -> Option<Report> {
        let health = ServerHealth::begin(server, cx);
        let report = Report { dir: self.0.join(&run.run), console: console.to_owned(), health };
        match fs::create_dir_all(report.timelines()) {
            Ok(()) => Some(report),
            Err(error) => {
                cx.output.warn(format_args!("there is no report of this run: {error}"));
                None
            }
        }
    }
}

/// The report of one run.
pub(crate) struct Report {
    dir: PathBuf,
    console: PathBuf,
    health: ServerHealth,
}

/// What runs inside a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    Tests,
    Command,
}

impl Subject {
    /// As the subject of a sentence, and its verb for an interrupt.
    pub(crate) fn words(self) -> [&'static str; 2] {
        match self {
            Self::Tests => ["the tests", "were"],
            Self::Command => ["the command", "was"],
        }
    }
}

/// What is known of a run at its end.
pub(crate) struct Facts<'a> {
    pub(crate) subject: Subject,
    pub(crate) run: &'a Registered,
    /// `None`: something failed before or after the tests.
    pub(crate) exit: Option<Exit>,
    pub(crate) seconds: f32,
    pub(crate) ended: Option<&'a Ended>,
    pub(crate) server: &'a Server,
    /// The length of the server's log at the beginning.
    pub(crate) log_length: u64,
    pub(crate) tests: Option<&'a TestResults>,
    /// The whole command, to be typed again.
    pub(crate) command: &'a str,
}

impl Report {
    /// Names the directory into which failed tests write their timelines.
    pub(crate) const VARIABLE: &str = "ETCD_TEST_TIMELINES";

    /// The directory, for nextest's file.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The variable for the tests.
    pub(crate) fn variable(&self) -> (&'static str, PathBuf) {
        (Self::VARIABLE, self.timelines())
    }

    fn timelines(&self) -> PathBuf {
        self.dir.join("timelines")
    }

    /// Writes the document and the page, and says where they are.
    pub(crate) fn finish(mut self, facts: &Facts<'_>, cx: &Context) {
        let health = std::mem::take(&mut self.health).end();
        let document = match self.write(facts, health.as_deref()) {
            Ok(document) => document,
            Err(error) => return cx.output.warn(format_args!("there is no report of this run: {error:#}")),
        };
        let page = self.draw(&document, cx).unwrap_or_else(|error| {
            cx.output.warn(format_args!("the report has no page: {error:#}"));
            document
        });
        cx.output.note(format_args!("  report: {}", cx.shown(&page)));
        // Without it, `report` looks for the newest one.
        drop(
            cx.home_of_runs()
                .map(|home| etcd_local::replace(&home.join(LAST), self.dir.as_os_str().as_encoded_bytes())),
        );
    }

    /// Draws the page of a document.
    fn draw(&self, document: &Path, cx: &Context) -> Result<PathBuf> {
        let drawn = cx.command(&self.console).arg("page").arg(document).output();
        let drawn = drawn.with_context(|| format!("cannot run `{}`", self.console.display()))?;
        if !drawn.status.success() {
            let said = String::from_utf8_lossy(&drawn.stderr);
            bail!("{}", said.trim().trim_start_matches("error: "));
        }
        Ok(self.dir.join(PAGE))
    }

    fn write(&self, facts: &Facts<'_>, health: Option<&[MemberHealth]>) -> Result<PathBuf> {
        let path = self.dir.join(DOCUMENT);
        let timelines = self.timelines();
        let document = serde_json::to_vec(&Document::of(facts, health, document::read_timelines(&timelines)?))?;
        let scratch = path.with_extension("json.tmp");
        let written = fs::write(&scratch, document).and_then(|()| fs::rename(&scratch, &path));
        written.with_context(|| format!("cannot write `{}`", path.display())).inspect_err(|_| {
            // A part of it is of no use.
            drop(fs::remove_file(&scratch));
        })?;
        // They are in the document.
        fs::remove_dir_all(&timelines).with_context(|| format!("cannot remove `{}`", timelines.display()))?;
        Ok(path)
    }
}

/// The page of a run, or of the last run that has a report. A run may be named by the beginning of its id.
///
/// # Errors
/// If there is no such report, or several are meant.
pub(crate) fn find(run: Option<&str>, cx: &Context) -> Result<PathBuf> {
    let last = cx.home_of_runs().ok().and_then(|home| fs::read_to_string(home.join(LAST)).ok()).map(PathBuf::from);
    let Some(run) = run else {
        let newest =
            || reports(last.as_deref(), cx).ok()?.into_iter().max_by_key(|dir| dir.file_name().map(ToOwned::to_owned));
        return last
            .as_deref()
            .and_then(drawn)
            .or_else(|| drawn(&newest()?))
            .ok_or_else(|| none("no run has a report"));
    };
    let mut meant = reports(last.as_deref(), cx)?;
    meant.retain(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(run)));
    match &meant[..] {
        [] => Err(none(&format!("the run `{run}` has no report"))),
        [one] => drawn(one).ok_or_else(|| none(&format!("the run `{run}` has no report"))),
        several => {
            let what = format!("{} runs begin with `{run}`", several.len());
            Err(Failure::with_exit(Exit::USAGE, what, "give more of the id"))
        }
    }
}

fn none(what: &str) -> anyhow::Error {
    Failure::of(
        what,
        "`cargo xtask test --report DIR` writes one, and `run --report DIR`; `report = \"DIR\"` in Cargo.toml does so for every run",
    )
}

/// The directories of the runs beside the last report, and where Cargo.toml says.
fn reports(last: Option<&Path>, cx: &Context) -> Result<Vec<PathBuf>> {
    let of_settings = cx.manifest_settings()?.report.map(|dir| cx.workspace.join(dir));
    let mut folders: Vec<PathBuf> =
        last.and_then(Path::parent).map(Path::to_owned).into_iter().chain(of_settings).collect();
    folders.dedup();
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    Ok(entries.map(|entry| entry.path()).filter(|dir| dir.join(DOCUMENT).is_file()).collect())
}

/// The page in a directory, or the document if the page could not be drawn.
fn drawn(dir: &Path) -> Option<PathBuf> {
    [PAGE, DOCUMENT].into_iter().map(|name| dir.join(name)).find(|path| path.is_file())
}
