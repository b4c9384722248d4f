//! Transactions: several keys, a condition on each, all or nothing. All conditional operations of the store are
//! transactions, and are sent from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use etcd_keys::Keys;
use etcd_keys::kv::{Delete, Get, GetResponse, OpResponse, Put, Txn, TxnResponse};

use crate::condition::Condition;
use crate::fault::{Fault, MOST_OPERATIONS};
use crate::key::Key;
use crate::record::Record;
use crate::store::Store;

/// Reads, writes and deletions that are done together, at one revision, if every condition holds; else nothing is.
/// At most [`MOST_OPERATIONS`] of them, each with a key of its own.
///
/// ```
/// use cloudchamber_store::{Condition, Root, Transaction};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to) = (Root::StoreTest.key("from")?, Root::StoreTest.key("to")?);
/// let moving = Transaction::new()
///     .delete(&from, Condition::RevisionEqual(17))
///     .write(&to, "moved", Condition::Create);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    key: Key,
    action: Action,
    condition: Condition,
}

#[derive(Clone, Debug)]
enum Action {
    Read,
    Write(Vec<u8>),
    Delete,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The records that it found, by key: what it read, and what was there before it wrote or deleted. Keys that were
    /// absent are absent here, too.
    pub found: BTreeMap<Key, Record>,
    /// The revision that it made, if it changed anything, else the one that it saw.
    pub revision: i64,
}

/// Why a transaction was not done. Nothing was changed, unless etcd did not answer: see [`Fault::is_transient`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A condition does not hold.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// It could not be tried.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A condition that does not hold: of the first such key, in the order of the transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` should {condition}, but {}; nothing was changed", Found(*found))]
pub struct Failed {
    /// The key.
    pub key: Key,
    /// Its condition.
    pub condition: Condition,
    /// The key's revision; `None`: it is absent.
    pub found: Option<i64>,
    /// The revision of the store that this was seen at.
    pub revision: i64,
}

/// A revision that was found, in words.
struct Found(Option<i64>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(revision) => write!(f, "has revision {revision}"),
            None => f.write_str("is absent"),
        }
    }
}

impl Transaction {
    /// A transaction of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a key. Without a condition it may be absent.
    pub fn read(self, key: &Key, condition: Condition) -> Self {
        self.step(key, Action::Read, condition)
    }

    /// Writes a key. Without a condition it is created or updated.
    pub fn write(self, key: &Key, value: impl Into<Vec<u8>>, condition: Condition) -> Self {
        self.step(key, Action::Write(value.into()), condition)
    }

    /// Deletes a key. Without a condition it may be absent.
    pub fn delete(self, key: &Key, condition: Condition) -> Self {
        self.step(key, Action::Delete, condition)
    }

    fn step(mut self, key: &Key, action: Action, condition: Condition) -> Self {
        self.steps.push(Step { key: key.clone(), action, condition });
        self
    }

    /// That etcd can take it as one.
    fn check(&self) -> Result<(), Fault> {
        if self.steps.len() > MOST_OPERATIONS {
            return Err(Fault::TooMany(self.steps.len()));
        }
        let mut seen = BTreeSet::new();
        match self.steps.iter().find(|step| !seen.insert(&step.key)) {
            Some(twice) => Err(Fault::Twice(twice.key.clone())),
            None => Ok(()),
        }
    }

    fn to_etcd(&self, before: Before) -> Txn {
        self.steps.iter().fold(Txn::new(), |mut txn, step| {
            if let Some(compare) = step.condition.compare(&step.key) {
                // If it fails, the revisions tell which condition it was.
                txn = txn.when(compare).or_else(Get::new(step.key.to_etcd()).keys_only());
            }
            step.to_etcd(txn, before)
        })
    }

    /// Which condition failed, by what was found instead.
    fn failed(&self, response: &TxnResponse) -> Option<Failed> {
        let conditional = self.steps.iter().filter(|step| step.condition != Condition::None);
        conditional.zip(&response.responses).find_map(|(step, response)| {
            let OpResponse::Get(GetResponse { kvs, .. }) = response else { return None };
            let (condition, found) = (step.condition, kvs.first().map(|kv| kv.mod_revision));
            let failed = Failed { key: step.key.clone(), condition, found, revision: response_revision(response) };
            (!condition.holds(found)).then_some(failed)
        })
    }
}

fn response_revision(response: &OpResponse) -> i64 {
    match response {
        OpResponse::Get(response) => response.revision,
        OpResponse::Put(response) => response.revision,
        OpResponse::Delete(response) => response.revision,
        OpResponse::Txn(response) => response.revision,
    }
}

/// Whether writes and deletions tell what was there before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Told,
    /// It is not sent back, which for large values is half of the traffic.
    Ignored,
}

impl Step {
    fn to_etcd(&self, txn: Txn, before: Before) -> Txn {
        let key = self.key.to_etcd();
        match (&self.action, before) {
            (Action::Read, _) => txn.then(Get::new(key)),
            (Action::Write(value), Before::Told) => txn.then(Put::new(key, value.as_slice()).previous()),
            (Action::Write(value), Before::Ignored) => txn.then(Put::new(key, value.as_slice())),
            (Action::Delete, Before::Told) => txn.then(Delete::new(key).previous()),
            (Action::Delete, Before::Ignored) => txn.then(Delete::new(key)),
        }
    }
}

/// The transaction in words, for messages.
impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.steps.split_first() else { return f.write_str("commit nothing") };
        let verb = match first.action {
            Action::Read => "read",
            Action::Write(_) => "write",
            Action::Delete => "delete",
        };
        write!(f, "{verb} `{}`", first.key)?;
        if rest.is_empty() { Ok(()) } else { write!(f, " and {} more in one transaction", rest.len()) }
    }
}

impl Store {
    /// Commits a transaction.
    ///
    /// # Errors
    /// [`TransactionError::Failed`] if a condition does not hold; [`Fault::TooMany`] and [`Fault::Twice`] before
    /// anything is sent.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, TransactionError> {
        self.commit_with(&transaction, Before::Told).await
    }

    pub(crate) async fn commit_with(
        &self,
        transaction: &Transaction,
        before: Before,
    ) -> Result<Committed, TransactionError> {
        for Step { key, action, .. } in &transaction.steps {
            if let Action::Write(value) = action {
                self.trace().value("write", key, value);
            }
        }
        let outcome = commit(&self.keys()?, transaction, before).await;
        self.trace().done(transaction, outcome.as_ref().map(|committed| committed.revision));
        outcome
    }
}

async fn commit(keys: &Keys, transaction: &Transaction, before: Before) -> Result<Committed, TransactionError> {
    transaction.check()?;
    let response = keys.send(transaction.to_etcd(before)).await.map_err(Fault::of(transaction))?;
    if !response.succeeded {
        let failed = transaction.failed(&response);
        return Err(failed.map_or(TransactionError::Fault(Fault::Inexplicable), TransactionError::Failed));
    }
    let mut found = BTreeMap::new();
    for response in response.responses {
        let records = match response {
            OpResponse::Get(response) => response.kvs,
            OpResponse::Put(response) => response.previous.into_iter().collect(),
            OpResponse::Delete(response) => response.previous,
            OpResponse::Txn(_) => Vec::new(),
        };
        for record in records {
            let record = Record::from_etcd(record).map_err(Fault::from)?;
            found.insert(record.key.clone(), record);
        }
    }
    Ok(Committed { found, revision: response.revision })
}
