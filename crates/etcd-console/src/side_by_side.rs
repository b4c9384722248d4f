//! Keys of a range from two places, side by side, in the order of keys: of two revisions, two clusters, or a snapshot.

use std::cmp::Ordering;

use anyhow::Result;
use etcd_keys::pages::Pages;
use etcd_keys::{KeyRange, Keys};

use crate::advice;
use crate::context::Context;
use crate::snapshot::{Snapshot, Stored};

/// A key before and after; at least one of them is there.
pub(crate) type Pair = (Option<Stored>, Option<Stored>);

pub(crate) struct SideBySide {
    before: Side,
    after: Side,
}

/// Keys, and the next of them.
pub(crate) struct Side {
    keys: Source,
    next: Option<Stored>,
}

enum Source {
    /// In pages, in constant memory.
    Etcd(Box<Pages>),
    /// The same, of another cluster than the command's.
    Other(Box<Pages>, Box<Context>),
    Snapshot(Box<Snapshot>),
}

impl Source {
    async fn try_next(&mut self) -> Result<Option<Stored>> {
        match self {
            Self::Etcd(pages) => Ok(pages.try_next().await?.map(Stored::from)),
            Self::Other(pages, cx) => {
                let next = pages.try_next().await.map_err(|error| advice::with_hint(error.into(), cx))?;
                Ok(next.map(Stored::from))
            }
            Self::Snapshot(snapshot) => snapshot.try_next(),
        }
    }
}

impl Side {
    /// A range at a revision; 0 is the newest.
    pub(crate) async fn of_revision(all: &Keys, range: &KeyRange, revision: i64) -> Result<Self> {
        Self::new(Source::Etcd(Box::new(all.pages(range.clone()).at_revision(revision)))).await
    }

    /// The newest keys of another cluster.
    pub(crate) async fn of_other(range: &KeyRange, cx: Context) -> Result<Self> {
        let connection = cx.connect().await.map_err(|error| advice::with_hint(error, &cx))?;
        Self::new(Source::Other(Box::new(connection.all_keys().pages(range.clone())), Box::new(cx))).await
    }

    pub(crate) async fn of_snapshot(snapshot: Snapshot) -> Result<Self> {
        Self::new(Source::Snapshot(Box::new(snapshot))).await
    }

    async fn new(mut keys: Source) -> Result<Self> {
        let next = keys.try_next().await?;
        Ok(Self { keys, next })
    }

    async fn take_if(&mut self, is_next: bool) -> Result<Option<Stored>> {
        if !is_next {
            return Ok(None);
        }
        let next = self.keys.try_next().await?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl SideBySide {
    pub(crate) fn new(before: Side, after: Side) -> Self {
        Self { before, after }
    }

    /// A range at two revisions; 0 is the newest.
    pub(crate) async fn of_revisions(all: &Keys, range: &KeyRange, before: i64, after: i64) -> Result<Self> {
        let before = Side::of_revision(all, range, before).await?;
        Ok(Self::new(before, Side::of_revision(all, range, after).await?))
    }

    /// The next key whose value differs, or that is there on one side only.
    pub(crate) async fn next_difference(&mut self) -> Result<Option<Pair>> {
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
