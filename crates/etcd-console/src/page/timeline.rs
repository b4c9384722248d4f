//! A timeline as the page's script draws it: small, and safe inside a page.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::Result;
use serde::Serialize;

use crate::page::model::{Change, Entry, Timeline};

/// Up to so many changes, the page has the values before and after each of them.
const WITH_VALUES: usize = 5_000;
/// How many changes the page has: one half from the beginning, the other from the end.
const MOST: usize = 200_000;

/// The kinds of changes, as numbers: the script knows them.
const CREATED: u8 = 0;
const CHANGED: u8 = 1;
const DELETED: u8 = 2;
const LEASE_ENDED: u8 = 3;

#[derive(Serialize)]
struct Drawn<'a> {
    keys: Vec<&'a str>,
    leases: Vec<&'a str>,
    entries: Vec<Mark<'a>>,
}

/// One entry. Arrays, because there may be many.
#[derive(Serialize)]
#[serde(untagged)]
enum Mark<'a> {
    /// Revision, kind, key, lease or -1, difference and who made it; the values before and after.
    Change(i64, u8, usize, i64, Cow<'a, str>, Option<&'a str>, Option<&'a str>),
    /// Seconds, text.
    Note(f64, &'a str),
    /// So many changes are left out here.
    LeftOut(usize),
}

/// Numbers for texts, in the order in which they come.
#[derive(Default)]
struct Numbered<'a> {
    texts: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Numbered<'a> {
    fn number(&mut self, text: &'a str) -> usize {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() - 1
        })
    }
}

/// JSON for a `script` element: it has no `<`, so that nothing in it ends the element or begins a comment.
pub(super) fn data(timeline: &Timeline) -> Result<String> {
    let (mut keys, mut leases) = (Numbered::default(), Numbered::default());
    let changes = number_of_changes(timeline);
    let (mut entries, mut seen) = (Vec::new(), 0_usize);
    for entry in &timeline.entries {
        let change = match entry {
            Entry::Note { note, seconds } => {
                entries.push(Mark::Note(*seconds, note));
                continue;
            }
            Entry::Change(change) => change,
            Entry::Other(_) => continue,
        };
        seen += 1;
        if changes > MOST && (MOST / 2 + 1..=changes - MOST / 2).contains(&seen) {
            if seen == MOST / 2 + 1 {
                entries.push(Mark::LeftOut(changes - MOST));
            }
            continue;
        }
        let Change { rev, key, before, after, difference, lease, by_another_connection, .. } = change;
        let difference = match by_another_connection {
            true => format!("{difference} by another connection").into(),
            false => difference.into(),
        };
        let lease = lease.as_deref().map_or(-1, |lease| i64::try_from(leases.number(lease)).unwrap_or(-1));
        let values = (before.as_deref(), after.as_deref());
        let (before, after) = if changes <= WITH_VALUES { values } else { (None, None) };
        entries.push(Mark::Change(*rev, kind(change, timeline), keys.number(key), lease, difference, before, after));
    }
    let drawn = Drawn { keys: keys.texts, leases: leases.texts, entries };
    // Inside a text, which is the only place where JSON has this character.
    Ok(serde_json::to_string(&drawn)?.replace('<', r"\u003c"))
}

pub(super) fn number_of_changes(timeline: &Timeline) -> usize {
    timeline.entries.iter().filter(|entry| matches!(entry, Entry::Change(_))).count()
}

fn kind(change: &Change, timeline: &Timeline) -> u8 {
    let has_ended = |lease: &String| timeline.ended_leases.contains(lease);
    match (change.kind.as_str(), &change.before, &change.lease) {
        ("DEL", _, Some(lease)) if has_ended(lease) => LEASE_ENDED,
        ("DEL", ..) => DELETED,
        (_, None, _) => CREATED,
        _ => CHANGED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(entries: &str) -> Timeline {
        let text = format!(
            r#"{{"sandbox":"a~1","prefix":"/a~1/","suite":null,"test":null,"attempt":null,"ended":"2026-11-28T00:00:00Z",
            "seconds":1.5,"entries":[{entries}],"first_revision":1,"last_revision":9,"is_compacted":false,
            "ended_leases":["1f"],"keys":1}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn change(rev: usize, key: &str) -> String {
        format!(r#"{{"rev":{rev},"type":"PUT","key":"{key}","after":"x","difference":"`x`"}}"#)
    }

    #[test]
    fn what_is_drawn_is_small_and_cannot_leave_its_element() {
        let timeline = timeline(
            r#"{"rev":2,"type":"PUT","key":"</script><b>","after":"<!--","difference":"`<!--`"},
            {"note":"a </SCRIPT> note","seconds":0.25,"rev":2},
            {"rev":3,"type":"PUT","key":"b","before":"1","after":"2","difference":"`1` → `2`","lease":"1f","by_another_connection":true},
            {"something":"new"},
            {"rev":4,"type":"DEL","key":"b","before":"2","difference":"(was `2`)","lease":"1f"},
            {"rev":4,"type":"DEL","key":"</script><b>","before":"<!--","difference":"(was `<!--`)"}"#,
        );
        let data = data(&timeline).unwrap();
        assert!(!data.contains('<'), "{data}");
        let drawn: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(drawn["keys"], serde_json::json!(["</script><b>", "b"]));
        assert_eq!(
            drawn["entries"],
            serde_json::json!([
                [2, CREATED, 0, -1, "`<!--`", null, "<!--"],
                [0.25, "a </SCRIPT> note"],
                [3, CHANGED, 1, 0, "`1` → `2` by another connection", "1", "2"],
                [4, LEASE_ENDED, 1, 0, "(was `2`)", "2", null],
                [4, DELETED, 0, -1, "(was `<!--`)", "<!--", null],
            ])
        );
    }

    #[test]
    fn very_many_changes_are_cut_in_the_middle() {
        let many = |count: usize| (0..count).map(|n| change(n + 2, "k")).collect::<Vec<_>>().join(",");
        let drawn = |count| serde_json::from_str::<serde_json::Value>(&data(&timeline(&many(count))).unwrap()).unwrap();
        let whole = drawn(WITH_VALUES);
        assert_eq!(whole["entries"][WITH_VALUES - 1][6], "x");
        assert_eq!(drawn(WITH_VALUES + 1)["entries"][0][6], serde_json::Value::Null);
        let cut = drawn(MOST + 7);
        assert_eq!(cut["entries"].as_array().unwrap().len(), MOST + 1);
        assert_eq!((&cut["entries"][MOST / 2], &cut["entries"][MOST][0]), (&7.into(), &(MOST + 8).into()));
    }
}
