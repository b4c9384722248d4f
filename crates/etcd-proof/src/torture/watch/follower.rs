//! Who reads what `watch --format json` prints and believes it: what they know at the end, and what they were told, held
//! against what really happened.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::history::{Change, History, PREFIX};

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Line {
    #[serde(rename = "PUT")]
    Put { kv: Entry, found: bool },
    #[serde(rename = "DELETE")]
    Delete { kv: Entry, found: bool },
    #[serde(rename = "GAP")]
    Gap { from: i64, to: i64, all_keys: bool },
    #[serde(rename = "RESET")]
    Reset { now: String, revision: i64 },
}

#[derive(Deserialize)]
struct Entry {
    key: String,
    #[serde(default)]
    value: String,
    mod_revision: i64,
}

/// What was told of one cluster.
#[derive(Default)]
struct Told {
    seen: BTreeMap<Change, Option<String>>,
    /// Revisions that are said to be unknown, first and last.
    gaps: Vec<(i64, i64)>,
    /// Everything up to this one was told as it stood.
    stood_at: i64,
}

pub(super) struct Follower {
    /// The cluster that it was told of last.
    pub(super) cluster: String,
    told: BTreeMap<String, Told>,
    state: BTreeMap<u64, String>,
    pub(super) gaps: u64,
    pub(super) resets: u64,
}

impl Follower {
    /// Reads all lines; the last may be under way.
    pub(super) fn of(text: &str, cluster: &str) -> Result<Self> {
        let (cluster, told) = (cluster.to_owned(), BTreeMap::new());
        let mut follower = Self { cluster, told, state: BTreeMap::new(), gaps: 0, resets: 0 };
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let read = serde_json::from_str(line).with_context(|| format!("`watch` printed `{}`", line.trim_end()))?;
            follower.hear(read)?;
        }
        Ok(follower)
    }

    fn hear(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Put { kv, found } => {
                let (number, value) = (number_of(&kv.key)?, text_of(&kv.value)?);
                self.state.insert(number, value.clone());
                self.saw(number, kv.mod_revision, found, Some(value))
            }
            Line::Delete { kv, found } => {
                let number = number_of(&kv.key)?;
                let known = self.state.remove(&number).is_some();
                // The watch began after some keys were written: those it may see go that we have not seen come.
                ensure!(known || !found, "`{number}` was found to be deleted, and had not been told of");
                self.saw(number, kv.mod_revision, found, None)
            }
            Line::Gap { from, to, all_keys } => {
                ensure!(from <= to, "a gap from {from} to {to}");
                if all_keys {
                    self.state.clear();
                }
                self.gaps += 1;
                self.now().gaps.push((from, to));
                Ok(())
            }
            Line::Reset { now, revision } => {
                ensure!(now != self.cluster, "a RESET to the cluster that it was");
                self.resets += 1;
                self.cluster = now;
                self.state.clear();
                self.now().stood_at = revision;
                Ok(())
            }
        }
    }

    fn now(&mut self) -> &mut Told {
        self.told.entry(self.cluster.clone()).or_default()
    }

    fn saw(&mut self, key: u64, revision: i64, found: bool, value: Option<String>) -> Result<()> {
        if found {
            return Ok(());
        }
        let seen = &mut self.now().seen;
        let last = seen.last_key_value().map(|(change, _)| change.revision);
        ensure!(last.is_none_or(|last| last <= revision), "revision {revision} came after {last:?}");
        let change = Change { revision, key };
        ensure!(seen.insert(change, value).is_none(), "{change:?} was told twice");
        Ok(())
    }

    pub(super) fn knows(&self, key: u64) -> bool {
        self.state.contains_key(&key)
    }

    /// Every change that etcd acknowledged since the watch began was told, or lies in a gap that was told and that a
    /// compaction made, or went with its cluster, which was told; and what was told is what happened.
    pub(super) fn missed_nothing(&self, history: &History, began: i64, first: &str) -> Result<()> {
        self.gaps_have_reasons(history)?;
        for (cluster, changes) in &history.clusters {
            let nothing = Told::default();
            let told = self.told.get(cluster).unwrap_or(&nothing);
            let last = told.seen.last_key_value().map_or(0, |(change, _)| change.revision);
            for (change, value) in changes {
                let revision = change.revision;
                let is_told = match told.seen.get(change) {
                    Some(said) if said == value => true,
                    Some(_) => bail!("{change:?} was told with another value"),
                    None => false,
                };
                let before = (cluster == first && revision <= began) || revision <= told.stood_at;
                let in_gap = told.gaps.iter().any(|(from, to)| (*from..=*to).contains(&revision));
                let wiped = *cluster != self.cluster && revision > last;
                ensure!(is_told || before || in_gap || wiped, "{change:?} of cluster {cluster} was never told of");
            }
        }
        Ok(())
    }

    /// No gap is told where nothing had been compacted that the watch still wanted.
    fn gaps_have_reasons(&self, history: &History) -> Result<()> {
        for (cluster, told) in &self.told {
            let compacted = history.compacted.get(cluster).map(Vec::as_slice).unwrap_or_default();
            for (from, to) in &told.gaps {
                // A watch that has not heard of anything since its last revision may name that one, too.
                let is_so = compacted.iter().any(|at| *from <= at + 1);
                ensure!(is_so, "a gap from {from} to {to} of cluster {cluster}, compacted at {compacted:?}");
            }
        }
        Ok(())
    }

    /// What it believes is what is there.
    pub(super) fn agrees_with(&self, there: &BTreeMap<u64, String>) -> Result<()> {
        let keys: BTreeSet<&u64> = self.state.keys().chain(there.keys()).collect();
        match keys.into_iter().find(|key| self.state.get(key) != there.get(key)) {
            Some(key) => bail!("it believes `{:?}` of key {key}, which is `{:?}`", self.state.get(key), there.get(key)),
            None => Ok(()),
        }
    }
}

/// A key's number.
pub(super) fn number_of(key: &str) -> Result<u64> {
    let key = text_of(key)?;
    let number = key.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
    number.with_context(|| format!("`{key}` is none of the keys that are watched"))
}

fn text_of(base64: &str) -> Result<String> {
    Ok(String::from_utf8(STANDARD.decode(base64)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u64, revision: i64, value: &str, found: bool) -> String {
        let (key, value) = (STANDARD.encode(format!("{PREFIX}{key}")), STANDARD.encode(value));
        format!(
            r#"{{"type":"PUT","kv":{{"key":"{key}","value":"{value}","mod_revision":{revision}}},"found":{found}}}"#
        ) + "\n"
    }

    fn history(changes: &[(i64, u64, &str)]) -> History {
        let mut history = History::default();
        let changes = changes
            .iter()
            .map(|(revision, key, value)| (Change { revision: *revision, key: *key }, Some((*value).to_owned())));
        history.clusters.insert("a".to_owned(), changes.collect());
        history
    }

    #[test]
    fn a_change_that_was_not_told_is_noticed() {
        let happened = history(&[(2, 1, "x"), (3, 2, "y"), (4, 1, "z")]);
        let all = put(1, 2, "x", false) + &put(2, 3, "y", false) + &put(1, 4, "z", false);
        Follower::of(&all, "a").unwrap().missed_nothing(&happened, 0, "a").unwrap();
        let missing = put(1, 2, "x", false) + &put(1, 4, "z", false);
        assert!(Follower::of(&missing, "a").unwrap().missed_nothing(&happened, 0, "a").is_err());
        let gap = put(1, 2, "x", false)
            + "{\"type\":\"GAP\",\"from\":3,\"to\":3,\"all_keys\":false}\n"
            + &put(1, 4, "z", false);
        let gap = Follower::of(&gap, "a").unwrap();
        assert!(gap.missed_nothing(&happened, 0, "a").is_err(), "a gap without a compaction");
        let mut compacted = history(&[(2, 1, "x"), (3, 2, "y"), (4, 1, "z")]);
        compacted.compacted.insert("a".to_owned(), vec![3]);
        gap.missed_nothing(&compacted, 0, "a").unwrap();
        let wrong = all.replace(&STANDARD.encode("y"), &STANDARD.encode("n"));
        assert!(Follower::of(&wrong, "a").unwrap().missed_nothing(&happened, 0, "a").is_err());
    }

    #[test]
    fn what_comes_twice_or_out_of_order_is_noticed() {
        assert!(Follower::of(&(put(1, 2, "x", false) + &put(1, 2, "x", false)), "a").is_err());
        assert!(Follower::of(&(put(1, 3, "x", false) + &put(2, 2, "x", false)), "a").is_err());
        assert!(Follower::of(&(put(1, 3, "x", false) + &put(2, 2, "x", true)), "a").is_ok());
    }

    #[test]
    fn what_is_believed_must_be_there() {
        let follower = Follower::of(&put(1, 2, "x", false), "a").unwrap();
        follower.agrees_with(&BTreeMap::from([(1, "x".to_owned())])).unwrap();
        assert!(follower.agrees_with(&BTreeMap::new()).is_err());
        assert!(follower.agrees_with(&BTreeMap::from([(1, "x".to_owned()), (2, String::new())])).is_err());
    }
}
