//! The history of a prefix so far, as a list.

use std::time::Duration;

use etcd_keys::watch::{Event, Notice};
use etcd_keys::{KeyRange, Keys};

use crate::error::Error;

/// How long reading the history may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The events under a namespace from a revision until now, in order; keys without its prefix.
///
/// A key of our own marks the end. It is written beside the namespace, so that readers of the namespace do not see it;
/// the watch here reaches a little further and does.
pub(crate) async fn since(keys: &Keys, revision: i64) -> Result<Vec<Event>, Error> {
    let prefix = keys.namespace().prefix();
    let mark = [prefix.strip_suffix(b"/").unwrap_or(prefix), b"~history"].concat();
    let end = keys.connection().all_keys().put(mark.as_slice(), "").await?.revision;
    let range = KeyRange::between(prefix, etcd_keys::range::successor(&mark));
    let mut watch = keys.connection().all_keys().watch(range).from_revision(revision).previous_values();
    let history = async {
        let mut events = Vec::new();
        loop {
            match watch.recv().await? {
                Notice::Event(event) if event.kv.key == mark && event.kv.mod_revision >= end => return Ok(events),
                Notice::Event(event) => events.extend(relative(event, keys)),
                Notice::Gap { to, .. } => return Err(Error::Compacted(to)),
                Notice::Reset { .. } => return Err(Error::Compacted(revision)),
                _ => {}
            }
        }
    };
    match tokio::time::timeout(TIMEOUT, history).await {
        Ok(history) => history,
        Err(_) => {
            let operation = etcd_keys::Operation::Watch(KeyRange::prefix(prefix));
            Err(keys.connection().error(operation, etcd_keys::ErrorKind::TimedOut).into())
        }
    }
}

fn relative(mut event: Event, keys: &Keys) -> Option<Event> {
    for kv in std::iter::once(&mut event.kv).chain(&mut event.prev_kv) {
        kv.key = keys.namespace().to_relative(&kv.key)?.to_vec();
    }
    Some(event)
}
