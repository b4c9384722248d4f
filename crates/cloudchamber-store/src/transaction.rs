//! Transactions: several keys, a condition on each, all or nothing. All conditional operations of the store are
//! transactions, and are sent from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use etcd_keys::kv::{Delete, Get, GetResponse, OpResponse, Put, Txn, TxnResponse};

use crate::condition::Condition;
use crate::error::{Error, ErrorKind, Failure};
use crate::key::Key;
use crate::record::Record;
use crate::store::Store;

/// The most operations of one transaction: etcd's `--max-txn-ops`, by default (`DefaultMaxTxnOps` in etcd's
/// `server/embed/config.go`).
pub const MAX_OPERATIONS: usize = 128;

/// Reads, writes and deletions that are done together, at one revision, if every condition holds. Else nothing is done.
/// At most [`MAX_OPERATIONS`] operations, each with a key of its own.
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
    /// The records that the transaction found, by key: those that it read, and those that it replaced or deleted. A key
    /// that did not exist is not in the map.
    pub found: BTreeMap<Key, Record>,
    /// The revision that the transaction made if it changed anything, else the revision that it read.
    pub revision: i64,
}

impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a key.
    pub fn read(self, key: &Key, condition: Condition) -> Self {
        self.step(key, Action::Read, condition)
    }

    /// Writes a key, which is created or updated, as the condition allows.
    pub fn write(self, key: &Key, value: impl Into<Vec<u8>>, condition: Condition) -> Self {
        self.step(key, Action::Write(value.into()), condition)
    }

    /// Deletes a key. Without a condition, the key may be absent.
    pub fn delete(self, key: &Key, condition: Condition) -> Self {
        self.step(key, Action::Delete, condition)
    }

    fn step(mut self, key: &Key, action: Action, condition: Condition) -> Self {
        self.steps.push(Step { key: key.clone(), action, condition });
        self
    }

    /// Whether etcd can take it as one transaction.
    fn check(&self) -> Result<(), Failure> {
        let given = self.steps.len();
        if given > MAX_OPERATIONS {
            return Err(ErrorKind::TooManyKeys { given, most: MAX_OPERATIONS }.into());
        }
        let mut seen = BTreeSet::new();
        match self.steps.iter().find(|step| !seen.insert(&step.key)) {
            Some(twice) => Err(Failure::from(ErrorKind::DuplicateKey).at(twice.key.as_str())),
            None => Ok(()),
        }
    }

    fn to_etcd(&self, previous: Previous) -> Txn {
        self.steps.iter().fold(Txn::new(), |mut txn, step| {
            if let Some(compare) = step.condition.compare(step.key.as_str()) {
                // If the transaction fails, the revisions tell which condition does not hold.
                txn = txn.when(compare).or_else(Get::key(step.key.as_str()).keys_only());
            }
            step.to_etcd(txn, previous)
        })
    }

    /// Which condition does not hold, by the revisions in the response.
    fn failure(&self, response: &TxnResponse) -> Failure {
        let conditional = self.steps.iter().filter(|step| step.condition != Condition::None);
        let failure = conditional.zip(&response.responses).find_map(|(step, response)| {
            let OpResponse::Get(GetResponse { kvs, .. }) = response else { return None };
            let kind = match (step.condition, kvs.first().map(|kv| kv.mod_revision)) {
                (condition, found) if condition.holds(found) => return None,
                (_, None) => ErrorKind::NotFound,
                (Condition::Create, Some(revision)) => ErrorKind::AlreadyExists { revision },
                (condition, Some(found)) => ErrorKind::Conflict { condition, found },
            };
            Some(Failure::from(kind).at(step.key.as_str()))
        });
        failure.unwrap_or_else(|| ErrorKind::UnexpectedAnswer.into())
    }

    /// The transaction in words that follow `cannot`, by the key that it failed at.
    fn words(&self, failed_at: Option<&str>) -> Words<'_> {
        let step = self.steps.iter().find(|step| Some(step.key.as_str()) == failed_at);
        Words { step: step.or(self.steps.first()), keys: self.steps.len() }
    }
}

struct Words<'a> {
    step: Option<&'a Step>,
    keys: usize,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Step { key, action, condition }) = self.step else {
            return f.write_str("commit an empty transaction");
        };
        let verb = match (action, condition) {
            (Action::Read, _) => "read",
            (Action::Write(_), Condition::Create) => "create",
            (Action::Write(_), Condition::None) => "write",
            (Action::Write(_), _) => "update",
            (Action::Delete, _) => "delete",
        };
        write!(f, "{verb} `{key}`")?;
        if self.keys > 1 { write!(f, " in a transaction of {} keys", self.keys) } else { Ok(()) }
    }
}

/// Whether writes and deletions return the previous record. For large values that is half of the traffic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Previous {
    Returned,
    Omitted,
}

impl Step {
    fn to_etcd(&self, txn: Txn, previous: Previous) -> Txn {
        let key = self.key.as_str();
        match (&self.action, previous) {
            (Action::Read, _) => txn.then(Get::key(key)),
            (Action::Write(value), Previous::Returned) => txn.then(Put::new(key, value.as_slice()).previous()),
            (Action::Write(value), Previous::Omitted) => txn.then(Put::new(key, value.as_slice())),
            (Action::Delete, Previous::Returned) => txn.then(Delete::key(key).previous()),
            (Action::Delete, Previous::Omitted) => txn.then(Delete::key(key)),
        }
    }
}

impl Store {
    /// Commits a transaction.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::NotFound`] and [`ErrorKind::Conflict`], for the first key in the
    /// transaction whose condition does not hold. [`ErrorKind::TooManyKeys`] and [`ErrorKind::DuplicateKey`], before
    /// anything is sent.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        self.commit_with(&transaction, Previous::Returned).await
    }

    pub(crate) async fn commit_with(&self, transaction: &Transaction, previous: Previous) -> Result<Committed, Error> {
        for Step { key, action, .. } in &transaction.steps {
            if let Action::Write(value) = action {
                self.trace().value("write", key, value);
            }
        }
        let outcome = self.try_commit(transaction, previous).await;
        let outcome = outcome.map_err(|failure| Error::new(transaction.words(failure.key()), failure));
        self.trace().done(transaction.words(None), outcome.as_ref().map(|committed| committed.revision));
        outcome
    }

    async fn try_commit(&self, transaction: &Transaction, previous: Previous) -> Result<Committed, Failure> {
        let keys = self.keys()?;
        transaction.check()?;
        let response = keys.send(transaction.to_etcd(previous)).await?;
        if !response.succeeded {
            return Err(transaction.failure(&response));
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
                let record = Record::from_etcd(record)?;
                found.insert(record.key.clone(), record);
            }
        }
        Ok(Committed { found, revision: response.revision })
    }
}
