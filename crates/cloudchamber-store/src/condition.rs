//! Conditions: what must hold of a key for a transaction to do anything, in etcd's terms and in words.

use std::fmt;

use etcd_keys::kv::{Compare, CompareOp};

use crate::key::Key;

/// What must hold of a key. Revisions are those of the key's last write; an absent key has revision 0, as in etcd: it
/// is less than any other, and equal to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// It is absent.
    Create,
    /// It is there.
    Required,
    /// Its revision is this one.
    RevisionEqual(i64),
    /// Its revision is another one.
    RevisionNotEqual(i64),
    /// Its revision is before this one.
    RevisionLess(i64),
    /// Its revision is this one or before.
    RevisionLessOrEqual(i64),
    /// Its revision is after this one.
    RevisionGreater(i64),
    /// Its revision is this one or after.
    RevisionGreaterOrEqual(i64),
}

impl Condition {
    /// Whether it holds of a key with this revision; `None`: of an absent one.
    #[must_use]
    pub fn holds(self, revision: Option<i64>) -> bool {
        let found = revision.unwrap_or(0);
        match self {
            Self::None => true,
            Self::Create => revision.is_none(),
            Self::Required => revision.is_some(),
            Self::RevisionEqual(revision) => found == revision,
            Self::RevisionNotEqual(revision) => found != revision,
            Self::RevisionLess(revision) => found < revision,
            Self::RevisionLessOrEqual(revision) => found <= revision,
            Self::RevisionGreater(revision) => found > revision,
            Self::RevisionGreaterOrEqual(revision) => found >= revision,
        }
    }

    /// The same for etcd, which knows no "or equal". No revision is so large or so small that one more or less
    /// of it is missing.
    pub(crate) fn compare(self, key: &Key) -> Option<Compare> {
        let key = key.to_etcd();
        let revision = |op, revision| Some(Compare::mod_revision(key, op, revision));
        match self {
            Self::None => None,
            Self::Create => Some(Compare::absent(key)),
            Self::Required => Some(Compare::present(key)),
            Self::RevisionEqual(than) => revision(CompareOp::Equal, than),
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
            Self::None => f.write_str("be as it may"),
            Self::Create => f.write_str("be absent"),
            Self::Required => f.write_str("be there"),
            Self::RevisionEqual(revision) => write!(f, "have revision {revision}"),
            Self::RevisionNotEqual(revision) => write!(f, "have another revision than {revision}"),
            Self::RevisionLess(revision) => write!(f, "have a revision less than {revision}"),
            Self::RevisionLessOrEqual(revision) => write!(f, "have revision {revision} or less"),
            Self::RevisionGreater(revision) => write!(f, "have a revision greater than {revision}"),
            Self::RevisionGreaterOrEqual(revision) => write!(f, "have revision {revision} or greater"),
        }
    }
}

/// What a change of one record, or its deletion, is conditional on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever revision it has.
    Any,
    /// This revision, as a read told: nobody changed it since.
    Revision(i64),
}

impl Expect {
    /// The revision in a condition; no record ever has one below 1, and an absent one must not pass for 0.
    pub(crate) fn or(self, any: Condition) -> Condition {
        match self {
            Self::Any => any,
            Self::Revision(revision) if revision > 0 => Condition::RevisionEqual(revision),
            Self::Revision(_) => Condition::RevisionEqual(-1),
        }
    }
}
