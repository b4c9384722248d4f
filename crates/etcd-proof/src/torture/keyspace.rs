//! Reading all keys of an etcd, and writing many.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use etcd_keys::kv::{Put, Txn};
use etcd_keys::text::Escaped;
use etcd_keys::{Connect, Connection, KeyRange};

/// Keys with values and the revisions that wrote them.
pub(super) type Contents = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

/// A connection that soon notices a dead server.
pub(super) async fn connect(endpoint: &str) -> Result<Connection> {
    let connect = Connect::new([endpoint]).keep_alive(Duration::from_millis(5_200), Duration::from_secs(1));
    Ok(connect.request_timeout(Duration::from_secs(10)).connect().await?)
}

pub(super) async fn contents(connection: &Connection, range: KeyRange) -> Result<Contents> {
    let mut pages = connection.all_keys().pages(range);
    let mut contents = Contents::new();
    while let Some(page) = pages.next_page().await? {
        contents.extend(page.into_entries().map(|kv| (kv.key, (kv.value, kv.mod_revision))));
    }
    Ok(contents)
}

/// Writes them a hundred at a time.
pub(super) async fn fill(connection: &Connection, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
    let keys: Vec<Vec<u8>> = keys.into_iter().collect();
    for some in keys.chunks(100) {
        let txn = some.iter().fold(Txn::new(), |txn, key| txn.then(Put::new(key.clone(), key.clone())));
        connection.all_keys().send(txn).await?;
    }
    Ok(())
}

/// Fails at the first difference, which it names.
pub(super) fn same(what: &str, before: &Contents, after: &Contents) -> Result<()> {
    for (key, was) in before {
        let is = after.get(key).with_context(|| format!("{what}: `{}` is gone", Escaped(key)))?;
        if is != was {
            bail!("{what}: `{}` of revision {} is now of revision {}", Escaped(key), was.1, is.1);
        }
    }
    match after.keys().find(|key| !before.contains_key(*key)) {
        Some(key) => bail!("{what}: `{}` has appeared", Escaped(key)),
        None => Ok(()),
    }
}
