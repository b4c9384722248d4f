//! The keys of a range at two revisions, side by side, in the order of keys. Both are read in pages, in constant memory.

use std::cmp::Ordering;

use etcd_keys::pages::Pages;
use etcd_keys::{Error, KeyRange, KeyValue, Keys};

/// A key before and after; at least one of them is there.
pub(crate) type Pair = (Option<KeyValue>, Option<KeyValue>);

pub(crate) struct SideBySide {
    before: Side,
    after: Side,
}

/// One revision, and its next key.
struct Side {
    pages: Pages,
    next: Option<KeyValue>,
}

impl Side {
    async fn open(all: &Keys, range: KeyRange, revision: i64) -> Result<Self, Error> {
        let mut pages = all.pages(range).at_revision(revision);
        let next = pages.try_next().await?;
        Ok(Self { pages, next })
    }

    async fn take_if(&mut self, is_next: bool) -> Result<Option<KeyValue>, Error> {
        if !is_next {
            return Ok(None);
        }
        let next = self.pages.try_next().await?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl SideBySide {
    /// Reads a range at two revisions; 0 is the newest.
    pub(crate) async fn open(all: &Keys, range: &KeyRange, before: i64, after: i64) -> Result<Self, Error> {
        let before = Side::open(all, range.clone(), before).await?;
        Ok(Self { before, after: Side::open(all, range.clone(), after).await? })
    }

    /// The next key whose value differs, or that is there at one revision only.
    pub(crate) async fn next_difference(&mut self) -> Result<Option<Pair>, Error> {
        loop {
            let order = match (&self.before.next, &self.after.next) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => before.key.cmp(&after.key),
            };
            let before = self.before.take_if(order.is_le()).await?;
            let after = self.after.take_if(order.is_ge()).await?;
            if before.as_ref().map(|kv| &kv.value) != after.as_ref().map(|kv| &kv.value) {
                return Ok(Some((before, after)));
            }
        }
    }
}
