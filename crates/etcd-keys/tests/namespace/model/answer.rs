//! Answers of both clients, made comparable.

use etcd_client::{Client, TxnOpResponse};
use etcd_keys::kv::{DeleteResponse, GetResponse, Op, OpResponse, PutResponse, TxnResponse};
use etcd_keys::{ErrorKind, KeyValue, Keys, LeaseId};

use super::request::{Clock, Request, their_delete, their_put};

#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Get(GetResponse),
    Put(PutResponse),
    Delete(DeleteResponse),
    Txn(TxnResponse),
    Error(ErrorKind),
}

pub(super) async fn ask_us(keys: &Keys, request: Request, clock: Clock) -> Answer {
    let answer = match request.ours(clock) {
        Op::Get(get) => keys.send(get).await.map(Answer::Get),
        Op::Put(put) => keys.send(put).await.map(Answer::Put),
        Op::Delete(delete) => keys.send(delete).await.map(Answer::Delete),
        Op::Txn(txn) => keys.send(txn).await.map(Answer::Txn),
    };
    answer.unwrap_or_else(|error| Answer::Error(error.kind))
}

pub(super) async fn ask_them(client: &mut Client, request: Request, clock: Clock) -> Answer {
    let answer = match request {
        Request::Get { .. } => {
            let (key, options) = request.their_get(clock);
            client.get(key, Some(options)).await.map(|answer| Answer::Get(their_got(&answer)))
        }
        Request::Put { key, value, previous, touch } => {
            let value = if touch { Vec::new() } else { value };
            client
                .put(key, value, Some(their_put(previous, touch)))
                .await
                .map(|answer| Answer::Put(their_written(&answer)))
        }
        Request::Delete { which, previous } => {
            let (key, options) = their_delete(which, previous);
            client.delete(key, Some(options)).await.map(|answer| Answer::Delete(their_deleted(&answer)))
        }
        Request::Txn { .. } => {
            client.txn(request.their_txn(clock)).await.map(|answer| Answer::Txn(their_committed(&answer)))
        }
    };
    answer.unwrap_or_else(|error| Answer::Error(ErrorKind::of(&error)))
}

fn their_kv(kv: &etcd_client::KeyValue) -> KeyValue {
    let mut ours = KeyValue::default();
    (ours.key, ours.value) = (kv.key().to_vec(), kv.value().to_vec());
    (ours.create_revision, ours.mod_revision) = (kv.create_revision(), kv.mod_revision());
    (ours.version, ours.lease) = (kv.version(), LeaseId::new(kv.lease()));
    ours
}

fn revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.map_or(0, etcd_client::ResponseHeader::revision)
}

pub(super) fn their_got(answer: &etcd_client::GetResponse) -> GetResponse {
    let mut ours = GetResponse::default();
    ours.kvs = answer.kvs().iter().map(their_kv).collect();
    (ours.more, ours.count, ours.revision) = (answer.more(), answer.count(), revision(answer.header()));
    ours
}

fn their_written(answer: &etcd_client::PutResponse) -> PutResponse {
    let mut ours = PutResponse::default();
    (ours.previous, ours.revision) = (answer.prev_key().map(their_kv), revision(answer.header()));
    ours
}

fn their_deleted(answer: &etcd_client::DeleteResponse) -> DeleteResponse {
    let mut ours = DeleteResponse::default();
    ours.previous = answer.prev_kvs().iter().map(their_kv).collect();
    (ours.deleted, ours.revision) = (answer.deleted(), revision(answer.header()));
    ours
}

fn their_committed(answer: &etcd_client::TxnResponse) -> TxnResponse {
    let responses = answer.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Get(answer) => OpResponse::Get(their_got(&answer)),
        TxnOpResponse::Put(answer) => OpResponse::Put(their_written(&answer)),
        TxnOpResponse::Delete(answer) => OpResponse::Delete(their_deleted(&answer)),
        TxnOpResponse::Txn(answer) => OpResponse::Txn(their_committed(&answer)),
    });
    let mut ours = TxnResponse::default();
    (ours.responses, ours.succeeded) = (responses.collect(), answer.succeeded());
    ours.revision = revision(answer.header());
    ours
}

/// Without what the two servers cannot have in common: how many writes they have seen before.
impl Answer {
    pub(super) fn since(mut self, start: i64) -> Self {
        match &mut self {
            Self::Get(answer) => shift_got(answer, start),
            Self::Put(answer) => shift_written(answer, start),
            Self::Delete(answer) => shift_deleted(answer, start),
            Self::Txn(answer) => shift_committed(answer, start, None),
            Self::Error(ErrorKind::Compacted { asked, oldest }) => {
                *asked -= start;
                *oldest = None;
            }
            Self::Error(ErrorKind::FutureRevision(asked)) => *asked -= start,
            Self::Error(_) => {}
        }
        self
    }
}

fn shift_kvs(kvs: &mut [KeyValue], start: i64) {
    for kv in kvs {
        kv.create_revision -= start;
        kv.mod_revision -= start;
    }
}

fn shift_got(answer: &mut GetResponse, start: i64) {
    answer.revision -= start;
    shift_kvs(&mut answer.kvs, start);
}

fn shift_written(answer: &mut PutResponse, start: i64) {
    answer.revision -= start;
    shift_kvs(answer.previous.as_mut_slice(), start);
}

fn shift_deleted(answer: &mut DeleteResponse, start: i64) {
    answer.revision -= start;
    shift_kvs(&mut answer.previous, start);
}

/// Every answer within a transaction has its revision.
fn shift_committed(answer: &mut TxnResponse, start: i64, outer: Option<i64>) {
    answer.revision = outer.unwrap_or(answer.revision - start);
    for response in &mut answer.responses {
        match response {
            OpResponse::Get(inner) => {
                shift_got(inner, start);
                inner.revision = answer.revision;
            }
            OpResponse::Put(inner) => {
                shift_written(inner, start);
                inner.revision = answer.revision;
            }
            OpResponse::Delete(inner) => {
                shift_deleted(inner, start);
                inner.revision = answer.revision;
            }
            OpResponse::Txn(inner) => shift_committed(inner, start, Some(answer.revision)),
        }
    }
}
