//! Reads what `watch --format json` prints, keeps the state that follows from it, and compares both with the real history.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::history::{Change, History, PREFIX};

#[derive(Deserialize)]
#[serde(tag = "type")]
enum WatchLine {
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

/// What `watch` reported of one cluster.
#[derive(Default)]
struct Reported {
    seen: BTreeMap<Change, Option<String>>,
    /// Gaps, each with its first and last revision.
    gaps: Vec<(i64, i64)>,
    /// After a reset: the revision of the snapshot that was reported.
    snapshot: i64,
}

pub(super) struct Follower {
    /// The cluster that was reported last.
    pub(super) cluster: String,
    reported: BTreeMap<String, Reported>,
    state: BTreeMap<u64, String>,
    pub(super) gaps: u64,
    pub(super) resets: u64,
}

impl Follower {
    /// Reads all complete lines.
    pub(super) fn of(text: &str, cluster: &str) -> Result<Self> {
        let (cluster, reported) = (cluster.to_owned(), BTreeMap::new());
        let mut follower = Self { cluster, reported, state: BTreeMap::new(), gaps: 0, resets: 0 };
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let read = serde_json::from_str(line).with_context(|| format!("`watch` printed `{}`", line.trim_end()))?;
            follower.apply(read)?;
        }
        Ok(follower)
    }

    fn apply(&mut self, line: WatchLine) -> Result<()> {
        match line {
            WatchLine::Put { kv, found } => {
                let (number, value) = (number_of(&kv.key)?, text_of(&kv.value)?);
                self.state.insert(number, value.clone());
                self.add(number, kv.mod_revision, found, Some(value))
            }
            WatchLine::Delete { kv, found } => {
                let number = number_of(&kv.key)?;
                let known = self.state.remove(&number).is_some();
                // The watch may report the deletion of a key that was written before the watch began.
                ensure!(known || !found, "`{number}` was reported as found deleted, and was not known");
                self.add(number, kv.mod_revision, found, None)
            }
            WatchLine::Gap { from, to, all_keys } => {
                ensure!(from <= to, "a gap from {from} to {to}");
                if all_keys {
                    self.state.clear();
                }
                self.gaps += 1;
                self.current().gaps.push((from, to));
                Ok(())
            }
            WatchLine::Reset { now, revision } => {
                ensure!(now != self.cluster, "a RESET to the same cluster");
                self.resets += 1;
                self.cluster = now;
                self.state.clear();
                self.current().snapshot = revision;
                Ok(())
            }
        }
    }

    fn current(&mut self) -> &mut Reported {
        self.reported.entry(self.cluster.clone()).or_default()
    }

    fn add(&mut self, key: u64, revision: i64, found: bool, value: Option<String>) -> Result<()> {
        if found {
            return Ok(());
        }
        let seen = &mut self.current().seen;
        let last = seen.last_key_value().map(|(change, _)| change.revision);
        ensure!(last.is_none_or(|last| last <= revision), "revision {revision} came after {last:?}");
        let change = Change { revision, key };
        ensure!(seen.insert(change, value).is_none(), "{change:?} was reported twice");
        Ok(())
    }

    pub(super) fn has_key(&self, key: u64) -> bool {
        self.state.contains_key(&key)
    }

    /// Every change that etcd acknowledged since the watch began was reported with its value, or lies in a reported gap that
    /// a compaction caused, or was lost with its cluster, whose end was reported.
    pub(super) fn check_complete(&self, history: &History, began: i64, first: &str) -> Result<()> {
        self.check_gaps(history)?;
        for (cluster, changes) in &history.clusters {
            let empty = Reported::default();
            let reported = self.reported.get(cluster).unwrap_or(&empty);
            let last = reported.seen.last_key_value().map_or(0, |(change, _)| change.revision);
            for (change, value) in changes {
                let revision = change.revision;
                let is_reported = match reported.seen.get(change) {
                    Some(seen) if seen == value => true,
                    Some(_) => bail!("{change:?} was reported with another value"),
                    None => false,
                };
                let before = (cluster == first && revision <= began) || revision <= reported.snapshot;
                let is_in_gap = reported.gaps.iter().any(|(from, to)| (*from..=*to).contains(&revision));
                let wiped = *cluster != self.cluster && revision > last;
                ensure!(
                    is_reported || before || is_in_gap || wiped,
                    "{change:?} of cluster {cluster} was never reported"
                );
            }
        }
        Ok(())
    }

    /// Each reported gap has a compaction as its cause.
    fn check_gaps(&self, history: &History) -> Result<()> {
        for (cluster, reported) in &self.reported {
            let compacted = history.compacted.get(cluster).map(Vec::as_slice).unwrap_or_default();
            for (from, to) in &reported.gaps {
                // A gap may begin with the last revision that the watch knows.
                let is_explained = compacted.iter().any(|at| *from <= at + 1);
                ensure!(
                    is_explained,
                    "no compaction explains the gap from {from} to {to} of cluster {cluster}: {compacted:?}"
                );
            }
        }
        Ok(())
    }

    /// The state equals the keys in etcd.
    pub(super) fn check_state(&self, there: &BTreeMap<u64, String>) -> Result<()> {
        let keys: BTreeSet<&u64> = self.state.keys().chain(there.keys()).collect();
        match keys.into_iter().find(|key| self.state.get(key) != there.get(key)) {
            Some(key) => {
                bail!("`watch` reported `{:?}` for key {key}, which is `{:?}`", self.state.get(key), there.get(key))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn number_of(key: &str) -> Result<u64> {
    let key = text_of(key)?;
    let number = key.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
    number.with_context(|| format!("`{key}` is not a watched key"))
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
    fn a_change_that_was_not_reported_is_found() {
        let happened = history(&[(2, 1, "x"), (3, 2, "y"), (4, 1, "z")]);
        let all = put(1, 2, "x", false) + &put(2, 3, "y", false) + &put(1, 4, "z", false);
        Follower::of(&all, "a").unwrap().check_complete(&happened, 0, "a").unwrap();
        let missing = put(1, 2, "x", false) + &put(1, 4, "z", false);
        assert!(Follower::of(&missing, "a").unwrap().check_complete(&happened, 0, "a").is_err());
        let gap = put(1, 2, "x", false)
            + "{\"type\":\"GAP\",\"from\":3,\"to\":3,\"all_keys\":false}\n"
            + &put(1, 4, "z", false);
        let gap = Follower::of(&gap, "a").unwrap();
        assert!(gap.check_complete(&happened, 0, "a").is_err(), "a gap without a compaction");
        let mut compacted = history(&[(2, 1, "x"), (3, 2, "y"), (4, 1, "z")]);
        compacted.compacted.insert("a".to_owned(), vec![3]);
        gap.check_complete(&compacted, 0, "a").unwrap();
        let wrong = all.replace(&STANDARD.encode("y"), &STANDARD.encode("n"));
        assert!(Follower::of(&wrong, "a").unwrap().check_complete(&happened, 0, "a").is_err());
    }

    #[test]
    fn changes_reported_twice_or_out_of_order_are_found() {
        assert!(Follower::of(&(put(1, 2, "x", false) + &put(1, 2, "x", false)), "a").is_err());
        assert!(Follower::of(&(put(1, 3, "x", false) + &put(2, 2, "x", false)), "a").is_err());
        assert!(Follower::of(&(put(1, 3, "x", false) + &put(2, 2, "x", true)), "a").is_ok());
    }

    #[test]
    fn the_state_must_equal_the_keys() {
        let follower = Follower::of(&put(1, 2, "x", false), "a").unwrap();
        follower.check_state(&BTreeMap::from([(1, "x".to_owned())])).unwrap();
        assert!(follower.check_state(&BTreeMap::new()).is_err());
        assert!(follower.check_state(&BTreeMap::from([(1, "x".to_owned()), (2, String::new())])).is_err());
    }
}
