//! The lines of an undo file: writing and parsing them. Uses neither files nor etcd.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::bulk::delete::Preview;
use crate::bulk::pages;
use crate::client::range::KeyRange;

/// The schema version that is written, and the newest that can be read.
const SCHEMA: u32 = 1;

/// The first line of an undo file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The schema version, 1.
    pub schema: u32,
    /// The endpoints that were used, separated by commas.
    pub endpoint: String,
    /// The cluster's id, 16 hexadecimal digits.
    pub cluster_id: String,
    /// The revision of the keys.
    pub revision: i64,
    /// The range as text for people.
    pub range: String,
    /// The number of keys.
    pub keys: u64,
    /// The first key of the range, as base64; `None` in files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The first key after the range, as base64; `None` if the range has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

impl Header {
    pub(super) fn of(preview: &Preview) -> Self {
        Self {
            schema: SCHEMA,
            endpoint: preview.endpoint().to_owned(),
            cluster_id: format!("{:016x}", preview.cluster_id()),
            revision: preview.revision(),
            range: preview.range().to_string(),
            keys: preview.count(),
            start: Some(STANDARD.encode(preview.range().start())),
            end: preview.range().end().map(|end| STANDARD.encode(end)),
        }
    }

    pub(super) fn to_line(&self) -> String {
        // Strings and numbers can always be serialized.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let header: Self = serde_json::from_str(line).map_err(|error| format!("not a valid header: {error}"))?;
        match header.schema {
            SCHEMA => Ok(header),
            newer => Err(format!("schema {newer} is unknown; this is schema {SCHEMA}")),
        }
    }

    /// The range of the file's keys, if the header has it.
    pub(super) fn key_range(&self) -> Result<Option<KeyRange>, String> {
        let key = |text: &String| {
            STANDARD.decode(text).map_err(|error| format!("the header's range is not valid base64: {error}"))
        };
        let Some(start) = self.start.as_ref().map(key).transpose()? else { return Ok(None) };
        Ok(Some(match self.end.as_ref().map(key).transpose()? {
            Some(end) => KeyRange::between(start, end),
            None => KeyRange::from_key(start),
        }))
    }

    pub(super) fn cluster(&self) -> Result<u64, String> {
        u64::from_str_radix(&self.cluster_id, 16)
            .map_err(|_| format!("`{}` is not a valid cluster id", self.cluster_id))
    }
}

/// One line that is not the header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Entry(Entry),
    /// The footer, with the number of entries.
    End(u64),
}

/// A key as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) mod_revision: i64,
    pub(super) lease: i64,
    /// Its line in the file.
    pub(super) line: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(borrow)]
    k: Option<&'a str>,
    #[serde(borrow)]
    v: Option<&'a str>,
    #[serde(default)]
    m: i64,
    #[serde(default)]
    l: i64,
    end: Option<u64>,
}

/// Appends a key's line.
pub(super) fn push_entry(text: &mut String, entry: &pages::Entry<'_>) {
    text.push_str("{\"k\":\"");
    STANDARD.encode_string(entry.key(), text);
    text.push_str("\",\"v\":\"");
    STANDARD.encode_string(entry.value(), text);
    text.push_str("\",\"m\":");
    text.push_str(&entry.mod_revision().to_string());
    if let Some(lease) = entry.lease() {
        text.push_str(",\"l\":");
        text.push_str(&lease.get().to_string());
    }
    text.push_str("}\n");
}

pub(super) fn footer(keys: u64) -> String {
    format!("{{\"end\":{keys}}}\n")
}

pub(super) fn parse(line: &str) -> Result<Line, String> {
    let raw: Raw<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let bytes = |text: &str| STANDARD.decode(text).map_err(|error| error.to_string());
    match (raw.k, raw.v, raw.end) {
        (None, None, Some(keys)) => Ok(Line::End(keys)),
        (Some(k), Some(v), None) => {
            Ok(Line::Entry(Entry { key: bytes(k)?, value: bytes(v)?, mod_revision: raw.m, lease: raw.l, line: 0 }))
        }
        _ => Err("the line is neither a key nor the footer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn invalid_lines_are_refused() {
        for line in ["", "{}", "null", r#"{"k":"YQ=="}"#, r#"{"k":"!","v":""}"#, r#"{"k":"YQ==","v":"","end":1}"#, "{"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(parse(footer(7).trim_end()), Ok(Line::End(7)));
    }

    #[test]
    fn a_header_of_a_newer_schema_is_refused() {
        let header = r#"{"schema":2,"endpoint":"e","cluster_id":"1f","revision":3,"range":"r","keys":4}"#;
        assert!(Header::parse(header).unwrap_err().contains("schema 2"));
        let header = Header::parse(&header.replace(":2", ":1")).unwrap();
        assert_eq!((header.cluster(), header.keys), (Ok(0x1f), 4));
        assert_eq!(Header::parse(header.to_line().trim_end()), Ok(header));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line: String) {
            let _ = (parse(&line), Header::parse(&line));
        }
    }
}
