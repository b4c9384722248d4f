//! Waiting for a key to be as it should, with a deadline.

use std::time::Duration;

use etcd_keys::kv::Get;
use etcd_keys::watch::Notice;
use etcd_keys::{KeyRange, KeyValue, Keys, Kind};

use crate::error::Error;
use crate::wait_timeout::WaitTimeout;

/// How long is waited, unless said otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A key as an event left it. Not from the event: leases, versions and what else a key has are the server's to tell. What
/// is compacted since, or was lost with its server, is not there: then as it is now.
async fn as_of(keys: &Keys, key: &[u8], revision: i64) -> Result<Option<KeyValue>, Error> {
    match keys.send(Get::new(key).revision(revision)).await {
        Ok(mut then) => Ok(then.kvs.pop()),
        Err(error) if matches!(error.kind, Kind::Compacted { .. } | Kind::FutureRevision { .. }) => {
            Ok(keys.get(key).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until a key is absent.
pub(crate) async fn absent(keys: &Keys, key: &[u8], timeout: Duration) -> Result<(), Error> {
    until(keys, key, timeout, "absent", |kv| kv.is_none()).await?;
    Ok(())
}

/// Waits until a key, or its absence, satisfies; tells what was waited for, in words, if it does not.
pub(crate) async fn until(
    keys: &Keys,
    key: &[u8],
    timeout: Duration,
    wanted: &str,
    satisfies: impl Fn(Option<&KeyValue>) -> bool,
) -> Result<Option<KeyValue>, Error> {
    let mut last = None;
    let satisfied = async {
        let mut watch = keys.watch(KeyRange::key(key)).snapshot();
        let mut listed = false;
        loop {
            match watch.next().await? {
                Notice::Key(kv) => last = Some(kv),
                Notice::Event(event) if event.created == 0 => last = None,
                Notice::Event(event) => last = as_of(keys, key, event.revision).await?,
                Notice::Listed { .. } => listed = true,
                _ => {
                    last = None;
                    listed = false;
                }
            }
            if listed && satisfies(last.as_ref()) {
                return Ok::<_, Error>(());
            }
        }
    };
    match tokio::time::timeout(timeout, satisfied).await {
        Ok(Ok(())) => Ok(last),
        Ok(Err(error)) => Err(error),
        // Is etcd away, that is what to say. And it may have come to be just now, before we heard of it.
        Err(_) => {
            last = keys.get(key).await?;
            if satisfies(last.as_ref()) {
                return Ok(last);
            }
            let last = last.map(|kv| kv.value);
            Err(WaitTimeout { key: key.to_vec(), wanted: wanted.to_owned(), last, timeout }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use etcd_keys::Connect;

    use super::*;

    #[tokio::test]
    async fn a_key_that_stays_is_an_error_that_shows_its_value() {
        let etcd = testkit::Etcd::V3_7.alone(&[]);
        let keys = Connect::new(etcd.endpoints()).connect().await.unwrap().all_keys();
        keys.put("servers/1", "ready").await.unwrap();
        let error = absent(&keys, b"servers/1", Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(error, Error::WaitTimeout(_)));
        assert_eq!(error.to_string(), "`servers/1` was not absent within 0.3 s: its value is `ready`");
    }
}
