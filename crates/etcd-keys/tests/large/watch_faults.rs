//! Watches on servers that compact, die, pause and forget.

use std::time::Duration;

use etcd_client::DeleteOptions;
use etcd_keys::KeyRange;
use etcd_keys::watch::{EventKind, Notice};
use testkit::Proxy;

use crate::follower::{END, Follower};
use crate::server::{Etcd, Persistent, compact, connect, contents, fill, put, soon};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_compaction_the_gap_is_told_and_the_difference() {
    for (etcd, track) in Etcd::every().flat_map(|etcd| [(etcd, true), (etcd, false)]) {
        let server = etcd.alone(&[]);
        let direct = connect(&server.endpoints()[0]).await;
        let proxy = Proxy::start(&server.endpoints()[0]).unwrap();
        let connection = connect(&proxy.endpoint()).await;
        fill(&direct, "/a/", 3_000, 10).await;
        let watch = connection.all_keys().watch(KeyRange::prefix("/a/")).snapshot();
        let mut watch = if track { watch.track() } else { watch };
        let mut follower = Follower::default();
        follower.until_listed(&mut watch).await;
        let seen = put(&direct, "/a/seen", "").await;
        while follower.events.is_empty() {
            follower.hear(soon(watch.recv()).await.unwrap());
        }

        proxy.close();
        direct.raw().delete("/a/0010", Some(DeleteOptions::new().with_prefix())).await.unwrap();
        put(&direct, "/a/000001", "changed").await;
        put(&direct, "/a/new", "").await;
        put(&direct, "/b", "").await;
        let now = compact(&direct).await;
        proxy.open();
        follower.until_listed(&mut watch).await;
        let [(from, to)] = follower.gaps[..] else { panic!("{:?}", follower.gaps) };
        assert!((from == seen || from == seen + 1) && to == now, "{etcd:?}: {from} to {to}");
        follower.agrees_with(&contents(&direct, "/a/").await);
        assert_eq!(follower.all_keys, !track);
        if track {
            let deleted = follower.differences.iter().filter(|event| event.kind == EventKind::Delete).count();
            assert_eq!((deleted, follower.differences.len()), (100, 102), "{etcd:?}: only what differs");
        }
        put(&direct, format!("/a/{END}"), "").await;
        follower.until_end(&mut watch).await;
        follower.agrees_with(&contents(&direct, "/a/").await);
    }
}

/// The first page comes from before the compaction, the next one cannot be had.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_under_the_first_listing_is_a_gap_and_deletions_are_told() {
    for (etcd, track) in Etcd::every().flat_map(|etcd| [(etcd, true), (etcd, false)]) {
        let server = etcd.alone(&[]);
        let connection = connect(&server.endpoints()[0]).await;
        fill(&connection, "/a/", 3_000, 10).await;
        let watch = connection.all_keys().watch(KeyRange::prefix("/a/")).snapshot();
        let mut watch = if track { watch.track() } else { watch };
        let mut follower = Follower::default();
        while follower.state.len() < 200 {
            follower.hear(soon(watch.recv()).await.unwrap());
        }
        let gone = Some(DeleteOptions::new().with_prefix());
        let from = connection.raw().delete("/a/0000", gone).await.unwrap().header().unwrap().revision();
        let to = compact(&connection).await;
        follower.until_listed(&mut watch).await;
        assert_eq!((follower.gaps.as_slice(), follower.resets), (&[(from, to)][..], 0), "{etcd:?}");
        follower.agrees_with(&contents(&connection, "/a/").await);
        put(&connection, format!("/a/{END}"), "").await;
        follower.until_end(&mut watch).await;
        follower.agrees_with(&contents(&connection, "/a/").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_asked_for_that_are_compacted_under_a_quiet_listing_are_a_gap() {
    for etcd in Etcd::every() {
        let server = etcd.alone(&[]);
        let direct = connect(&server.endpoints()[0]).await;
        fill(&direct, "/a/", 9_000, 10).await;
        let from = put(&direct, "/a/000001", "the first event").await;
        let proxy = Proxy::start(&server.endpoints()[0]).unwrap();
        let connection = connect(&proxy.endpoint()).await;
        let mut watch = connection.all_keys().watch(KeyRange::prefix("/a/")).from_revision(from).track();
        let mut follower = Follower::default();
        // In the middle of the first page.
        proxy.hold_after(50_000);
        let compacted = async {
            let held = async {
                while !proxy.is_held() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            soon(held).await;
            put(&direct, "/a/000002", "x").await;
            let to = compact(&direct).await;
            proxy.release();
            to
        };
        let (to, ()) = tokio::join!(compacted, follower.until_listed(&mut watch));
        assert_eq!(follower.gaps, [(from, to)], "{etcd:?}");
        follower.agrees_with(&contents(&direct, "/a/").await);
    }
}

/// The watch remembers 700 of these keys. A first page has 512, so that the second one has too many.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_become_too_many_to_remember_under_a_difference_are_all_told() {
    let server = Etcd::V3_7.alone(&[]);
    let direct = connect(&server.endpoints()[0]).await;
    let proxy = Proxy::start(&server.endpoints()[0]).unwrap();
    let connection = connect(&proxy.endpoint()).await;
    let large = |name: char, n: u32| [format!("/a/{name}{n:03}").into_bytes(), vec![b'k'; 8_000]].concat();
    for n in 0..450 {
        put(&direct, large('l', n), "").await;
    }
    fill(&direct, "/a/z", 100, 10).await;
    let watch = connection.all_keys().watch(KeyRange::prefix("/a/")).snapshot().track();
    let mut watch = watch.remember_at_most(700 * 8_000);
    let mut follower = Follower::default();
    follower.until_listed(&mut watch).await;
    let last = put(&direct, "/a/z", "").await;
    while follower.events.is_empty() {
        follower.hear(soon(watch.recv()).await.unwrap());
    }
    proxy.close();
    for n in 0..450 {
        put(&direct, large('m', n), "").await;
    }
    direct.raw().delete("/a/z0000", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    let to = compact(&direct).await;
    proxy.open();
    follower.until_listed(&mut watch).await;
    assert!(follower.gaps.len() == 2 && follower.gaps.iter().all(|gap| gap.0 >= last && gap.1 == to));
    assert!(follower.all_keys);
    follower.agrees_with(&contents(&direct, "/a/").await);
}

/// What is not asked for piles up in the server until it is compacted away.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_nobody_asked_for_a_while_misses_nothing_silently() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let server = etcd.alone(&[]);
        let connection = connect(&server.endpoints()[0]).await;
        let writer = connect(&server.endpoints()[0]).await;
        let mut watch = connection.all_keys().watch(KeyRange::prefix("/a/")).snapshot().track();
        let mut follower = Follower::default();
        follower.until_listed(&mut watch).await;
        put(&writer, "/a/x", "").await;
        follower.hear(soon(watch.recv()).await.unwrap());
        for round in 0..4 {
            fill(&writer, "/a/", 1_500, 10_000).await;
            writer.raw().delete(format!("/a/000{round}"), Some(DeleteOptions::new().with_prefix())).await.unwrap();
            compact(&writer).await;
        }
        put(&writer, format!("/a/{END}"), "").await;
        follower.until_end(&mut watch).await;
        follower.agrees_with(&contents(&writer, "/a/").await);
        assert!(follower.gaps.len() <= 1, "{etcd:?}: {:?}", follower.gaps);
        assert!(follower.events.is_sorted_by_key(|(revision, _)| *revision));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_is_watched_on() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let server = Persistent::start(etcd);
        let connection = connect(&server.endpoint()).await;
        let writer = connect(&server.endpoint()).await;
        let mut watch = connection.all_keys().watch(KeyRange::prefix("/a/")).snapshot();
        let mut follower = Follower::default();
        follower.until_listed(&mut watch).await;
        for round in 0..3 {
            fill(&writer, "/a/", 1_000, 10).await;
            if round == 1 {
                // Some of it was heard, some was not.
                follower.hear(soon(watch.recv()).await.unwrap());
            }
            server.signal("-KILL");
            server.up();
        }
        let writer = connect(&server.endpoint()).await;
        put(&writer, format!("/a/{END}"), "").await;
        follower.until_end(&mut watch).await;
        assert_eq!((follower.events.len(), follower.gaps.len(), follower.resets), (3_001, 0, 0), "{etcd:?}");
        follower.agrees_with(&contents(&writer, "/a/").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_wiped_is_told_and_watched_anew() {
    for track in [false, true] {
        let server = Persistent::start(Etcd::V3_7);
        let connection = connect(&server.endpoint()).await;
        fill(&connection, "/a/", 500, 10).await;
        let watch = connection.all_keys().watch(KeyRange::prefix("/a/")).snapshot();
        let mut watch = if track { watch.track() } else { watch };
        let mut follower = Follower::default();
        follower.until_listed(&mut watch).await;
        server.reset();
        // More revisions than before: only the cluster's id tells.
        let writer = connect(&server.endpoint()).await;
        fill(&writer, "/a/", 700, 10).await;
        fill(&writer, "/b/", 2_000, 10).await;
        while follower.resets == 0 {
            follower.hear(soon(watch.recv()).await.unwrap());
        }
        follower.until_listed(&mut watch).await;
        put(&writer, format!("/a/{END}"), "").await;
        follower.until_end(&mut watch).await;
        assert_eq!((follower.resets, follower.gaps.len()), (1, 0));
        follower.agrees_with(&contents(&writer, "/a/").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_paused_is_noticed_and_watched_on() {
    let server = Persistent::start(Etcd::V3_7);
    let connection = connect(&server.endpoint()).await;
    let mut watch = connection.all_keys().watch(KeyRange::prefix("/a/")).outage_timeout(Duration::from_millis(100));
    assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Listed { .. }));
    put(&connection, "/a/1", "").await;
    assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Event(event) if event.kv.key == b"/a/1"));
    server.signal("-STOP");
    let error = soon(watch.recv()).await.unwrap_err();
    assert!(error.kind.is_transient(), "{error}");
    server.signal("-CONT");
    put(&connect(&server.endpoint()).await, "/a/2", "").await;
    loop {
        match soon(watch.recv()).await {
            Ok(Notice::Event(event)) => break assert_eq!(event.kv.key, b"/a/2"),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.kind.is_transient(), "{error}"),
        }
    }
}

/// A quiet watch knows by notifications how far the server is: a compaction is no gap where nothing happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_has_no_gap() {
    let server = Etcd::V3_6.alone(&[]);
    let direct = connect(&server.endpoints()[0]).await;
    let proxy = Proxy::start(&server.endpoints()[0]).unwrap();
    let mut watch = connect(&proxy.endpoint()).await.all_keys().watch(KeyRange::prefix("/quiet/")).track();
    assert!(matches!(soon(watch.recv()).await.unwrap(), Notice::Listed { .. }));
    fill(&direct, "/busy/", 500, 10).await;
    // Longer than the silence after which it asks.
    assert!(tokio::time::timeout(Duration::from_secs(7), watch.recv()).await.is_err());
    proxy.close();
    compact(&direct).await;
    proxy.open();
    put(&direct, "/quiet/a", "").await;
    let notice = soon(watch.recv()).await.unwrap();
    assert!(matches!(&notice, Notice::Event(event) if !event.is_difference), "{notice:?}");
}
