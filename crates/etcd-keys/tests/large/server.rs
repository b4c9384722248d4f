//! Connections to servers of each version, and keys.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use etcd_client::{Txn, TxnOp};
use etcd_keys::{Connect, Connection, KeyRange};
pub(crate) use testkit::{Etcd, Persistent};

/// Runs a test on every version at the same time: most tests wait more than they compute.
pub(crate) async fn on_every<F: Future<Output = ()>>(test: impl Fn(Etcd) -> F) {
    let mut running: Vec<_> = Etcd::every().map(|etcd| Box::pin(test(etcd))).collect();
    std::future::poll_fn(|context| {
        running.retain_mut(|test| test.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

pub(crate) async fn connect(endpoint: &str) -> Connection {
    // Dead servers are to be noticed soon.
    let connect = Connect::new([endpoint]).keep_alive(Duration::from_millis(5_200), Duration::from_secs(1));
    connect.connect().await.unwrap()
}

/// Writes `count` keys `<prefix>000000` and up, with values of `size` bytes.
pub(crate) async fn fill(connection: &Connection, prefix: &str, count: usize, size: usize) {
    let all: Vec<_> = (0..count).collect();
    let at_once = (1_000_000 / (size + 100)).clamp(1, 100);
    for some in all.chunks(at_once) {
        let put = |n: &usize| TxnOp::put(format!("{prefix}{n:06}"), vec![b'v'; size], None);
        connection.raw().txn(Txn::new().and_then(some.iter().map(put).collect::<Vec<_>>())).await.unwrap();
    }
}

pub(crate) type Contents = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

/// Keys with values and revisions.
pub(crate) async fn contents(connection: &Connection, prefix: &str) -> Contents {
    let mut pages = connection.all_keys().pages(KeyRange::prefix(prefix));
    let mut contents = Contents::new();
    while let Some(page) = pages.next_page().await.unwrap() {
        for entry in page.entries() {
            contents.insert(entry.key().to_vec(), (entry.value().to_vec(), entry.mod_revision()));
        }
    }
    contents
}

pub(crate) async fn put(connection: &Connection, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> i64 {
    connection.raw().put(key, value, None).await.unwrap().header().unwrap().revision()
}

pub(crate) async fn compact(connection: &Connection) -> i64 {
    let revision = connection.raw().get("\0", None).await.unwrap().header().unwrap().revision();
    connection.raw().compact(revision, None).await.unwrap();
    revision
}

/// Runs what must not hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("it hangs"))
}
