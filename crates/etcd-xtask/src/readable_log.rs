//! Makes etcd's log readable: time, level, message and fields. Other lines are not changed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};

/// Left out: this field is for developers of etcd.
const LEFT_OUT: [&str; 3] = ["caller", "errorVerbose", "stacktrace"];

/// Copies a log and makes each complete line readable. An incomplete last line is copied unchanged.
pub(crate) struct Readable<W: Write> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Readable<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, line: Vec::new() }
    }
}

impl<W: Write> Drop for Readable<W> {
    fn drop(&mut self) {
        drop(self.to.write_all(&self.line));
    }
}

impl<W: Write> Write for Readable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                match readable(&line) {
                    Some(text) => writeln!(self.to, "{text}")?,
                    None => self.to.write_all(&line)?,
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A line of etcd's log.
#[derive(Serialize)]
pub(crate) struct LogLine {
    /// A local time with its offset, to the millisecond.
    pub(crate) time: String,
    /// In capital letters.
    pub(crate) level: String,
    /// The message and the fields.
    pub(crate) text: String,
}

fn readable(line: &[u8]) -> Option<String> {
    let LogLine { time, level, text } = parse(line)?;
    Some(format!("{time} {level:5} {text}"))
}

/// Reads a line of etcd's log; `None` for lines of another form.
pub(crate) fn parse(line: &[u8]) -> Option<LogLine> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (level, time, message) = (take("level")?, take("ts")?, take("msg")?);
    let mut text = message.trim_end().to_owned();
    for (name, value) in fields.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
        let _ = write!(text, "  {name}={}", plain(value));
    }
    // Escaped, because it contains keys from clients, which may have control characters.
    Some(LogLine { time: escaped(&short(&time)), level: escaped(&level.to_uppercase()), text: escaped(&text) })
}

fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A single word unchanged, other text as JSON.
fn plain(value: &Value) -> Cow<'_, str> {
    let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "\"=".contains(c));
    match value {
        Value::String(text) if is_word(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// A local time of etcd's with its offset, like `2026-11-28T04:32:10.115126+0530`, cut to milliseconds.
fn short(time: &str) -> String {
    let Some((seconds, rest)) = time.split_once('.') else { return time.to_owned() };
    let (fraction, zone) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let zone = match zone.split_at_checked(3) {
        Some((hours, minutes)) if minutes.len() == 2 => format!("{hours}:{minutes}"),
        _ => zone.to_owned(),
    };
    format!("{seconds}.{fraction:0<3.3}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(log: &str) -> String {
        let mut text = Vec::new();
        let mut readable = Readable::new(&mut text);
        // However it comes.
        log.as_bytes().chunks(7).for_each(|part| readable.write_all(part).unwrap());
        drop(readable);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_of_etcd_are_readable_and_others_as_they_are() {
        for (line, readable) in [
            (
                r#"{"level":"info","ts":"2026-11-28T04:32:10.115126+0530","caller":"a/b.go:1","msg":"now serving","addr":"127.0.0.1:1","n":3}"#,
                "2026-11-28T04:32:10.115+05:30 INFO  now serving  addr=127.0.0.1:1  n=3",
            ),
            (
                r#"{"level":"fatal","ts":"2026-11-28T04:32:10.1Z","msg":"failed","error":"it is full","stacktrace":"a\nb"}"#,
                r#"2026-11-28T04:32:10.100Z FATAL failed  error="it is full""#,
            ),
            (
                "{\"level\":\"warn\",\"ts\":\"today\",\"msg\":\"slow\\u001b[31m\\u009b\",\"keys\":[\"a b\",{\"k\":\"\\u0007\"}],\"none\":\"\"}",
                r#"today WARN  slow\u{1b}[31m\u{9b}  keys=["a b",{"k":"\u0007"}]  none="""#,
            ),
            ("flag provided but not defined: -x", "flag provided but not defined: -x"),
            (r#"{"level":"info"}"#, r#"{"level":"info"}"#),
            (
                "2020-01-01 12:00:00.000000 I | etcdmain: etcd Version: 3.4",
                "2020-01-01 12:00:00.000000 I | etcdmain: etcd Version: 3.4",
            ),
            ("[]", "[]"),
            ("", ""),
        ] {
            assert_eq!(shown(&format!("{line}\n")), format!("{readable}\n"));
        }
        assert_eq!(shown("{\"level\":\n{\"le"), "{\"level\":\n{\"le", "what has no end yet is not lost");
    }
}
