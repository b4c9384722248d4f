//! Watches on servers that behave.

use std::time::Duration;

use etcd_client::{DeleteOptions, Txn, TxnOp, WatchOptions};
use etcd_keys::watch::{Batch, EventKind, Notice};
use etcd_keys::{Connection, KeyRange};
use testkit::Proxy;

use crate::follower::{END, Follower};
use crate::server::{Etcd, compact, connect, contents, fill, on_every, put, soon};

#[tokio::test]
async fn keys_come_first_then_what_happens_to_them() {
    for etcd in Etcd::every() {
        let connection = connect(&etcd.shared_endpoint()).await;
        put(&connection, "/first/a", "1").await;
        let mut watch = connection.all_keys().watch(KeyRange::prefix("/first/")).snapshot().previous_values();
        assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Key(entry) if entry.key == b"/first/a"));
        assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Listed { keys: 1, .. }));
        let second = put(&connection, "/first/a", "2").await;
        let third = put(&connection, "/first/b", "").await;
        put(&connection, "/other/a", "2").await;
        let all = DeleteOptions::new().with_prefix();
        let last = connection.raw().delete("/first/", Some(all)).await.unwrap().header().unwrap().revision();
        let mut told = Vec::new();
        for _ in 0..4 {
            let Notice::Event(event) = soon(watch.recv()).await.unwrap() else { panic!() };
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let previous = event.prev_kv.map_or("-".to_owned(), |kv| text(kv.value));
            told.push((format!("{:?} {} {previous}", event.kind, text(event.kv.key)), event.kv.mod_revision));
        }
        let expected = [
            ("Put /first/a 1", second),
            ("Put /first/b -", third),
            ("Delete /first/a 2", last),
            ("Delete /first/b ", last),
        ];
        assert_eq!(told, expected.map(|(what, revision)| (what.to_owned(), revision)), "{etcd:?}");
    }
}

/// All events of a range, as etcd itself tells them on one connection.
async fn history(connection: &Connection, prefix: &str, from: i64, count: usize) -> Vec<(i64, Vec<u8>)> {
    let options = WatchOptions::new().with_prefix().with_start_revision(from);
    let mut client = connection.raw().watch_client().max_decoding_message_size(64 << 20);
    let mut stream = client.watch(prefix, Some(options)).await.unwrap();
    let mut events = Vec::new();
    while events.len() < count {
        let response = soon(stream.message()).await.unwrap().unwrap();
        let entries = response.events().iter().map(|event| event.kv().unwrap());
        events.extend(entries.map(|entry| (entry.mod_revision(), entry.key().to_vec())));
    }
    events
}

/// Revisions of one event, of two, of hundreds, and one whose events are too much for one message.
async fn write(connection: Connection) {
    let all = || Some(DeleteOptions::new().with_prefix());
    for round in 0..4 {
        // The same bytes in fewer events: each of them costs at every resumption.
        let (keys, size) = if round == 2 { (250, 10_000) } else { (300, 1_000) };
        fill(&connection, "/cut/", keys, size).await;
        for n in 0..150 {
            put(&connection, format!("/cut/x{n:03}"), format!("{round}")).await;
            let both = [TxnOp::put("/cut/y", "1", None), TxnOp::delete(format!("/cut/x{n:03}"), None)];
            connection.raw().txn(Txn::new().and_then(both)).await.unwrap();
        }
        connection.raw().delete("/cut/0", all()).await.unwrap();
    }
}

async fn cut_anywhere(etcd: Etcd) {
    let direct = connect(&etcd.shared_endpoint()).await;
    let proxy = Proxy::start(&etcd.shared_endpoint()).unwrap();
    let connection = connect(&proxy.endpoint()).await;
    let watch = connection.all_keys().watch(KeyRange::prefix("/cut/")).snapshot().previous_values();
    // Whole messages, and revisions in pieces.
    let mut watch = watch.largest_message(4 << 20);
    let mut follower = Follower::default();
    follower.until_listed(&mut watch).await;
    let from = direct.raw().get("\0", None).await.unwrap().header().unwrap().revision() + 1;
    // Two messages may be larger than 4 MiB, without which a revision in two pieces never comes to its end.
    proxy.cut_within(6 << 20);
    let writer = tokio::spawn(write(direct.clone()));
    let mut caught_up = false;
    while !(writer.is_finished() && proxy.cuts() >= 50) {
        let some = tokio::time::timeout(Duration::from_millis(20), watch.recv()).await;
        match some {
            Ok(notice) => follower.hear(notice.unwrap()),
            // Nothing large is left to come: from now on small messages have to be cut.
            Err(_) if writer.is_finished() && !caught_up => {
                caught_up = true;
                proxy.cut_within(4_000);
                proxy.close();
                proxy.open();
            }
            Err(_) => {
                for _ in 0..10 {
                    put(&direct, "/cut/more", "").await;
                }
            }
        }
    }
    proxy.cut_within(0);
    proxy.close();
    proxy.open();
    writer.await.unwrap();
    put(&direct, format!("/cut/{END}"), "").await;
    follower.until_end(&mut watch).await;
    let expected = history(&direct, "/cut/", from, follower.events.len()).await;
    assert_eq!(follower.events.len(), expected.len(), "{etcd:?}");
    assert!(follower.events == expected, "{etcd:?}: events are lost, repeated or out of order");
    assert_eq!((follower.gaps.len(), follower.resets), (0, 0), "{etcd:?}");
    follower.agrees_with(&contents(&direct, "/cut/").await);
}

/// One test a version: they wait most of the time.
macro_rules! cut_anywhere {
    ($($name:ident: $etcd:expr),+) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if Etcd::every().any(|etcd| etcd == $etcd) {
                cut_anywhere($etcd).await;
            }
        }
    )+ };
}

cut_anywhere! {
    connections_that_break_anywhere_lose_and_repeat_nothing: Etcd::System,
    nor_do_they_on_3_5: Etcd::V3_5,
    nor_do_they_on_3_7: Etcd::V3_7
}

#[tokio::test]
async fn batches_tell_the_same_without_copies() {
    let connection = connect(&Etcd::V3_7.shared_endpoint()).await;
    let from = put(&connection, "/batch/a", "1").await;
    fill(&connection, "/batch/", 2_000, 10).await;
    let mut watch = connection.all_keys().watch(KeyRange::prefix("/batch/")).from_revision(from);
    assert!(matches!(soon(watch.recv_batch()).await.unwrap(), Batch::Listed { keys: 0, .. }));
    let mut events = 0;
    while events < 2_001 {
        let Batch::Events(batch) = soon(watch.recv_batch()).await.unwrap() else { panic!() };
        assert!(
            !batch.is_empty() && batch.iter().all(|event| event.kind() == EventKind::Put && event.prev_kv().is_none())
        );
        assert!(batch.iter().is_sorted_by_key(|event| event.kv().mod_revision()));
        events += batch.len();
    }
    assert_eq!(events, 2_001);
}

/// In fragments, as etcd makes them, these would take minutes.
#[tokio::test]
async fn many_small_events_of_the_past_come_soon() {
    on_every(|etcd| async move {
        let connection = connect(&etcd.shared_endpoint()).await;
        let from = put(&connection, "/past/first", "").await;
        fill(&connection, "/past/", 20_000, 8).await;
        let all = Some(DeleteOptions::new().with_prefix());
        connection.raw().delete("/past/0", all).await.unwrap();
        let watch = connection.all_keys().watch(KeyRange::prefix("/past/")).from_revision(from);
        // For the old values of so many deletions 3.4 takes minutes, whoever asks.
        let mut watch = if etcd == Etcd::System { watch } else { watch.previous_values() };
        let mut follower = Follower::default();
        follower.until_listed(&mut watch).await;
        while follower.events.len() < 40_001 {
            follower.hear(soon(watch.recv()).await.unwrap());
        }
        assert_eq!((follower.state.len(), follower.gaps.len()), (1, 0), "{etcd:?}");
    })
    .await;
}

/// Of large values, a message may be larger than is taken; of one revision's events, too.
#[tokio::test]
async fn what_is_too_large_for_one_message_comes_in_pieces() {
    for etcd in Etcd::every() {
        let connection = connect(&etcd.shared_endpoint()).await;
        let from = put(&connection, "/pieces/first", "").await;
        fill(&connection, "/pieces/", 12, 1_000_000).await;
        let all = Some(DeleteOptions::new().with_prefix());
        connection.raw().delete("/pieces/0", all).await.unwrap();
        let watch = connection.all_keys().watch(KeyRange::prefix("/pieces/")).from_revision(from).previous_values();
        let mut watch = watch.largest_message(6 << 20);
        let mut follower = Follower::default();
        follower.until_listed(&mut watch).await;
        while follower.events.len() < 25 {
            follower.hear(soon(watch.recv()).await.unwrap());
        }
        let expected = history(&connection, "/pieces/", from, 25).await;
        assert!(follower.events == expected, "{etcd:?}: events are lost, repeated or out of order");
        put(&connection, format!("/pieces/{END}"), "").await;
        follower.until_end(&mut watch).await;
        assert_eq!((follower.events.len(), follower.gaps.len()), (26, 0), "{etcd:?}");
    }
}

#[tokio::test]
async fn a_watch_from_the_first_revision_tells_everything() {
    let etcd = Etcd::V3_7.alone(&[]);
    let connection = connect(&etcd.endpoints()[0]).await;
    let first = put(&connection, "/a/1", "x").await;
    let watch = || connection.all_keys().watch(KeyRange::prefix("/a/")).from_revision(1);
    for mut watch in [watch(), watch().track(), watch().snapshot(), watch().snapshot().track()] {
        assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Listed { revision: 0, keys: 0 }));
        assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Event(event) if event.kv.mod_revision == first));
    }
}

#[tokio::test]
async fn a_range_that_no_key_can_be_in_is_refused() {
    let connection = connect(&Etcd::V3_7.shared_endpoint()).await;
    for range in [KeyRange::between("b", "a"), KeyRange::key("")] {
        let plain = || connection.all_keys().watch(range.clone());
        for mut watch in [plain(), plain().snapshot(), plain().track(), plain().from_revision(1)] {
            let error = soon(watch.recv()).await.unwrap_err();
            assert!(matches!(error.kind, etcd_keys::ErrorKind::Invalid(_)), "{error}");
        }
    }
    let namespace = connection.keys("/empty/").unwrap();
    let error = soon(namespace.watch(KeyRange::between("b", "a")).recv()).await.unwrap_err();
    assert!(matches!(error.kind, etcd_keys::ErrorKind::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_beginning_that_is_compacted_is_a_gap_and_one_in_the_future_an_error() {
    for etcd in Etcd::every() {
        let etcd = etcd.alone(&[]);
        let connection = connect(&etcd.endpoints()[0]).await;
        fill(&connection, "/a/", 300, 10).await;
        put(&connection, "/a/000001", "x").await;
        let now = compact(&connection).await;
        for track in [false, true] {
            let watch = connection.all_keys().watch(KeyRange::prefix("/a/")).from_revision(2);
            let mut watch = if track { watch.track() } else { watch };
            let mut follower = Follower::default();
            follower.until_listed(&mut watch).await;
            assert_eq!(follower.gaps, [(2, now)]);
            assert!(follower.all_keys, "nobody was told before what is gone now");
            follower.agrees_with(&contents(&connection, "/a/").await);
        }
        let mut watch = connection.all_keys().watch(KeyRange::prefix("/a/")).from_revision(now + 2);
        let error = soon(watch.recv()).await.unwrap_err();
        assert_eq!(error.kind, etcd_keys::ErrorKind::FutureRevision(now + 2), "{error}");
        let mut next = connection.all_keys().watch(KeyRange::prefix("/a/")).from_revision(now + 1);
        assert!(matches!(soon(next.recv()).await.unwrap(), Notice::Listed { .. }));
    }
}
