//! A key and its value as people read it: JSON indented, protobuf by its raw fields, other text as it is, other bytes in
//! hexadecimal. No control character stays.

mod json;
mod protobuf;

use etcd_keys::KeyValue;
use etcd_keys::difference::ValueChange;
use etcd_keys::text::Escaped;
use ratatui_core::text::Span;

/// About how many characters of a change are shown.
const WIDTH: usize = 120;
/// How many lines of a value are shown.
const MOST_LINES: usize = 20_000;

/// What is shown of a key.
pub(super) struct Value {
    pub(super) key: Vec<u8>,
    /// `None`: there is no such key.
    kv: Option<KeyValue>,
    is_hidden: bool,
    is_hex: bool,
    /// What happened to the key while it was shown.
    pub(super) change: Option<String>,
    form: &'static str,
    lines: Vec<String>,
}

impl Value {
    /// The value of a key. Hidden by `redact` in the workspace's manifest: then it is never shown.
    pub(super) fn new(key: Vec<u8>, kv: Option<KeyValue>, is_hidden: bool) -> Self {
        let (is_hex, change, form, lines) = (false, None, "", Vec::new());
        let mut value = Self { key, kv, is_hidden, is_hex, change, form, lines };
        value.lay_out();
        value
    }

    /// The key has a new value, or has been deleted.
    pub(super) fn change(&mut self, kv: Option<KeyValue>, revision: i64) {
        if self.kv.as_ref().is_some_and(|known| known.mod_revision >= revision) {
            return;
        }
        let (old, new) = (bytes(self.kv.as_ref()), bytes(kv.as_ref()));
        self.change = Some(match (&kv, self.is_hidden) {
            (None, _) => format!("deleted at revision {revision}"),
            (Some(_), true) => format!("changed at revision {revision}"),
            (Some(_), false) => {
                format!("revision {revision}: {}", ValueChange { before: old, after: new, width: WIDTH })
            }
        });
        self.kv = kv;
        self.lay_out();
    }

    /// Shows the bytes in hexadecimal, or not any more.
    pub(super) fn toggle_hex(&mut self) {
        self.is_hex = !self.is_hex;
        self.lay_out();
    }

    /// The value, if it may be shown.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        bytes(self.kv.as_ref().filter(|_| !self.is_hidden))
    }

    /// A line about the key.
    pub(super) fn about(&self) -> String {
        let Some(kv) = &self.kv else { return "the key does not exist".to_owned() };
        if self.is_hidden {
            return "hidden by `redact` in Cargo.toml".to_owned();
        }
        let lease = kv.lease.map(|lease| format!(", lease {lease}")).unwrap_or_default();
        let (bytes, revision, version) = (kv.value.len(), kv.mod_revision, kv.version);
        format!("{}, {bytes} bytes, rev {revision}, version {version}{lease}", self.form)
    }

    /// The value in lines of at most this width.
    pub(super) fn wrapped(&self, width: usize) -> Vec<String> {
        self.lines.iter().flat_map(|line| wrap(line, width.max(1))).take(MOST_LINES).collect()
    }

    fn lay_out(&mut self) {
        (self.form, self.lines) = match self.bytes() {
            None => ("", Vec::new()),
            Some(bytes) if self.is_hex => ("hexadecimal", hex(bytes)),
            Some(bytes) => read(bytes),
        };
    }
}

fn bytes(kv: Option<&KeyValue>) -> Option<&[u8]> {
    kv.map(|kv| kv.value.as_slice())
}

/// The form of a value, and its lines.
pub(super) fn read(value: &[u8]) -> (&'static str, Vec<String>) {
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x1b');
    match std::str::from_utf8(value) {
        Ok(text) if text.chars().all(is_text) => match json::indented(text) {
            Some(json) => ("JSON", lines(&json)),
            None => ("text", lines(&text.replace('\t', "    "))),
        },
        _ => match protobuf::fields(value.strip_prefix(b"k8s\0").unwrap_or(value)) {
            Some(fields) => ("protobuf (a guess)", fields),
            None => ("hexadecimal", hex(value)),
        },
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().take(MOST_LINES).map(harmless).collect()
}

/// The text without control characters. Backslashes stay as they are.
fn harmless(line: &str) -> String {
    line.split('\\').map(|part| Escaped(part.as_bytes()).to_string()).collect::<Vec<_>>().join("\\")
}

fn hex(value: &[u8]) -> Vec<String> {
    let line = |(index, bytes): (usize, &[u8])| {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_visible = |byte: &u8| (b' '..=b'~').contains(byte);
        let text: String = bytes.iter().map(|byte| if is_visible(byte) { char::from(*byte) } else { '.' }).collect();
        format!("{:06x}  {:23}  {text}", index * 8, digits.join(" "))
    };
    value.chunks(8).take(MOST_LINES).enumerate().map(line).collect()
}

/// Cuts a line into parts that are at most so wide on a terminal.
pub(super) fn wrap(line: &str, width: usize) -> Vec<String> {
    let (mut parts, mut part, mut used) = (Vec::new(), String::new(), 0);
    for c in line.chars() {
        let wide = if c.is_ascii() { 1 } else { Span::raw(c.encode_utf8(&mut [0; 4]) as &str).width() };
        if used + wide > width && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            used = 0;
        }
        part.push(c);
        used += wide;
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_bytes_are_hexadecimal() {
        let text = |lines: &[&str]| ("text", lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        assert_eq!(read(b"a: 1\nb:\n\t- \\x"), text(&["a: 1", "b:", "    - \\x"]));
        assert_eq!(read(b"\x1b[31mred"), text(&["\\x1b[31mred"]));
        assert_eq!(read(b""), text(&[]));
        let hex = ["000000  00 ff 61 62 63 64 65 66  ..abcdef", "000008  67 68                    gh"];
        assert_eq!(read(b"\x00\xffabcdefgh"), ("hexadecimal", hex.map(str::to_owned).to_vec()));
    }

    #[test]
    fn long_lines_are_cut_by_their_width_on_a_terminal() {
        assert_eq!(wrap("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("日本", 1), ["日", "本"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn a_change_says_how_the_value_differs_and_a_hidden_one_does_not() {
        let kv = |value: &str, mod_revision| {
            let mut kv = KeyValue::default();
            (kv.key, kv.value, kv.mod_revision) = (b"k".to_vec(), value.into(), mod_revision);
            kv
        };
        let mut value = Value::new(b"k".to_vec(), Some(kv("{\"a\":1}", 5)), false);
        value.change(Some(kv("{\"a\":2}", 5)), 5);
        assert_eq!(value.change, None, "it is older than what is shown");
        value.change(Some(kv("{\"a\":2}", 6)), 6);
        assert_eq!(value.change.as_deref(), Some("revision 6: .a 1 → 2"));
        let mut hidden = Value::new(b"k".to_vec(), Some(kv("one", 5)), true);
        hidden.change(Some(kv("two", 6)), 6);
        assert_eq!(hidden.change.as_deref(), Some("changed at revision 6"));
        assert!(hidden.wrapped(80).is_empty() && hidden.bytes().is_none());
    }
}
