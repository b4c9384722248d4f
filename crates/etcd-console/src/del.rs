//! `del`: shows a preview, asks, writes an undo file, and deletes the keys in chunks that do not block other clients.

use std::fs::DirBuilder;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use etcd_keys::ErrorKind;
use etcd_keys::delete::{Preview, Progress as Deleted};
use etcd_keys::guard::Guard;
use etcd_keys::text::Escaped;
use etcd_keys::undo::{self, UndoError};
use serde::Serialize;

use crate::cli::{Del, Format};
use crate::confirm::{self, Question, refused};
use crate::context::Context;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::nearby;
use crate::output::{self, Base64, Progress, keys};

pub(crate) async fn run(args: Del, cx: &Context) -> Result<ExitCode> {
    let range = crate::keys::range(&args.keys)?;
    if let Some(refusal) = guard(cx)?.refusal(&range).filter(|_| !args.safeguards.force && !args.safeguards.dry_run) {
        let next = "`--dry-run` shows what it would delete; `--force --expect-count N` deletes it anyway";
        return Err(refused(format!("refused to delete {range}: {refusal}"), next));
    }
    let connection = cx.connect().await?;
    let preview = connection.all_keys().preview_delete(range).await?;
    if let Some(end) = &args.keys.range_end {
        let key = &args.keys.key;
        cx.note(format_args!(
            "note: `{key}` to `{end}` is a range: it contains all keys between them, and not `{end}` itself"
        ));
    }
    if preview.count() == 0 {
        nearby::note("del", &args.keys, &connection, cx).await;
    }
    let shown = Shown::of(&preview, cx);
    if args.safeguards.dry_run {
        output::text(&shown.render(args.format, "would delete", None, None)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let refusal = format!("refused to delete {}: there are {}", preview.range(), keys(preview.count()));
    confirm::check_count(&args.safeguards, preview.count(), refusal)?;
    if preview.count() == 0 {
        shown.report(args.format, None, None, cx)?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = format!("{} at {}, cluster {}", keys(shown.count), shown.endpoint, shown.cluster_id);
    if !confirm::ask(&Question {
        verb: "delete",
        what: &what,
        examples: &shown.examples(),
        yes: args.safeguards.yes,
        flags: &confirm::flags(&args.safeguards, shown.count),
    })
    .await?
    {
        return Ok(confirm::declined("deleted", cx));
    }
    let mut interrupt = Interrupt::listen()?;
    let undo = match args.safeguards.no_undo {
        true => None,
        false => Some(write_undo_file(&preview, &mut interrupt, cx).await?),
    };
    let outcome = delete(preview, undo.as_deref(), &mut interrupt, cx).await?;
    shown.report(args.format, Some(outcome), undo.as_deref(), cx)?;
    Ok(ExitCode::SUCCESS)
}

/// What guards the keys of this workspace's product.
pub(crate) fn guard(cx: &Context) -> Result<Guard> {
    Ok(Guard::new(cx.root()?, &cx.global.test_root, cx.global.protected.iter().map(String::as_str)))
}

/// The preview, as text and JSON, before and after the deletion.
struct Shown {
    endpoint: String,
    cluster_id: String,
    revision: i64,
    count: u64,
    first: Vec<Vec<u8>>,
    last: Vec<Vec<u8>>,
    /// The flags that select the cluster.
    flags: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    endpoint: &'a str,
    cluster_id: &'a str,
    /// The revision of the preview.
    revision: i64,
    count: u64,
    first: Vec<Base64<'a>>,
    last: Vec<Base64<'a>>,
    deleted: u64,
    /// Keys that others changed or deleted after the preview. They were left alone.
    kept: u64,
    undo: Option<&'a Path>,
}

impl Shown {
    fn of(preview: &Preview, cx: &Context) -> Self {
        Self {
            endpoint: preview.endpoint().to_owned(),
            cluster_id: format!("{:016x}", preview.cluster_id()),
            revision: preview.revision(),
            count: preview.count(),
            first: preview.first().to_vec(),
            last: preview.last().to_vec(),
            flags: cx.flags(),
        }
    }

    fn report(&self, format: Format, outcome: Option<Deleted>, undo: Option<&Path>, cx: &Context) -> Result<()> {
        let text = self.render(format, "deleted", outcome, undo)?;
        if format == Format::Json { output::text(&text) } else { cx.report(&text) }
    }

    fn render(&self, format: Format, verb: &str, outcome: Option<Deleted>, undo: Option<&Path>) -> Result<String> {
        let Self { endpoint, cluster_id, revision, count, first, last, flags } = self;
        let (deleted, kept) = outcome.map_or((0, 0), |outcome| (outcome.deleted, outcome.kept));
        if format == Format::Json {
            let (first, last) = (base64(first), base64(last));
            let (endpoint, cluster_id) = (endpoint.as_str(), cluster_id.as_str());
            let (revision, count) = (*revision, *count);
            let answer = Answer { endpoint, cluster_id, revision, count, first, last, deleted, kept, undo };
            return Ok(serde_json::to_string(&answer)? + "\n");
        }
        let mut text = format!("{verb} {}", keys(if outcome.is_some() { deleted } else { *count }));
        text.push_str(&format!(" at {endpoint}, cluster {cluster_id}\n"));
        if outcome.is_none() {
            text.push_str(&self.examples());
        }
        if kept > 0 {
            text.push_str(&format!("  {} changed or deleted by others meanwhile, and left alone\n", keys(kept)));
        }
        if let Some(path) = undo {
            text.push_str(&format!("  undo: {}\n", undo_command(path, flags)));
        }
        Ok(text)
    }

    /// The first and the last keys.
    fn examples(&self) -> String {
        let line = |key: &Vec<u8>| format!("  {}\n", Escaped(key));
        let between = usize::try_from(self.count).unwrap_or(usize::MAX) > self.first.len();
        let last: String = self.last.iter().filter(|key| !self.first.contains(key)).map(line).collect();
        let dots = if between { "  …\n" } else { "" };
        format!("{}{dots}{last}", self.first.iter().map(line).collect::<String>())
    }
}

fn base64(keys: &[Vec<u8>]) -> Vec<Base64<'_>> {
    keys.iter().map(|key| Base64(key)).collect()
}

/// The command that restores the deleted keys, to be pasted. It uses the same cluster.
fn undo_command(undo: &Path, flags: &str) -> String {
    format!("cargo xtask undo {}{flags}", output::path(undo))
}

/// Writes the keys to a new undo file, before the first key is changed.
pub(crate) async fn write_undo_file(preview: &Preview, interrupt: &mut Interrupt, cx: &Context) -> Result<PathBuf> {
    let dir = cx.global.home.join("undo");
    let mut private = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut private, 0o700);
    private.recursive(true).create(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    let time = humantime::format_rfc3339_millis(output::now()).to_string().replace([':', '-'], "");
    // Two processes that delete at the same moment and revision get the same name. The second gets an error.
    let path = dir.join(format!("{time}-{:016x}-{}.jsonl", preview.cluster_id(), preview.revision()));
    let mut progress = Progress::new(cx.global.quiet);
    let total = preview.count();
    let writing = undo::write(preview, &path, |kept| progress.draw(|| format!("{kept} of {} saved", keys(total))));
    let written = tokio::select! {
        written = writing => Some(written),
        () = interrupt.pressed() => None,
    };
    match written {
        Some(Ok(written)) => return Ok(written.path),
        // The file of another process.
        Some(Err(error @ UndoError::File { what: "create", .. })) => return Err(error.into()),
        _ => {}
    }
    // An incomplete file is useless, and nothing was deleted.
    let _ = std::fs::remove_file(&path);
    match written {
        Some(Err(error)) => Err(error.into()),
        _ => std::process::exit(INTERRUPTED),
    }
}

async fn delete(preview: Preview, undo: Option<&Path>, interrupt: &mut Interrupt, cx: &Context) -> Result<Deleted> {
    let mut deletion = preview.into_deletion();
    let mut progress = Progress::new(cx.global.quiet);
    let run = deletion.run(|done| progress.draw(|| format!("{} of {} deleted", done.deleted, keys(done.total))));
    let interrupted = tokio::select! {
        outcome = run => match outcome {
            Ok(outcome) => return Ok(outcome),
            Err(error) => Some(error),
        },
        () = interrupt.pressed() => None,
    };
    progress.clear();
    let Deleted { deleted, total, .. } = deletion.progress();
    let is_elsewhere = matches!(&interrupted, Some(error) if matches!(error.kind, ErrorKind::AnotherCluster { .. }));
    // The keys of another cluster are not the rest.
    let rest = if is_elsewhere { "" } else { "; the same command deletes the rest, which --dry-run counts" };
    output::say(format_args!("{deleted} of {} were deleted{rest}", keys(total)));
    if let Some(path) = undo {
        output::say(format_args!("  undo: {}", undo_command(path, &cx.flags())));
    }
    match interrupted {
        Some(error) => Err(error.into()),
        None => std::process::exit(INTERRUPTED),
    }
}
