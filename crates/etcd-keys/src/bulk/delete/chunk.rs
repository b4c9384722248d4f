//! One chunk: a range that is deleted in one transaction if no key in it is newer than the preview. Else the keys that are
//! not newer are deleted in several ranges around the newer keys.

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::preview::{Part, Preview};
use crate::bulk::pages::Pages;
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::kv::revision;
use crate::client::range::{KeyRange, successor};

/// The most ranges in one transaction. etcd allows 128 operations.
const MOST_RANGES: usize = 100;

/// A part of the deletion.
pub(super) struct Chunk<'a> {
    pub(super) part: Part,
    /// Further conditions.
    pub(super) only_while: &'a [Compare],
    /// Keys that were modified after this preview stay.
    pub(super) preview: &'a Preview,
    /// The minimum number of transactions.
    pub(super) pieces: usize,
}

/// The result of deleting a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) deleted: u64,
    pub(super) revision: i64,
    pub(super) cluster_id: u64,
}

/// The keys in `[from, to)`.
#[derive(Clone, Debug)]
struct Span {
    from: Vec<u8>,
    to: Vec<u8>,
    /// The mod revision of the first key, `from`.
    mod_revision: i64,
}

impl Chunk<'_> {
    /// Deletes the keys that are not newer than the preview. Can be repeated safely.
    pub(super) async fn delete(&self, connection: &Connection) -> Result<Outcome, Error> {
        let operation = || Operation::Delete(self.preview.range().clone());
        let Part { range, mod_revision, .. } = &self.part;
        let (from, to) = (range.start().to_vec(), range.end().unwrap_or_default());
        let span = Span { from, to, mod_revision: *mod_revision };
        let mut outcome = Outcome::default();
        // A stack, so that the parts of a split chunk come first.
        let cut = async |span, pieces| {
            let cut = self.cut(connection, span, pieces).await;
            cut.map_err(|error| Error { operation: operation(), ..error })
        };
        let mut todo = if self.pieces > 1 { cut(span, self.pieces).await? } else { vec![vec![span]] };
        while let Some(spans) = todo.pop() {
            let txn = self.transaction(&spans);
            let commit = || async { connection.kv().txn(txn.clone()).await };
            let answer = connection.write(connection.call_again(operation, commit), revision_of_deletion).await?;
            if let Some(header) = answer.header() {
                (outcome.revision, outcome.cluster_id) = (header.revision(), header.cluster_id());
            }
            let answers = answer.op_responses();
            if answer.succeeded() {
                outcome.deleted += answers.iter().map(deleted).sum::<u64>();
            } else if answers.iter().any(says_not_met) {
                return Err(connection.error(operation(), ErrorKind::NotMet));
            } else if let Some(span) = hull(&spans) {
                // A key in it is newer, or its first key is gone. Halving ends at single keys, so a client that keeps
                // writing in this range cannot block the deletion for ever.
                todo.extend(cut(span, 2).await?);
            }
        }
        Ok(outcome)
    }

    fn transaction(&self, spans: &[Span]) -> Txn {
        let unchanged = |Span { from, to, .. }: &Span| {
            Compare::mod_revision(from.clone(), CompareOp::Less, self.preview.revision() + 1).with_range(to.clone())
        };
        let delete = |Span { from, to, .. }: &Span| {
            TxnOp::delete(from.clone(), Some(DeleteOptions::new().with_range(to.clone())))
        };
        let (mut when, then): (Vec<_>, Vec<_>) = spans.iter().map(|span| (unchanged(span), delete(span))).unzip();
        // If the transaction fails, this inner transaction shows whether the conditions hold.
        let or_else = (!self.only_while.is_empty()).then(|| TxnOp::txn(Txn::new().when(self.only_while)));
        when.extend_from_slice(self.only_while);
        // Another cluster is very unlikely to have this key at this revision.
        let same = |first: &Span| Compare::mod_revision(first.from.clone(), CompareOp::Equal, first.mod_revision);
        when.extend(spans.first().map(same));
        Txn::new().when(when).and_then(then).or_else(or_else.into_iter().collect::<Vec<_>>())
    }

    /// Reads the keys of a span, and splits those that are not newer than the preview into transactions of about equal
    /// size. The first transaction is last in the list.
    async fn cut(&self, connection: &Connection, span: Span, pieces: usize) -> Result<Vec<Vec<Span>>, Error> {
        let mut keys = Vec::new();
        let mut pages = Pages::new(connection, KeyRange::between(span.from, span.to)).keys_only().without_retry();
        while let Some(page) = pages.next_page().await? {
            keys.extend(page.into_entries().map(|entry| (entry.key, entry.mod_revision)));
        }
        if let Some((_, now)) = pages.seen()
            && now != self.preview.cluster_id()
        {
            let kind = ErrorKind::AnotherCluster { before: self.preview.cluster_id(), now };
            return Err(connection.error(Operation::Delete(self.preview.range().clone()), kind));
        }
        let is_old = |mod_revision: i64| mod_revision <= self.preview.revision();
        let old = keys.iter().filter(|(_, mod_revision)| is_old(*mod_revision)).count();
        let mut cut = Cut { most: old.div_ceil(pieces.max(1)).max(1), ..Cut::default() };
        for (key, mod_revision) in keys {
            cut.add(key, Some(mod_revision).filter(|mod_revision| is_old(*mod_revision)));
        }
        Ok(cut.into_transactions())
    }
}

/// Collects runs of old keys into spans, and spans into transactions of at most `most` keys.
#[derive(Default)]
struct Cut {
    most: usize,
    transactions: Vec<Vec<Span>>,
    spans: Vec<Span>,
    keys: usize,
    run: Option<Span>,
}

impl Cut {
    /// Adds the next key. `old`: its mod revision if the key is not newer than the preview.
    fn add(&mut self, key: Vec<u8>, old: Option<i64>) {
        let Some(mod_revision) = old else {
            self.end_run();
            return;
        };
        let to = successor(&key);
        match &mut self.run {
            Some(run) => run.to = to,
            None => self.run = Some(Span { from: key, to, mod_revision }),
        }
        self.keys += 1;
        if self.keys >= self.most {
            self.end_run();
            self.end_transaction();
        }
    }

    fn end_run(&mut self) {
        self.spans.extend(self.run.take());
        if self.spans.len() >= MOST_RANGES {
            self.end_transaction();
        }
    }

    fn end_transaction(&mut self) {
        if !self.spans.is_empty() {
            self.transactions.push(std::mem::take(&mut self.spans));
        }
        self.keys = 0;
    }

    fn into_transactions(mut self) -> Vec<Vec<Span>> {
        self.end_run();
        self.end_transaction();
        self.transactions.reverse();
        self.transactions
    }
}

/// From the start of the first span to the end of the last span.
fn hull(spans: &[Span]) -> Option<Span> {
    Some(Span { to: spans.last()?.to.clone(), ..spans.first()?.clone() })
}

fn says_not_met(answer: &TxnOpResponse) -> bool {
    matches!(answer, TxnOpResponse::Txn(inner) if !inner.succeeded())
}

/// `None`: nothing was deleted.
fn revision_of_deletion(answer: &TxnResponse) -> Option<i64> {
    answer.op_responses().iter().any(|answer| deleted(answer) > 0).then(|| revision(answer.header()))
}

fn deleted(answer: &TxnOpResponse) -> u64 {
    match answer {
        TxnOpResponse::Delete(answer) => u64::try_from(answer.deleted()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(keys: &str, most: usize) -> Vec<Vec<String>> {
        let mut cut = Cut { most, ..Cut::default() };
        for key in keys.bytes() {
            cut.add(vec![key], key.is_ascii_lowercase().then_some(7));
        }
        let text =
            |Span { from, to, .. }: &Span| String::from_utf8([&from[..], b"-", &to[..to.len() - 1]].concat()).unwrap();
        cut.into_transactions().iter().map(|spans| spans.iter().map(text).collect()).collect()
    }

    #[test]
    fn new_keys_are_cut_out() {
        assert_eq!(cut("abCde", 9), [["a-b", "d-e"]]);
        assert_eq!(cut("abCde", 2), [["d-e"], ["a-b"]], "the first comes last");
        assert_eq!(cut("ABC", 1), Vec::<Vec<String>>::new());
        assert_eq!(cut("aBcD", 1), [["c-c"], ["a-a"]]);
    }

    #[test]
    fn a_transaction_has_no_more_ranges_than_etcd_allows() {
        let mut cut = Cut { most: 10_000, ..Cut::default() };
        for n in 0..1000_u32 {
            cut.add(n.to_be_bytes().to_vec(), n.is_multiple_of(2).then_some(7));
        }
        let transactions = cut.into_transactions();
        assert!(transactions.iter().all(|spans| spans.len() <= MOST_RANGES) && transactions.len() == 5);
    }
}
