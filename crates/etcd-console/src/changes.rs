//! Prints changes, one a line, for people or for programs: what `watch` and `history` have in common.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use etcd_keys::difference::ValueChange;
use etcd_keys::watch::{Batch, Event, EventKind, EventRef};
use etcd_keys::{LeaseId, Redaction, pages};
use serde::Serialize;

use crate::cli::Format;
use crate::output::{self, Base64, Bytes};

/// Printed instead of a time, with the same length, because etcd does not store times.
const EARLIER: &str = "earlier                      ";
/// About how many characters of a value the history shows.
const WIDTH: usize = 120;

/// How changes are printed.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) keys_only: bool,
    pub(crate) hex: bool,
}

pub(crate) struct Printer {
    style: Style,
    bytes: Bytes,
    redaction: Redaction,
    colour: bool,
    /// Changes up to this revision happened before the watch began, at an unknown time.
    past: i64,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

/// A change, received or computed.
#[derive(Clone, Copy)]
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
        Self { found: true, ..Self::past(event) }
    }

    fn past(event: &'a Event) -> Self {
        Self {
            kind: event.kind,
            key: &event.kv.key,
            value: &event.kv.value,
            previous: event.prev_kv.as_ref().map(|kv| kv.value.as_slice()),
            revision: event.kv.mod_revision,
            created: event.kv.create_revision,
            lease: event.kv.lease,
            found: false,
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
    pub(crate) fn new(style: Style, redaction: Redaction, past: i64) -> Self {
        Self {
            style,
            bytes: Bytes::choose(style.hex),
            redaction,
            colour: io::stdout().is_terminal() && output::may_use_colours(),
            past,
            out: output::stdout(),
        }
    }

    /// Prints at most `most` changes of a batch. Returns how many.
    pub(crate) fn batch(&mut self, batch: &Batch, most: u64) -> Result<u64> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let now = match self.style.format {
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

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Prints a change of the past: the revision first, as etcd does not store times, and how the value differs.
    pub(crate) fn past(&mut self, event: &Event) -> Result<()> {
        let change = Change::past(event);
        if self.style.format == Format::Json {
            return Ok(self.json(None, &change)?);
        }
        let revision = format!("rev {:<8}", change.revision);
        let (word, colour) = word(change.kind);
        self.word(&revision, word, colour)?;
        self.bytes.write(&mut self.out, change.key)?;
        if !self.style.keys_only {
            self.out.write_all(b"  ")?;
            if self.style.hex {
                self.values(&change)?;
            } else {
                let after = Some(change.value).filter(|_| change.kind == EventKind::Put);
                write!(self.out, "{}", ValueChange { before: change.previous, after, width: WIDTH })?;
            }
        }
        if let Some(lease) = change.lease {
            write!(self.out, "  lease {lease}")?;
        }
        Ok(self.out.write_all(b"\n")?)
    }

    fn change(&mut self, now: &str, change: &Change<'_>) -> Result<()> {
        let after = Some(change.value).filter(|_| change.kind == EventKind::Put);
        let redaction = self.redaction.clone();
        let (previous, value) = redaction.shown(change.key, change.previous, after);
        let change = &Change { previous, value: value.unwrap_or_default(), ..*change };
        let time = (change.revision > self.past).then_some(now);
        if self.style.format == Format::Json {
            return Ok(self.json(time, change)?);
        }
        let (word, colour) = word(change.kind);
        self.word(time.unwrap_or(EARLIER), word, colour)?;
        self.bytes.write(&mut self.out, change.key)?;
        if !self.style.keys_only {
            self.out.write_all(b"  ")?;
            self.values(change)?;
        }
        write!(self.out, "  rev {}", change.revision)?;
        if let Some(lease) = change.lease {
            write!(self.out, " lease {lease}")?;
        }
        Ok(self.out.write_all(if change.found { b" (found)\n" } else { b"\n" })?)
    }

    /// Both values, whole.
    fn values(&mut self, change: &Change<'_>) -> io::Result<()> {
        match (change.kind, change.previous) {
            (EventKind::Put, None) => self.bytes.write(&mut self.out, change.value),
            (EventKind::Put, Some(previous)) => {
                self.bytes.write(&mut self.out, previous)?;
                self.out.write_all(" → ".as_bytes())?;
                self.bytes.write(&mut self.out, change.value)
            }
            (EventKind::Delete, previous) => self.bytes.write(&mut self.out, previous.unwrap_or_default()),
        }
    }

    fn json(&mut self, time: Option<&str>, change: &Change<'_>) -> io::Result<()> {
        let line = Line {
            time,
            r#type: if change.kind == EventKind::Put { "PUT" } else { "DELETE" },
            kv: Entry {
                key: Base64(change.key),
                value: (!self.style.keys_only).then_some(Base64(change.value)),
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
        if self.style.format == Format::Json {
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

/// The word for a change, and its colour.
fn word(kind: EventKind) -> (&'static str, &'static str) {
    match kind {
        EventKind::Put => ("PUT", "32"),
        EventKind::Delete => ("DEL", "31"),
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
