//! How a value changed, in one line for people: JSON by field, text by words, other bytes by their place.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde_json::Value;

use crate::client::text::Escaped;

/// Texts whose common parts are shorter than this are shown whole.
const COMMON: usize = 24;
/// How many changed fields are shown.
const FIELDS: usize = 8;
/// How much of the common parts is shown around a change.
const AROUND: usize = 12;

/// What a key's value was and is. `Display` shows the difference in one line of about `width` characters, or a little more
/// where several fields changed.
#[derive(Clone, Copy, Debug)]
pub struct ValueChange<'a> {
    /// The value before; `None`: the key did not exist, or the value is not known.
    pub before: Option<&'a [u8]>,
    /// The value after; `None`: the key was deleted.
    pub after: Option<&'a [u8]>,
    /// About how many characters to use for each value.
    pub width: usize,
}

impl fmt::Display for ValueChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value| Shortened(value, self.width);
        match (self.before, self.after) {
            (None, None) => Ok(()),
            (None, Some(after)) => shown(after).fmt(f),
            (Some(before), None) => write!(f, "(was {})", shown(before)),
            (Some(before), Some(after)) if before == after => write!(f, "{} (unchanged)", shown(after)),
            (Some(before), Some(after)) => match (object(before), object(after)) {
                (Some(before), Some(after)) => fields(f, &before, &after, self.width),
                _ => between(f, before, after, self.width),
            },
        }
    }
}

/// Bytes as text, cut in the middle if they are long.
struct Shortened<'a>(&'a [u8], usize);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes, width) = *self;
        if bytes.len() <= width {
            return write!(f, "`{}`", Escaped(bytes));
        }
        let (head, tail) = (floor(bytes, width * 2 / 3), ceil(bytes, bytes.len() - width / 3));
        write!(
            f,
            "`{}…{}` ({} bytes)",
            Escaped(part(bytes, 0..head)),
            Escaped(part(bytes, tail..bytes.len())),
            bytes.len()
        )
    }
}

/// Some of the bytes; none, if there are not so many.
fn part(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

/// Whether a character of UTF-8 goes on at this place.
fn is_inside(bytes: &[u8], place: usize) -> bool {
    bytes.get(place).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
}

/// The last place up to `place` that is not inside a character. Bytes that are not text may be cut anywhere.
fn floor(bytes: &[u8], place: usize) -> usize {
    (place.saturating_sub(3)..=place).rev().find(|place| !is_inside(bytes, *place)).unwrap_or(place)
}

/// The first place from `place` on that is not inside a character. Bytes that are not text may be cut anywhere.
fn ceil(bytes: &[u8], place: usize) -> usize {
    (place..=place + 3).find(|place| !is_inside(bytes, *place)).unwrap_or(place)
}

/// The two values, or, if they are long and mostly the same, the part that differs and a little of what is around it.
fn between(f: &mut fmt::Formatter<'_>, before: &[u8], after: &[u8], width: usize) -> fmt::Result {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let head = floor(after, before.iter().zip(after).take_while(same).count());
    let (old, new) = (part(before, head..before.len()), part(after, head..after.len()));
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let tail = new.len() - ceil(new, new.len() - tail);
    if head + tail < COMMON {
        return write!(f, "{} → {}", Shortened(before, width), Shortened(after, width));
    }
    // Whole words, if they are near.
    let is_end = |byte: &u8| !byte.is_ascii_alphanumeric();
    let (first, last) = (part(after, 0..head), part(after, after.len() - tail..after.len()));
    let start = first.iter().rev().take(AROUND).position(is_end).map_or(head, |back| head - back);
    let rest = tail - last.iter().take(AROUND).position(is_end).unwrap_or(0);
    let (old, new) = (part(before, start..before.len() - rest), part(after, start..after.len() - rest));
    write!(f, "{} → {} at byte {start}", Shortened(old, width), Shortened(new, width))?;
    match before.len() == after.len() {
        true => write!(f, " of {}", after.len()),
        false => write!(f, " of {}, now {}", before.len(), after.len()),
    }
}

/// The fields of a JSON object by their paths; `None` for anything else.
fn object(bytes: &[u8]) -> Option<BTreeMap<String, Value>> {
    let value: Value = bytes.starts_with(b"{").then(|| serde_json::from_slice(bytes).ok()).flatten()?;
    let mut fields = BTreeMap::new();
    flatten(String::new(), value, &mut fields);
    Some(fields)
}

fn flatten(path: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            object.into_iter().for_each(|(name, value)| flatten(format!("{path}.{name}"), value, fields));
        }
        Value::Array(items) if !items.is_empty() => {
            let items = items.into_iter().enumerate();
            items.for_each(|(index, value)| flatten(format!("{path}[{index}]"), value, fields));
        }
        value => {
            fields.insert(path, value);
        }
    }
}

/// The fields that differ: `.state "new" → "ready", +.slot 3, -.rack`.
fn fields(
    f: &mut fmt::Formatter<'_>,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    width: usize,
) -> fmt::Result {
    let paths = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    let changed = paths.filter(|path| before.get(*path) != after.get(*path));
    let (mut separator, mut left) = ("", 0_usize);
    for (number, path) in changed.enumerate() {
        if number >= FIELDS {
            left += 1;
            continue;
        }
        let (name, shown) = (Escaped(path.as_bytes()), |value: &Value| json(value, width));
        f.write_str(separator)?;
        match (before.get(path), after.get(path)) {
            (Some(old), Some(new)) => write!(f, "{name} {} → {}", shown(old), shown(new))?,
            (None, Some(new)) => write!(f, "+{name} {}", shown(new))?,
            (Some(old), None) => write!(f, "-{name} (was {})", shown(old))?,
            (None, None) => {}
        }
        separator = ", ";
    }
    if left > 0 {
        return write!(f, ", and {left} more fields");
    }
    if separator.is_empty() { f.write_str("the same JSON, written differently") } else { Ok(()) }
}

fn json(value: &Value, width: usize) -> String {
    let text = Escaped(value.to_string().as_bytes()).to_string();
    match text.chars().nth(width) {
        Some(_) => text.chars().take(width).chain(['…']).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(before: Option<&str>, after: Option<&str>) -> String {
        let [before, after] = [before, after].map(|text| text.map(str::as_bytes));
        ValueChange { before, after, width: 40 }.to_string()
    }

    #[test]
    fn a_change_shows_what_differs() {
        let long = "a rack in the second row of the hall, with 8 blades, seen today";
        for (before, after, line) in [
            (None, Some("8 blades"), "`8 blades`"),
            (Some("8 blades"), None, "(was `8 blades`)"),
            (Some("8 blades"), Some("9 blades"), "`8 blades` → `9 blades`"),
            (Some("a"), Some("a"), "`a` (unchanged)"),
            (Some("a"), Some("\x1b[31m"), r"`a` → `\x1b[31m`"),
            (Some(long), Some(&long.replace('8', "12")), "`8` → `12` at byte 43 of 63, now 64"),
            (Some(r#"{"a":1,"b":{"c":"x"},"d":[1,2]}"#), Some(r#"{"a":1,"b":{"c":"y"},"d":[1],"e":null}"#), {
                r#".b.c "x" → "y", -.d[1] (was 2), +.e null"#
            }),
            (Some(r#"{"a": 1}"#), Some(r#"{"a":1}"#), "the same JSON, written differently"),
            (Some(r#"{"a":1}"#), Some("{a"), r#"`{"a":1}` → `{a`"#),
        ] {
            assert_eq!(shown(before, after), line);
        }
        assert_eq!(shown(None, Some(&"é".repeat(50))), format!("`{}…{}` (100 bytes)", "é".repeat(13), "é".repeat(6)));
    }

    proptest! {
        #[test]
        fn any_change_is_one_line_without_control_characters(
            common in "\\PC{0,60}", before: Vec<u8>, after: Vec<u8>, end in "\\PC{0,60}", width in 1_usize..80,
        ) {
            let [before, after] = [before, after].map(|bytes| [common.as_bytes(), &bytes, end.as_bytes()].concat());
            let shown = ValueChange { before: Some(&before), after: Some(&after), width }.to_string();
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(shown.len() < 200 + 16 * width);
        }
    }
}
