//! The undo files of this workspace: lists them, and finds the newest. Restores nothing.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use etcd_keys::undo::Header;
use serde::Serialize;

use crate::cli::Format;
use crate::confirm::{self, Question};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, keys};

/// The limit for a header, in bytes. It contains two keys.
const MAX_HEADER: u64 = 16 * 1024 * 1024;

#[derive(Serialize)]
struct Answer {
    files: Vec<UndoFile>,
}

#[derive(Serialize)]
struct UndoFile {
    file: PathBuf,
    /// RFC 3339, UTC; null if the file was renamed.
    time: Option<String>,
    /// Null if the file cannot be used; `error` then says why.
    header: Option<Header>,
    error: Option<String>,
}

impl UndoFile {
    fn read(file: PathBuf) -> Self {
        let header = read_header(&file);
        let (header, error) = match header {
            Ok(header) => (Some(header), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { time: time_of(&file), header, error, file }
    }

    /// A line of the list.
    fn line(&self) -> String {
        let path = output::path(&self.file);
        let time = self.time.as_deref().unwrap_or("-");
        match &self.header {
            // Anybody may have written the file.
            Some(header) => format!(
                "{time:24}  {:>9}  {:16}  {}  {path}\n",
                header.keys,
                header.cluster_id.escape_debug(),
                header.range.escape_debug()
            ),
            None => {
                format!("{time:24}  {:>9}  {:16}  {}  {path}\n", "-", "-", self.error.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Prints the list. The newest file is last.
pub(crate) fn list(format: Format, cx: &Context) -> Result<ExitCode> {
    let files = files(cx)?;
    match format {
        Format::Json => output::json(&Answer { files: files.into_iter().map(UndoFile::read).collect() })?,
        Format::Text if files.is_empty() => output::text(&format!("no undo files in {}\n", output::path(&dir(cx))))?,
        Format::Text => {
            let mut text = format!("{:24}  {:>9}  {:16}  RANGE  FILE\n", "TIME", "KEYS", "CLUSTER");
            text.extend(files.into_iter().map(|file| UndoFile::read(file).line()));
            output::text(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the newest file and asks; `None` if the answer was no.
pub(crate) async fn choose_newest(yes: bool, cx: &Context) -> Result<Option<PathBuf>> {
    let Some(newest) = files(cx)?.pop() else {
        let what = format!("there are no undo files in `{}`", dir(cx).display());
        let next = "`del` writes an undo file there before it deletes, unless `--no-undo` is given".to_owned();
        return Err(Failure { exit: Exit::Failure, what, next }.into());
    };
    let header = read_header(&newest).with_context(|| Failure {
        exit: Exit::Failure,
        what: format!("cannot use the undo file `{}`", newest.display()),
        next: "`cargo xtask undo --list` lists the undo files; `cargo xtask undo FILE` uses another file".to_owned(),
    })?;
    let path = output::path(&newest);
    let time = time_of(&newest).map(|time| format!(", deleted at {time}")).unwrap_or_default();
    let examples = format!(
        "{path}: {} of {}, cluster {}{time}\n",
        keys(header.keys),
        header.range.escape_debug(),
        header.cluster_id.escape_debug()
    );
    if yes {
        cx.note(format_args!("{}", examples.trim_end()));
    }
    let what = format!("{} of `{path}`", keys(header.keys));
    let question = Question { verb: "restore", what: &what, examples: &examples, yes, flags: "--yes" };
    Ok(confirm::ask(&question).await?.then_some(newest))
}

fn dir(cx: &Context) -> PathBuf {
    cx.global.home.join("undo")
}

/// Sorted by name. The names begin with the time, so the newest file is last.
fn files(cx: &Context) -> Result<Vec<PathBuf>> {
    let dir = dir(cx);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.with_context(|| format!("cannot list `{}`", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    Ok(files)
}

/// Reads only the header. The whole file is checked before it is used.
fn read_header(file: &Path) -> Result<Header> {
    let mut line = String::new();
    BufReader::new(File::open(file)?.take(MAX_HEADER)).read_line(&mut line)?;
    serde_json::from_str(&line).context("not an undo file")
}

/// From a name like `20261123T132950.193Z-….jsonl`.
fn time_of(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let (date, time) = name.split_once('-')?.0.split_once('T')?;
    let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let (hour, minute, second) = (time.get(..2)?, time.get(2..4)?, time.get(4..)?);
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}");
    humantime::parse_rfc3339(&text).is_ok().then_some(text)
}
