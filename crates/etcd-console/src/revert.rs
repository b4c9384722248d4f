//! `revert`: puts keys back as they were at a revision that etcd still has. Behind the guards of `del`, with a preview and an
//! undo file. Changes only keys that nobody else has changed since the preview.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use etcd_client::CompareOp;
use etcd_keys::kv::{Compare, Delete, Put, Txn};
use etcd_keys::text::Escaped;
use etcd_keys::{Error, KeyRange, Keys};
use serde::Serialize;

use crate::cli::{Format, Revert};
use crate::confirm::{self, Question, refused};
use crate::context::Context;
use crate::del;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::output::{self, Progress, keys};
use crate::side_by_side::{Pair, SideBySide};

/// How many keys one transaction changes, and how many bytes it has. etcd allows 128 operations and 1.5 MiB.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 256 * 1024;
/// How many keys are shown before the question.
const EXAMPLES: usize = 10;

pub(crate) async fn run(args: Revert, cx: &Context) -> Result<ExitCode> {
    let range = crate::keys::range(&args.keys)?;
    if let Some(refusal) =
        del::guard(cx)?.refusal(&range).filter(|_| !args.safeguards.force && !args.safeguards.dry_run)
    {
        let next = "`--dry-run` shows what it would change; `--force --expect-count N` changes it anyway";
        return Err(refused(format!("refused to revert {range}: {refusal}"), next));
    }
    let connection = cx.connect().await?;
    let all = connection.all_keys();
    let now = all.preview_delete(range.clone()).await?;
    let wanted = Wanted { all, range, to: args.rev, from: now.revision() };
    let planned = wanted.plan().await?;
    let place = format!("at {}, cluster {:016x}", now.endpoint(), now.cluster_id());
    if args.safeguards.dry_run || planned.total() == 0 {
        let text = format!("would change {} {place}\n{}", planned, planned.examples);
        report(args.format, &Answer::of(&planned, &wanted, None, None), &text, args.safeguards.dry_run, cx)?;
        return Ok(ExitCode::SUCCESS);
    }
    let refusal = format!("refused to revert {}: {} differ", wanted.range, keys(planned.total()));
    confirm::check_count(&args.safeguards, planned.total(), refusal)?;
    let what = format!("{planned} {place}, to revision {}", wanted.to);
    let flags = confirm::flags(&args.safeguards, planned.total());
    let question =
        Question { verb: "change", what: &what, examples: &planned.examples, yes: args.safeguards.yes, flags: &flags };
    if !confirm::ask(&question).await? {
        return Ok(confirm::declined("changed", cx));
    }
    let mut interrupt = Interrupt::listen()?;
    let undo = match args.safeguards.no_undo {
        true => None,
        false => Some(del::write_undo_file(&now, &mut interrupt, cx).await?),
    };
    let done = wanted.apply(planned.total(), undo.as_deref(), &mut interrupt, cx).await?;
    let mut text = format!("changed {} {place}: as they were at revision {}\n", keys(done.changed), wanted.to);
    if done.kept > 0 {
        text.push_str(&format!("  {} changed by others meanwhile, and left alone\n", keys(done.kept)));
    }
    text.push_str(&ways_back(undo.as_deref(), &wanted, cx));
    report(args.format, &Answer::of(&planned, &wanted, Some(done), undo.as_deref()), &text, false, cx)?;
    Ok(ExitCode::SUCCESS)
}

/// What to put back, and to which revision.
struct Wanted {
    all: Keys,
    range: KeyRange,
    /// The revision that the keys return to.
    to: i64,
    /// The revision of the preview.
    from: i64,
}

/// How many keys would be changed, and how.
#[derive(Default)]
struct Plan {
    overwritten: u64,
    written_again: u64,
    deleted: u64,
    examples: String,
}

impl Plan {
    fn total(&self) -> u64 {
        self.overwritten + self.written_again + self.deleted
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { overwritten, written_again, deleted, .. } = self;
        write!(
            f,
            "{} ({overwritten} overwritten, {written_again} written again, {deleted} deleted)",
            keys(self.total())
        )
    }
}

#[derive(Clone, Copy, Default)]
struct Done {
    changed: u64,
    kept: u64,
}

impl Wanted {
    async fn differences(&self) -> Result<SideBySide> {
        SideBySide::of_revisions(&self.all, &self.range, self.to, self.from).await
    }

    async fn plan(&self) -> Result<Plan> {
        let (mut plan, mut differences, mut shown) = (Plan::default(), self.differences().await?, 0);
        while let Some(pair) = differences.next_difference().await? {
            let (sign, count) = match &pair {
                (Some(_), Some(_)) => ('~', &mut plan.overwritten),
                (Some(_), None) => ('+', &mut plan.written_again),
                (None, _) => ('-', &mut plan.deleted),
            };
            *count += 1;
            shown += 1;
            if shown <= EXAMPLES {
                plan.examples.push_str(&format!("  {sign} {}\n", Escaped(key(&pair))));
            } else if shown == EXAMPLES + 1 {
                plan.examples.push_str("  …\n");
            }
        }
        Ok(plan)
    }

    /// Changes the keys, in small transactions.
    async fn apply(&self, total: u64, undo: Option<&Path>, interrupt: &mut Interrupt, cx: &Context) -> Result<Done> {
        let (mut done, mut progress) = (Done::default(), Progress::new(cx.global.quiet));
        let applying = async {
            let (mut differences, mut batch, mut bytes) = (self.differences().await?, Vec::new(), 0);
            loop {
                let pair = differences.next_difference().await?;
                let size = pair.as_ref().map_or(0, size);
                if !batch.is_empty() && (pair.is_none() || batch.len() == BATCH || bytes + size > BATCH_BYTES) {
                    self.send(&batch, &mut done).await?;
                    progress.draw(|| format!("{} of {} changed", done.changed, keys(total)));
                    (batch, bytes) = (Vec::new(), 0);
                }
                let Some(pair) = pair else { return anyhow::Ok(()) };
                bytes += size;
                batch.push(pair);
            }
        };
        let ended = tokio::select! {
            ended = applying => Some(ended),
            () = interrupt.pressed() => None,
        };
        progress.clear();
        if let Some(Ok(())) = ended {
            return Ok(done);
        }
        output::say(format_args!(
            "{} of {} were changed; the same command changes the rest, which --dry-run counts\n{}",
            done.changed,
            keys(total),
            ways_back(undo, self, cx).trim_end()
        ));
        match ended {
            Some(Err(error)) => Err(error),
            _ => std::process::exit(INTERRUPTED),
        }
    }

    /// Changes some keys together, or one by one if others have changed some of them.
    async fn send(&self, batch: &[Pair], done: &mut Done) -> Result<(), Error> {
        if self.all.send(change(batch)).await?.succeeded {
            done.changed += batch.len() as u64;
            return Ok(());
        }
        for pair in batch {
            let is_changed = batch.len() > 1 && self.all.send(change(std::slice::from_ref(pair))).await?.succeeded;
            *(if is_changed { &mut done.changed } else { &mut done.kept }) += 1;
        }
        Ok(())
    }
}

/// A transaction that changes keys which are as they were at the preview.
fn change(batch: &[Pair]) -> Txn {
    batch.iter().fold(Txn::new(), |txn, pair| {
        let (wanted, now) = pair;
        let revision = now.as_ref().map_or(0, |kv| kv.mod_revision);
        let txn = txn.when(Compare::mod_revision(KeyRange::key(key(pair)), CompareOp::Equal, revision));
        match wanted {
            Some(kv) => txn.then(Put::new(kv.key.as_slice(), kv.value.as_slice())),
            None => txn.then(Delete::key(key(pair))),
        }
    })
}

fn key((before, after): &Pair) -> &[u8] {
    before.as_ref().or(after.as_ref()).map_or(&[], |kv| &kv.key)
}

fn size(pair: &Pair) -> usize {
    2 * key(pair).len() + pair.0.as_ref().map_or(0, |kv| kv.value.len())
}

/// The commands that take the change back.
fn ways_back(undo: Option<&Path>, wanted: &Wanted, cx: &Context) -> String {
    let flags = cx.flags();
    let file = undo.map(|path| format!("  undo: cargo xtask undo {}{flags} --overwrite\n", output::path(path)));
    let again = format!("  or the same command with --rev {}, as long as etcd has that revision\n", wanted.from);
    file.unwrap_or_default() + &again
}

#[derive(Serialize)]
struct Answer<'a> {
    /// The revision that the keys return to, and that of the preview.
    revision: i64,
    from: i64,
    overwritten: u64,
    written_again: u64,
    deleted: u64,
    changed: u64,
    /// Keys that others changed after the preview.
    kept: u64,
    undo: Option<&'a Path>,
}

impl<'a> Answer<'a> {
    fn of(planned: &Plan, wanted: &Wanted, done: Option<Done>, undo: Option<&'a Path>) -> Self {
        let &Plan { overwritten, written_again, deleted, .. } = planned;
        let Done { changed, kept } = done.unwrap_or_default();
        let (revision, from) = (wanted.to, wanted.from);
        Self { revision, from, overwritten, written_again, deleted, changed, kept, undo }
    }
}

fn report(format: Format, answer: &Answer<'_>, text: &str, is_requested: bool, cx: &Context) -> Result<()> {
    match format {
        Format::Json => output::json(answer),
        Format::Text if is_requested => output::text(text),
        Format::Text => cx.report(text),
    }
}
