//! Waiting for a key to be as a test wants it, with a timeout.

use std::time::Duration;

use etcd_keys::watch::{EventKind, Notice};
use etcd_keys::{KeyRange, KeyValue, Keys};

use crate::error::Error;
use crate::wait_timeout::WaitTimeout;

/// The timeout of functions that take none.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until a key is absent.
pub(crate) async fn absent(keys: &Keys, key: &[u8], timeout: Duration) -> Result<(), Error> {
    until(keys, key, timeout, "absent", |kv| kv.is_none().then_some(())).await
}

/// Waits until `accept` returns something for the key, or for its absence. `wanted` says in words what is waited for.
pub(crate) async fn until<T>(
    keys: &Keys,
    key: &[u8],
    timeout: Duration,
    wanted: &str,
    accept: impl Fn(Option<&KeyValue>) -> Option<T>,
) -> Result<T, Error> {
    let accepted = async {
        let (mut last, mut listed) = (None, false);
        let mut watch = keys.watch(KeyRange::key(key)).snapshot();
        loop {
            match watch.recv().await? {
                Notice::Key(kv) => last = Some(kv),
                Notice::Event(event) => last = Some(event.kv).filter(|_| event.kind == EventKind::Put),
                Notice::Listed { .. } => listed = true,
                _ => (last, listed) = (None, false),
            }
            if listed && let Some(accepted) = accept(last.as_ref()) {
                return Ok(accepted);
            }
        }
    };
    if let Ok(accepted) = tokio::time::timeout(timeout, accepted).await {
        return accepted;
    }
    // If etcd is away, this fails and says so. And the key may be as wanted just now.
    let last = keys.get(key).await?;
    accept(last.as_ref()).ok_or_else(|| {
        let last = last.map(|kv| kv.value);
        WaitTimeout { key: key.to_vec(), wanted: wanted.to_owned(), last, timeout }.into()
    })
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
