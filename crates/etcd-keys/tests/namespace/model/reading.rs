//! Watches and paged reads of both clients, made comparable.

use etcd_client::{Client, EventType, WatchOptions};
use etcd_keys::watch::{EventKind, Notice};
use etcd_keys::{KeyRange, KeyValue, Keys};

use super::request::Which;

/// What happened to a key: whether it was written, its key, value, value before, and the revision since the start.
pub(super) type Observed = (bool, Vec<u8>, Vec<u8>, Option<Vec<u8>>, i64);

/// Everything since `start`, up to a write at the revision `end`.
pub(super) async fn we_watch(keys: &Keys, range: KeyRange, start: i64, end: i64) -> Vec<Observed> {
    let mut watch = keys.watch(range).from_revision(start + 1).previous_values();
    let mut observed: Vec<Observed> = Vec::new();
    while observed.last().is_none_or(|(.., revision)| *revision < end - start) {
        match super::soon(watch.recv()).await.unwrap() {
            Notice::Event(event) => {
                let put = event.kind == EventKind::Put;
                let before = event.prev_kv.map(|kv| kv.value);
                observed.push((put, event.kv.key, event.kv.value, before, event.kv.mod_revision - start));
            }
            Notice::Listed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    observed
}

pub(super) async fn they_watch(client: &mut Client, which: Which, start: i64, end: i64) -> Vec<Observed> {
    let options = WatchOptions::new().with_start_revision(start + 1).with_prev_key();
    let (key, options) = which.their_watch(options);
    let mut stream = client.watch(key, Some(options)).await.unwrap();
    let mut observed: Vec<Observed> = Vec::new();
    while observed.last().is_none_or(|(.., revision)| *revision < end - start) {
        let response = super::soon(stream.message()).await.unwrap().unwrap();
        observed.extend(response.events().iter().map(|event| {
            let kv = event.kv().unwrap();
            let before = event.prev_kv().map(|kv| kv.value().to_vec());
            let put = event.event_type() == EventType::Put;
            (put, kv.key().to_vec(), kv.value().to_vec(), before, kv.mod_revision() - start)
        }));
    }
    observed
}

pub(super) async fn we_read(keys: &Keys, range: KeyRange) -> Vec<KeyValue> {
    let mut pages = keys.pages(range);
    let mut kvs = Vec::new();
    while let Some(kv) = pages.try_next().await.unwrap() {
        kvs.push(kv);
    }
    kvs
}
