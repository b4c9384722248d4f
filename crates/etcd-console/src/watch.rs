//! `watch`: prints changes as they happen, one a line, for people or for programs. Lost changes are reported as gaps.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use etcd_keys::pages;
use etcd_keys::watch::{Batch, Event, EventKind, EventRef};
use etcd_keys::{Connection, KeyRange, LeaseId, kv};
use serde::Serialize;

use crate::cli::{Format, Keys, Watch};
use crate::context::Context;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::nearby;
use crate::output::{self, Base64, Bytes};

/// How long the server may be unreachable before a note says so. The watch waits for it anyway.
const NOTE_AFTER: Duration = Duration::from_secs(2);
/// The interval between attempts to reach the server.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Printed instead of a time, with the same length, because etcd does not store times.
const EARLIER: &str = "earlier                      ";

pub(crate) async fn run(args: Watch, cx: &Context) -> Result<ExitCode> {
    let (key, range_end) = (args.key.clone(), args.range_end.clone());
    let keys = key.map(|key| Keys { key, range_end, prefix: args.prefix, from_key: false });
    let range = match &keys {
        Some(keys) => crate::keys::range(keys)?,
        None => KeyRange::prefix(format!("{}/", cx.root()?)),
    };
    let connection = cx.connect().await?;
    let now = look(&connection, &range).await?;
    let past = args.rev.map_or(0, |_| now.revision);
    let missing = keys.filter(|_| now.count == 0);
    let mut first_note = Some(format!("watching {range} at {}", connection.endpoint()));
    let mut watch = connection.all_keys().watch(range.clone()).track().outage_timeout(NOTE_AFTER);
    if !args.keys_only {
        watch = watch.previous_values();
    }
    if let Some(revision) = args.rev {
        watch = watch.from_revision(revision);
    }
    let mut printer = Printer::new(&args, past);
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut is_away = false;
    let mut interrupt = Interrupt::listen()?;
    while left > 0 {
        let batch = tokio::select! {
            biased;
            // With a count, the watch has not reached its end.
            () = interrupt.pressed() => std::process::exit(if args.count.is_some() { INTERRUPTED } else { 0 }),
            batch = watch.recv_batch() => batch,
            // If there are no changes, the watch does not notice that the server is back.
            () = answers(&connection, &range), if is_away => {
                is_back(&mut is_away, &connection, cx);
                continue;
            }
        };
        let batch = match batch {
            Err(error) if error.kind.is_transient() => {
                if !std::mem::replace(&mut is_away, true) {
                    cx.note(format_args!("{error}; waiting for it, and then reporting what was missed"));
                }
                continue;
            }
            batch => batch?,
        };
        is_back(&mut is_away, &connection, cx);
        if let Some(from) = first_revision(&batch)
            && let Some(watching) = first_note.take()
        {
            cx.note(format_args!("{watching}, from revision {from}"));
            if let Some(keys) = &missing {
                nearby::note("watch", keys, &connection, cx).await;
            }
        }
        left -= printer.batch(&batch, left)?;
        printer.out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest revision, and the number of keys in the range.
async fn look(connection: &Connection, range: &KeyRange) -> Result<kv::GetResponse, etcd_keys::Error> {
    connection.all_keys().send(kv::Get::range(range.clone()).count_only()).await
}

/// Waits until the server answers again.
async fn answers(connection: &Connection, range: &KeyRange) {
    // Reads only one key, which is quick.
    let key = if range.start().is_empty() { vec![0] } else { range.start().to_vec() };
    while look(connection, &KeyRange::key(key.clone())).await.is_err() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn is_back(is_away: &mut bool, connection: &Connection, cx: &Context) {
    if std::mem::take(is_away) {
        cx.note(format_args!("etcd answers again at {}; the watch continues", connection.endpoint()));
    }
}

/// The first revision that the watch reports, from its first batch.
fn first_revision(batch: &Batch) -> Option<i64> {
    match batch {
        Batch::Listed { revision, .. } => Some(revision + 1),
        Batch::Gap { from, .. } => Some(*from),
        _ => None,
    }
}

struct Printer {
    format: Format,
    bytes: Bytes,
    keys_only: bool,
    colour: bool,
    /// Changes up to this revision happened before the watch began, at an unknown time.
    past: i64,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

/// A change, received or computed.
struct Change<'a> {
    kind: EventKind,
    key: &'a [u8],
    value: &'a [u8],
    previous: Option<&'a [u8]>,
    revision: i64,
    created: i64,
    lease: Option<LeaseId>,
    found: bool,
}

impl<'a> Change<'a> {
    fn received(event: EventRef<'a>) -> Self {
        Self {
            kind: event.kind(),
            previous: event.prev_kv().map(|entry| entry.value()),
            found: false,
            ..Self::existing(event.kv())
        }
    }

    fn computed(event: &'a Event) -> Self {
        Self {
            kind: event.kind,
            key: &event.kv.key,
            value: &event.kv.value,
            previous: event.prev_kv.as_ref().map(|kv| kv.value.as_slice()),
            revision: event.kv.mod_revision,
            created: event.kv.create_revision,
            lease: event.kv.lease,
            found: true,
        }
    }

    fn existing(entry: pages::Entry<'a>) -> Self {
        Self {
            kind: EventKind::Put,
            key: entry.key(),
            value: entry.value(),
            previous: None,
            revision: entry.mod_revision(),
            created: entry.create_revision(),
            lease: entry.lease(),
            found: true,
        }
    }
}

impl Printer {
    fn new(args: &Watch, past: i64) -> Self {
        Self {
            format: args.format,
            bytes: Bytes::choose(args.hex),
            keys_only: args.keys_only,
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            past,
            out: output::stdout(),
        }
    }

    /// Prints at most `most` changes of a batch. Returns how many.
    fn batch(&mut self, batch: &Batch, most: u64) -> Result<u64> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let now = match self.format {
            Format::Text => output::local_time(output::now()),
            Format::Json => humantime::format_rfc3339_millis(output::now()).to_string(),
        };
        let mut printed = 0;
        match batch {
            Batch::Events(events) => {
                for event in events.iter().take(most) {
                    self.change(&now, &Change::received(event))?;
                    printed += 1;
                }
            }
            Batch::Difference(events) => {
                for event in events.iter().take(most) {
                    self.change(&now, &Change::computed(event))?;
                    printed += 1;
                }
            }
            Batch::Keys(page) => {
                for entry in page.entries().take(most) {
                    self.change(&now, &Change::existing(entry))?;
                    printed += 1;
                }
            }
            Batch::Gap { from, to, all_keys } => {
                let text = format!("revisions {from} to {to} are compacted away; {}", follows(*all_keys));
                let json = serde_json::json!({ "from": from, "to": to, "all_keys": all_keys });
                self.notice(&now, "GAP", &text, json)?;
            }
            Batch::Reset { was, now: is, revision } => {
                // The revisions of the new cluster are unrelated to `past`.
                self.past = 0;
                let (was, is) = (format!("{was:016x}"), format!("{is:016x}"));
                let text = format!(
                    "the data of cluster {was} is gone; cluster {is} answers, at revision {revision}; its keys follow"
                );
                self.notice(&now, "RESET", &text, serde_json::json!({ "was": was, "now": is, "revision": revision }))?;
            }
            // `Listed`: the end of the keys after a gap or a reset, or the start of the watch.
            _ => {}
        }
        Ok(printed)
    }

    fn change(&mut self, now: &str, change: &Change<'_>) -> Result<()> {
        let time = (change.revision > self.past).then_some(now);
        if self.format == Format::Json {
            return Ok(self.json(time, change)?);
        }
        let (word, colour) = match change.kind {
            EventKind::Put => ("PUT", "32"),
            EventKind::Delete => ("DEL", "31"),
        };
        self.word(time.unwrap_or(EARLIER), word, colour)?;
        self.bytes.write(&mut self.out, change.key)?;
        if !self.keys_only {
            self.out.write_all(b"  ")?;
            match (change.kind, change.previous) {
                (EventKind::Put, None) => self.bytes.write(&mut self.out, change.value)?,
                (EventKind::Put, Some(previous)) => {
                    self.bytes.write(&mut self.out, previous)?;
                    self.out.write_all(" → ".as_bytes())?;
                    self.bytes.write(&mut self.out, change.value)?;
                }
                (EventKind::Delete, previous) => self.bytes.write(&mut self.out, previous.unwrap_or_default())?,
            }
        }
        write!(self.out, "  rev {}", change.revision)?;
        if let Some(lease) = change.lease {
            write!(self.out, " lease {lease}")?;
        }
        Ok(self.out.write_all(if change.found { b" (found)\n" } else { b"\n" })?)
    }

    fn json(&mut self, time: Option<&str>, change: &Change<'_>) -> io::Result<()> {
        let line = Line {
            time,
            r#type: if change.kind == EventKind::Put { "PUT" } else { "DELETE" },
            kv: Entry {
                key: Base64(change.key),
                value: (!self.keys_only).then_some(Base64(change.value)),
                create_revision: change.created,
                mod_revision: change.revision,
                lease: change.lease.map_or(0, LeaseId::get),
            },
            prev_kv: change.previous.map(|value| Previous { value: Base64(value) }),
            found: change.found,
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }

    fn notice(&mut self, now: &str, word: &str, text: &str, mut json: serde_json::Value) -> Result<()> {
        if self.format == Format::Json {
            if let Some(object) = json.as_object_mut() {
                object.insert("time".to_owned(), now.into());
                object.insert("type".to_owned(), word.into());
            }
            return Ok(writeln!(self.out, "{json}")?);
        }
        self.word(now, word, "33")?;
        Ok(writeln!(self.out, "{text}")?)
    }

    fn word(&mut self, time: &str, word: &str, colour: &str) -> io::Result<()> {
        match self.colour {
            true => write!(self.out, "{time} \x1b[{colour}m{word}\x1b[0m "),
            false => write!(self.out, "{time} {word} "),
        }
    }
}

fn follows(all_keys: bool) -> &'static str {
    if all_keys { "all keys follow; other keys were deleted" } else { "the changed keys follow" }
}

/// One change; the fields within `kv` and `prev_kv` are etcdctl's.
#[derive(Serialize)]
struct Line<'a> {
    /// When it was printed, RFC 3339; `null` for changes from before the watch began.
    time: Option<&'a str>,
    r#type: &'static str,
    kv: Entry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_kv: Option<Previous<'a>>,
    /// Whether the change was computed after a gap, not received. There may have been more changes.
    found: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    key: Base64<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Base64<'a>>,
    create_revision: i64,
    mod_revision: i64,
    lease: i64,
}

#[derive(Serialize)]
struct Previous<'a> {
    value: Base64<'a>,
}
