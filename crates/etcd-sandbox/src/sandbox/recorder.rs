//! What a failed test needs to explain itself: where its history begins, and the test's own notes. Records nothing of what
//! passes through etcd, which keeps every change. `timeline` reads and draws it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use etcd_keys::text::Escaped;
use etcd_keys::watch::History;
use etcd_keys::{KeyRange, Keys, OwnWatch, Redaction, kv};

use crate::runs::registry::Registry;
use crate::runs::{EscapeSearch, Escapes};
#[cfg(feature = "tracing")]
use crate::sandbox::kept_events::KeptEvents;
use crate::sandbox::name;
use crate::timeline::file::{self, Test, TimelineFile};
use crate::timeline::{self, Note};
use crate::workspace::Workspace;

/// How long a failed test waits for its timeline.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same if all of it is written to a file for the run's report.
const TIMEOUT_WITH_FILE: Duration = Duration::from_secs(30);
/// How long it may take to find out what changed outside of all runs.
const OUTSIDE: Duration = Duration::from_secs(2);
/// How long keys may still be there after a test that is to leave none: dropped locks are released in the background.
const LEAVE: Duration = Duration::from_secs(1);
/// How often the keys are looked for.
const PACE: Duration = Duration::from_millis(20);
/// How long a test waits, when it does something to a member of its etcd, for the place of that on its timeline: without a
/// leader etcd does not tell.
#[cfg(feature = "private")]
const PLACE: Duration = Duration::from_millis(100);
/// How many keys that are left are named.
const NAMED: i64 = 10;

pub(crate) struct Recorder {
    keys: Keys,
    since: i64,
    began: Instant,
    notes: Mutex<Vec<Note>>,
    #[cfg(feature = "tracing")]
    events: Mutex<KeptEvents>,
    /// Whether there is nothing to print, or no more.
    is_done: AtomicBool,
    /// It must outlive the sandbox: its history is read when the test has failed.
    #[cfg(feature = "private")]
    server: std::sync::OnceLock<etcd_local::Ephemeral>,
}

impl Recorder {
    pub(crate) fn new(keys: Keys, since: i64) -> Self {
        Self {
            keys,
            since,
            began: Instant::now(),
            notes: Mutex::default(),
            #[cfg(feature = "tracing")]
            events: Mutex::default(),
            is_done: AtomicBool::new(false),
            #[cfg(feature = "private")]
            server: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The sandbox has no history before this revision.
    pub(crate) fn since(&self) -> i64 {
        self.since
    }

    pub(crate) fn history(&self) -> History {
        self.keys.history(KeyRange::prefix("")).from_revision(self.since)
    }

    /// The keys of the workspace whose values are not shown. Read when something is to be shown, which is rare.
    pub(crate) fn redaction() -> Redaction {
        Workspace::of_process().redaction()
    }

    /// The newest revision.
    pub(crate) async fn revision(&self) -> Result<i64, etcd_keys::Error> {
        Ok(self.keys.send(kv::Get::range(KeyRange::key("~")).count_only()).await?.revision)
    }

    pub(crate) fn note(&self, revision: i64, text: String) {
        self.push(Note { revision, time: self.began.elapsed(), text, is_event: false });
    }

    fn push(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Puts what happens to a member of the test's etcd on the timeline: after all that was written before. Blocks shortly, as
    /// what happens to a member does.
    #[cfg(feature = "private")]
    pub(crate) fn fault(self: &Arc<Self>, text: String) {
        let time = self.began.elapsed();
        let (sender, answer) = mpsc::channel();
        let recorder = Arc::clone(self);
        self.keys.connection().runtime().spawn(async move {
            if let Ok(Ok(now)) = tokio::time::timeout(PLACE, recorder.revision()).await {
                let _ = sender.send(now);
            }
        });
        // The task ends, too, if nothing comes.
        let now = answer.recv_timeout(PLACE * 2).unwrap_or(0);
        let written = self.keys.connection().own_revisions().map_or(0, |own| own.newest());
        let before = self.notes.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |note| note.revision);
        self.push(Note { revision: now.max(written).max(before), time, text, is_event: true });
    }

    /// Puts the members of the test's etcd that have ended by themselves at the end of the timeline.
    #[cfg(feature = "private")]
    fn note_ended_members(&self) {
        let members = self.server().map_or(&[][..], etcd_local::Ephemeral::members);
        for member in members.iter().filter(|member| member.has_ended_by_itself()) {
            let text = format!("member `{}` has ended by itself", member.name());
            self.push(Note { revision: i64::MAX, time: self.began.elapsed(), text, is_event: true });
        }
    }

    /// Puts an event of `tracing` on the timeline. Does not wait.
    #[cfg(feature = "tracing")]
    pub(crate) fn event(self: &Arc<Self>, text: String) {
        let is_to_ask = self.kept_events().push(self.began.elapsed(), text);
        if !is_to_ask {
            return;
        }
        // The sandbox may end meanwhile.
        let (keys, recorder) = (self.keys.clone(), Arc::downgrade(self));
        self.keys.connection().runtime().spawn(async move {
            while let Some(asked) = recorder.upgrade().map(|recorder| recorder.began.elapsed()) {
                let ask = kv::Get::range(KeyRange::key("~")).count_only().serializable();
                let answer = keys.send(ask).await.ok().map(|answer| answer.revision);
                let asks_again = recorder.upgrade().is_some_and(|recorder| recorder.kept_events().place(asked, answer));
                if !asks_again {
                    break;
                }
            }
        });
    }

    #[cfg(feature = "tracing")]
    fn kept_events(&self) -> std::sync::MutexGuard<'_, KeptEvents> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on the timeline beside changes.
    fn all_notes(&self) -> Vec<Note> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        #[cfg(feature = "tracing")]
        notes.extend(self.kept_events().notes());
        notes.extend(self.watches());
        notes.sort_by_key(|note| (note.revision, note.time));
        notes
    }

    /// Where watches of the sandbox's keys began that tell of new changes only.
    fn watches(&self) -> Vec<Note> {
        let namespace = self.keys.namespace();
        let below = |full: &[u8]| namespace.to_relative(full).map(<[u8]>::to_vec);
        let note = |watch: OwnWatch| {
            let start = below(watch.range.start())?;
            let range = match watch.range.end().and_then(|end| below(&end)) {
                _ if watch.range.is_single() => KeyRange::key(start),
                Some(end) => KeyRange::between(start, end),
                None if start == b"\0" => KeyRange::all(),
                None => KeyRange::from_key(start),
            };
            let time = watch.began.saturating_duration_since(self.began);
            Some(Note { revision: watch.revision, time, text: format!("a watch of {range} begins"), is_event: true })
        };
        self.keys.connection().own_watches().into_iter().filter_map(note).collect()
    }

    #[cfg(feature = "private")]
    pub(crate) fn keep_server(&self, server: etcd_local::Ephemeral) {
        // Called once, for a new sandbox.
        let _ = self.server.set(server);
    }

    #[cfg(feature = "private")]
    pub(crate) fn server(&self) -> Option<&etcd_local::Ephemeral> {
        self.server.get()
    }

    /// Prints nothing from now on: the test is expected to fail.
    pub(crate) fn silence(&self) {
        self.is_done.store(true, Relaxed);
    }

    /// Prints the timeline, once. Blocks, also in async functions, as it is called while a test fails.
    pub(crate) fn print(self: &Arc<Self>) {
        if self.is_done.swap(true, Relaxed) {
            return;
        }
        #[cfg(feature = "private")]
        self.note_ended_members();
        // This thread may be in a runtime, which would not let it wait. It prints, as its output is the test's.
        let (sender, text) = mpsc::channel();
        let recorder = Arc::clone(self);
        let test = Test::of_thread(self.began.elapsed());
        let file = TimelineFile::create(file::directory(), self.keys.namespace().prefix(), test);
        let timeout = if file.is_wanted() { TIMEOUT_WITH_FILE } else { TIMEOUT };
        let reading = std::thread::Builder::new().spawn(move || {
            let runtime = recorder.keys.connection().runtime();
            let other = Arc::clone(&recorder);
            let outside = runtime.spawn(async move { other.outside().await });
            // Nobody listens any more if it took too long.
            let _ = sender.send(runtime.block_on(recorder.timeline(file)));
            let _ = sender.send(runtime.block_on(outside).ok().flatten().unwrap_or_default());
        });
        match reading.map(|_| text.recv_timeout(timeout)) {
            Ok(Ok(timeline)) => eprint!("{timeline}{}", text.recv_timeout(OUTSIDE).unwrap_or_default()),
            _ => eprintln!("no timeline of the test's keys: it took more than {} s", timeout.as_secs()),
        }
    }

    /// Which keys are left, as a sentence; `None`: no keys. Blocks: not for async functions.
    pub(crate) fn keys_left(&self) -> Option<String> {
        self.keys.connection().runtime().block_on(async {
            let deadline = tokio::time::Instant::now() + LEAVE;
            loop {
                let left = match self.keys.send(kv::Get::range(KeyRange::prefix("")).keys_only().limit(NAMED)).await {
                    Ok(left) => left,
                    Err(error) => return Some(format!("it is not known whether keys are left: {error}")),
                };
                if left.count == 0 {
                    return None;
                }
                if tokio::time::Instant::now() >= deadline {
                    return Some(sentence(&left));
                }
                tokio::time::sleep(PACE).await;
            }
        })
    }

    async fn timeline(&self, file: TimelineFile) -> String {
        let notes = self.all_notes();
        let redaction = Self::redaction();
        match timeline::read(&self.keys, KeyRange::prefix(""), &redaction, self.since, notes.clone(), file).await {
            Ok(text) => text,
            Err(error) => format!("no timeline of the test's keys: {error}\n{}", timeline::without_changes(&notes)),
        }
    }

    /// Which keys outside of all runs have changed meanwhile, and of a sandbox without changes, outside of all sandboxes: code
    /// under test may have another prefix than the test. `None`: not known.
    async fn outside(&self) -> Option<String> {
        let prefix = std::str::from_utf8(self.keys.namespace().prefix()).ok()?;
        let (run, _) = prefix.strip_suffix('/')?.rsplit_once('/')?;
        let run = format!("{run}/");
        let registry = Registry::new(self.keys.connection(), Workspace::of_process().roots().ok()?);
        let mut search = EscapeSearch::after(self.since, run.clone(), registry);
        let (outside, beside) = tokio::join!(search.look(), self.beside_sandboxes(&run));
        let outside = outside.ok().map(|found| told("outside of all runs", found)).unwrap_or_default();
        Some(outside + &beside.map(|found| told("in this run, outside of all sandboxes", &found)).unwrap_or_default())
    }

    /// Which keys of the run have changed that are no sandbox's. Looks only if nothing was written in this one.
    async fn beside_sandboxes(&self, run: &str) -> Result<Escapes, etcd_keys::Error> {
        let mut found = Escapes::default();
        if self.history().try_next().await?.is_some() {
            return Ok(found);
        }
        let all = self.keys.connection().all_keys();
        let mut history = all.history(KeyRange::prefix(run)).from_revision(self.since);
        while let Some(event) = history.try_next().await? {
            let below = event.kv.key.strip_prefix(run.as_bytes()).unwrap_or_default();
            let segment = below.split(|byte| *byte == b'/').next().unwrap_or_default();
            // Keys of the run itself begin with a dot.
            if !segment.starts_with(b".") && !name::is_unique(segment) {
                found.count(event.kv.key);
            }
        }
        Ok(found)
    }
}

fn told(what: &str, Escapes { changes, keys, .. }: &Escapes) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let named: Vec<String> = keys.iter().map(|key| format!("`{}`", Escaped(key))).collect();
    let changes = if *changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") };
    let named = named.join(", ");
    format!("  {what}: {changes} since the run began, by this test or others: {named}\n")
}

/// Such as "2 keys are left: `a`, `b`".
fn sentence(left: &kv::GetResponse) -> String {
    let named: Vec<String> = left.kvs.iter().map(|kv| format!("`{}`", Escaped(&kv.key))).collect();
    let (named, more) = (named.join(", "), if left.count > NAMED { ", …" } else { "" });
    let keys = if left.count == 1 { "1 key is".to_owned() } else { format!("{} keys are", left.count) };
    format!("{keys} left at the end of this test, which is to remove its keys (`clean`): {named}{more}")
}
