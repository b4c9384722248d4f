//! Waiting for a key to be as it should, with a deadline.

use std::time::Duration;

use etcd_keys::watch::{EventKind, Notice};
use etcd_keys::{KeyRange, KeyValue, Keys};

use crate::error::Error;
use crate::wait_timeout::WaitTimeout;

/// How long is waited, unless said otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

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
            match watch.recv().await? {
                Notice::Key(kv) => last = Some(kv),
                Notice::Event(event) => last = Some(event.kv).filter(|_| event.kind == EventKind::Put),
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
