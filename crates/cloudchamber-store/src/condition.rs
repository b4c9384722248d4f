//! Conditions: what must hold for a key, in etcd's terms and in words.

use std::fmt;

use etcd_keys::KeyRange;
use etcd_keys::kv::{Compare, CompareOp};

/// What must hold for a key. Revisions are those of the key's last write. An absent key has revision 0, as in etcd, which
/// is less than the revision of any record; but no [`RevisionEqual`](Self::RevisionEqual) holds for an absent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: the condition always holds.
    None,
    /// The key does not exist.
    Create,
    /// The key exists.
    Required,
    /// The key has this revision.
    RevisionEqual(i64),
    /// The key has another revision.
    RevisionNotEqual(i64),
    /// The key has an earlier revision.
    RevisionLess(i64),
    /// The key has this revision or an earlier one.
    RevisionLessOrEqual(i64),
    /// The key has a later revision.
    RevisionGreater(i64),
    /// The key has this revision or a later one.
    RevisionGreaterOrEqual(i64),
}

impl Condition {
    /// Whether it holds for a key with this revision; `None`: for an absent key.
    #[must_use]
    pub fn holds(self, revision: Option<i64>) -> bool {
        let found = revision.unwrap_or(0);
        match self {
            Self::None => true,
            Self::Create => revision.is_none(),
            Self::Required => revision.is_some(),
            Self::RevisionEqual(revision) => revision > 0 && found == revision,
            Self::RevisionNotEqual(revision) => found != revision,
            Self::RevisionLess(revision) => found < revision,
            Self::RevisionLessOrEqual(revision) => found <= revision,
            Self::RevisionGreater(revision) => found > revision,
            Self::RevisionGreaterOrEqual(revision) => found >= revision,
        }
    }

    /// The same for etcd, which has no "or equal": no revision is so large or so small that saturating matters.
    pub(crate) fn compare(self, key: &str) -> Option<Compare> {
        let revision = |op, revision| Some(Compare::mod_revision(KeyRange::key(key), op, revision));
        match self {
            Self::None => None,
            Self::Create => Some(Compare::absent(key)),
            Self::Required => Some(Compare::present(key)),
            // No key has revision -1.
            Self::RevisionEqual(than) => revision(CompareOp::Equal, if than > 0 { than } else { -1 }),
            Self::RevisionNotEqual(than) => revision(CompareOp::NotEqual, than),
            Self::RevisionLess(than) => revision(CompareOp::Less, than),
            Self::RevisionLessOrEqual(than) => revision(CompareOp::Less, than.saturating_add(1)),
            Self::RevisionGreater(than) => revision(CompareOp::Greater, than),
            Self::RevisionGreaterOrEqual(than) => revision(CompareOp::Greater, than.saturating_sub(1)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("be anything"),
            Self::Create => f.write_str("not exist"),
            Self::Required => f.write_str("exist"),
            Self::RevisionEqual(revision) => write!(f, "have revision {revision}"),
            Self::RevisionNotEqual(revision) => write!(f, "have a revision other than {revision}"),
            Self::RevisionLess(revision) => write!(f, "have a revision before {revision}"),
            Self::RevisionLessOrEqual(revision) => write!(f, "have revision {revision} or an earlier one"),
            Self::RevisionGreater(revision) => write!(f, "have a revision after {revision}"),
            Self::RevisionGreaterOrEqual(revision) => write!(f, "have revision {revision} or a later one"),
        }
    }
}

/// Which revision a record must have to be changed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Any revision.
    Any,
    /// This revision, which a read returned: nobody has changed the record since.
    Revision(i64),
}

impl Expect {
    /// The condition on the revision, else another condition.
    pub(crate) fn or(self, any: Condition) -> Condition {
        match self {
            Self::Any => any,
            Self::Revision(revision) => Condition::RevisionEqual(revision),
        }
    }
}
