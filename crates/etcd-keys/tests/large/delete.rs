//! Chunked deletes: what the preview showed goes, what was written since stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_keys::delete::{Preview, Progress};
use etcd_keys::{Connection, KeyRange};
use testkit::Proxy;
use tokio::sync::Notify;

use crate::server::{Etcd, Persistent, connect, contents, fill, on_every, put, soon};

async fn preview(connection: &Connection, prefix: &str) -> Preview {
    connection.all_keys().preview_delete(KeyRange::prefix(prefix)).await.unwrap()
}

#[tokio::test]
async fn what_the_preview_shows_goes_and_nothing_else() {
    for etcd in Etcd::every() {
        let connection = connect(&etcd.shared_endpoint()).await;
        for count in [0, 1, 250, 251, 7_777] {
            fill(&connection, "/gone/", count, 20).await;
            for neighbour in ["/gone", "/gone.", "/gone0", "/gone/\u{10ffff}"] {
                put(&connection, neighbour, "stays").await;
            }
            let range = KeyRange::between("/gone/", "/gone/\u{10ffff}");
            let seen = connection.all_keys().preview_delete(range.clone()).await.unwrap();
            assert_eq!((seen.count(), seen.first().len()), (count as u64, count.min(5)), "{etcd:?}");
            let last = count.checked_sub(1).map(|last| format!("/gone/{last:06}").into_bytes());
            assert_eq!(seen.last().last(), last.as_ref());
            let mut heard = Vec::new();
            let done = seen.into_deletion().run(|progress| heard.push(progress)).await.unwrap();
            assert_eq!(done, Progress { deleted: count as u64, kept: 0, total: count as u64 }, "{etcd:?}");
            assert!(heard.is_sorted_by_key(|progress| progress.deleted));
            assert_eq!(contents(&connection, "/gone").await.len(), 4, "{etcd:?}");
        }
    }
}

/// Overwrites, adds, and deletes and writes again, until told to stop; answers what it wrote last.
async fn write(connection: Connection, writer: usize, stop: Arc<AtomicBool>) -> BTreeMap<Vec<u8>, i64> {
    let mut written = BTreeMap::new();
    let mut n = writer * 7;
    while !stop.load(Ordering::SeqCst) {
        n = (n * 31 + 17) % 5_000;
        // Two writers, two sets of keys: the last write of a key is known.
        let key = match n % 3 {
            0 => format!("/race/{:06}", n / 2 * 2 + writer),
            1 => format!("/race/{n:06}-{writer}"),
            _ => format!("/race/{:06}", 4_998 - n % 500 * 2 + writer),
        };
        if n.is_multiple_of(5) {
            connection.raw().delete(key.clone(), None).await.unwrap();
        }
        written.insert(key.clone().into_bytes(), put(&connection, key, "written").await);
    }
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_the_preview_survives() {
    on_every(|etcd| async move {
        let connection = connect(&etcd.shared_endpoint()).await;
        fill(&connection, "/race/", 5_000, 20).await;
        let seen = preview(&connection, "/race/").await;
        let revision = seen.revision();
        let stop = Arc::new(AtomicBool::new(false));
        let writers = [0, 1].map(|writer| tokio::spawn(write(connection.clone(), writer, Arc::clone(&stop))));
        let done = soon(seen.into_deletion().run(|_| ())).await.unwrap();
        stop.store(true, Ordering::SeqCst);
        let mut written = BTreeMap::new();
        for writer in writers {
            written.extend(writer.await.unwrap());
        }
        let left = contents(&connection, "/race/").await;
        assert!(written.values().all(|written| *written > revision));
        let left: BTreeMap<_, _> = left.into_iter().map(|(key, (_, revision))| (key, revision)).collect();
        assert_eq!(left, written, "{etcd:?}: only what was written since is left, and all of it");
        assert!(done.deleted + done.kept == 5_000 && done.deleted > 0, "{done:?}");
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_deletion_finishes_when_it_runs_again() {
    for etcd in Etcd::every() {
        let connection = connect(&etcd.shared_endpoint()).await;
        fill(&connection, "/twice/", 10_000, 20).await;
        let mut deletion = preview(&connection, "/twice/").await.into_deletion();
        let enough = tokio::sync::Notify::new();
        tokio::select! {
            biased;
            () = enough.notified() => {}
            _ = deletion.run(|progress| if progress.deleted > 3_000 { enough.notify_one() }) => panic!("too quick"),
        }
        let (so_far, left) = (deletion.progress(), contents(&connection, "/twice/").await.len() as u64);
        // The chunk under way may have been done, or not.
        assert!(so_far.deleted > 3_000 && left >= 10_000 - so_far.deleted - 1_000, "{so_far:?}, {left} left");
        assert!(left <= 10_000 - so_far.deleted, "{so_far:?}, {left} left");
        let again = preview(&connection, "/twice/").await;
        assert!(again.count() <= left && left - again.count() <= 1_000, "{} of {left}", again.count());
        // By the deletion that was interrupted, or by a new one: both are the same.
        let mut one = if etcd == Etcd::V3_5 { deletion } else { again.into_deletion() };
        one.run(|_| ()).await.unwrap();
        assert!(contents(&connection, "/twice/").await.is_empty(), "{etcd:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_is_deleted_from() {
    let server = Persistent::start(Etcd::V3_7);
    let connection = connect(&server.endpoint()).await;
    fill(&connection, "/a/", 5_000, 20).await;
    let mut deletion = preview(&connection, "/a/").await.into_deletion();
    let (killed, mut up) = (AtomicBool::new(false), None);
    let mut server = Some(server);
    let done = soon(deletion.run(|progress| {
        if progress.deleted > 1_000 && !killed.swap(true, Ordering::SeqCst) {
            let server = server.take().unwrap();
            server.signal("-KILL");
            up = Some(std::thread::spawn(move || {
                server.up();
                server
            }));
        }
    }))
    .await;
    let server = up.unwrap().join().unwrap();
    let done = done.unwrap();
    assert!(done.total == 5_000 && done.deleted + done.kept == 5_000, "{done:?}");
    assert!(contents(&connection, "/a/").await.is_empty());
    drop(server);
}

/// Two clusters with the same keys at the same revisions. The proof that it is the same cluster fails at first, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_sent_again_only_to_a_cluster_that_is_proven() {
    for refusals in 4..8 {
        let servers =
            [Etcd::V3_7.alone(&[]), Etcd::V3_7.alone(&[])].map(|server| (server.endpoints()[0].clone(), server));
        let [first, second] = [&servers[0].0, &servers[1].0];
        for endpoint in [first, second] {
            fill(&connect(endpoint).await, "/a/", 1_500, 20).await;
        }
        let proxy = Proxy::start(first).unwrap();
        let connection = connect(&proxy.endpoint()).await;
        let mut deletion = preview(&connection, "/a/").await.into_deletion();
        let held = Notify::new();
        let run = deletion.run(|progress| {
            if progress.deleted > 300 {
                proxy.hold();
                held.notify_one();
            }
        });
        let moved = async {
            held.notified().await;
            while !proxy.has_held() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.lead_to(second);
            proxy.refuse(refusals);
            proxy.cut();
            proxy.release();
        };
        let (done, ()) = soon(async { tokio::join!(run, moved) }).await;
        let error = done.unwrap_err();
        assert!(error.to_string().contains("the cluster was reset"), "{error}");
        assert_eq!(contents(&connect(second).await, "/a/").await.len(), 1_500, "after {refusals} refusals");
    }
}

/// The connection moves to the new server without a word: nothing was under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_reset_between_two_chunks_keeps_its_new_keys() {
    let server = Persistent::start(Etcd::V3_7);
    let endpoint = server.endpoint();
    let connection = connect(&endpoint).await;
    fill(&connection, "/a/", 5_000, 20).await;
    let mut deletion = preview(&connection, "/a/").await.into_deletion();
    let anew = || {
        server.reset();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let connection = connect(&endpoint).await;
            put(&connection, "/other", "").await;
            fill(&connection, "/a/", 4_000, 20).await;
        });
    };
    let mut once = Some(anew);
    let error = soon(deletion.run(|_| {
        if let Some(anew) = once.take() {
            std::thread::scope(|scope| scope.spawn(anew).join().unwrap());
        }
    }))
    .await
    .unwrap_err();
    assert!(error.to_string().contains("the cluster was reset"), "{error}");
    assert_eq!(contents(&connect(&endpoint).await, "/a/").await.len(), 4_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_another_cluster_deletes_nothing() {
    let server = Persistent::start(Etcd::V3_7);
    let connection = connect(&server.endpoint()).await;
    fill(&connection, "/a/", 1_000, 20).await;
    let mut deletion = preview(&connection, "/a/").await.into_deletion();
    server.reset();
    let connection = connect(&server.endpoint()).await;
    fill(&connection, "/a/", 500, 20).await;
    let error = soon(deletion.run(|_| ())).await.unwrap_err();
    assert!(error.to_string().contains("the cluster was reset"), "{error}");
    assert_eq!(contents(&connection, "/a/").await.len(), 500);
}
