//! Paged reads: every key once, at one revision, whatever happens meanwhile.

use etcd_keys::kv::Get;
use etcd_keys::pages::PageSize;
use etcd_keys::{ErrorKind, KeyRange};

use crate::server::{Etcd, Persistent, compact, connect, contents, fill, put, soon};

const SMALL: PageSize = PageSize { first: 100, most: 1500, bytes: 1 << 20 };

#[tokio::test]
async fn every_key_comes_once_at_one_revision() {
    for etcd in Etcd::every() {
        let connection = connect(&etcd.shared_endpoint()).await;
        fill(&connection, "/pages/", 12_000, 64).await;
        let before = contents(&connection, "/pages/").await;
        let mut pages = connection.all_keys().pages(KeyRange::prefix("/pages/")).page_size(SMALL);
        let (mut keys, mut left) = (Vec::new(), 0);
        while let Some(page) = soon(pages.next_page()).await.unwrap() {
            // What is deleted, added and changed now does not show.
            connection.raw().delete(format!("/pages/{:06}", 11_999 - keys.len() / 2), None).await.unwrap();
            put(&connection, format!("/pages/{:06}x", keys.len()), "").await;
            put(&connection, "/pages/011000", "new").await;
            left = page.left();
            keys.extend(page.into_entries());
            assert_eq!(keys.len() as u64 + left, 12_000, "{etcd:?}");
        }
        assert_eq!((keys.len(), left), (12_000, 0), "{etcd:?}");
        for (entry, (key, (value, revision))) in keys.iter().zip(&before) {
            assert!(entry.key == *key && entry.value == *value && entry.mod_revision == *revision, "{etcd:?}");
        }
    }
}

#[tokio::test]
async fn limits_and_keys_alone() {
    for etcd in Etcd::every() {
        let connection = connect(&etcd.shared_endpoint()).await;
        fill(&connection, "/limits/", 5_000, 10).await;
        let range = || KeyRange::prefix("/limits/");
        for limit in [0, 1, 100, 101, 3_333, 5_000, 9_999] {
            // Whatever is said first.
            let pages = connection.all_keys().pages(range()).limit(limit);
            let mut pages = match limit % 2 {
                0 => pages.keys_only().page_size(SMALL),
                _ => pages.page_size(SMALL).keys_only(),
            };
            let mut read = 0;
            while let Some(page) = pages.next_page().await.unwrap() {
                assert!(read > 0 || page.entries().len() <= SMALL.first as usize, "{limit}");
                assert!(page.entries().all(|entry| entry.value().is_empty()));
                read += page.entries().len() as u64;
            }
            assert_eq!(read, limit.min(5_000), "{etcd:?}");
        }
        let count = async |revision| {
            let counted =
                connection.all_keys().send(Get::range(range()).count_only().revision(revision)).await.unwrap();
            (counted.count, counted.revision)
        };
        let (keys, revision) = count(0).await;
        put(&connection, "/limits/x", "").await;
        assert_eq!((keys, count(revision).await.0, count(0).await.0), (5_000, 5_000, 5_001));
        let mut none = connection.all_keys().pages(KeyRange::prefix("/nothing/"));
        assert!(none.next_page().await.unwrap().is_none() && none.seen().unwrap().0 > revision);
        assert!(connection.all_keys().pages(KeyRange::between("b", "a")).next_page().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_pieces() {
    let etcd = Etcd::V3_5.alone(&[]);
    let connection = connect(&etcd.endpoints()[0]).await;
    fill(&connection, "/big/", 60, 1_000_000).await;
    let mut pages = connection.all_keys().pages(KeyRange::prefix("/big/"));
    let (mut read, mut most) = (0, 0);
    while let Some(page) = soon(pages.next_page()).await.unwrap() {
        most = most.max(page.entries().len());
        read += page.entries().len();
    }
    assert_eq!(read, 60);
    assert!(most <= 32, "a page of {most} MB");
}

#[tokio::test]
async fn revisions_that_cannot_be_read_are_errors() {
    for etcd in Etcd::every() {
        let etcd = etcd.alone(&[]);
        let connection = connect(&etcd.endpoints()[0]).await;
        fill(&connection, "/a/", 5_000, 10).await;
        let range = || KeyRange::prefix("/a/");
        let mut reading = connection.all_keys().pages(range()).page_size(SMALL);
        let asked = reading.next_page().await.unwrap().unwrap().revision();
        put(&connection, "/b", "").await;
        let oldest = Some(compact(&connection).await);
        let error = loop {
            // Some may be on its way already.
            match soon(reading.next_page()).await {
                Ok(page) => assert!(page.is_some(), "an end that is none"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::Compacted { asked, oldest }, "{error}");
        let mut before = connection.all_keys().pages(range()).at_revision(2);
        assert_eq!(before.next_page().await.unwrap_err().kind, ErrorKind::Compacted { asked: 2, oldest });
        let mut future = connection.all_keys().pages(range()).at_revision(999_999);
        assert_eq!(future.next_page().await.unwrap_err().kind, ErrorKind::FutureRevision(999_999));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_read_on() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let server = Persistent::start(etcd);
        let connection = connect(&server.endpoint()).await;
        fill(&connection, "/a/", 10_000, 64).await;
        let mut pages = connection.all_keys().pages(KeyRange::prefix("/a/")).page_size(SMALL);
        let first = pages.next_page().await.unwrap().unwrap();
        let (mut read, revision) = (first.entries().len(), first.revision());
        server.signal("-KILL");
        let up = std::thread::spawn(move || {
            server.up();
            server
        });
        while let Some(page) = soon(pages.next_page()).await.unwrap() {
            assert_eq!(page.revision(), revision);
            read += page.entries().len();
        }
        assert_eq!(read, 10_000, "{etcd:?}");
        drop(up.join().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_an_error() {
    let server = Persistent::start(Etcd::V3_7);
    let connection = connect(&server.endpoint()).await;
    fill(&connection, "/a/", 10_000, 64).await;
    let mut pages = connection.all_keys().pages(KeyRange::prefix("/a/")).page_size(SMALL);
    pages.next_page().await.unwrap().unwrap();
    server.signal("-KILL");
    let error = loop {
        match soon(pages.next_page()).await {
            Ok(page) => assert!(page.is_some(), "an end that is none"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().starts_with("cannot read prefix `/a/` at http://127.0.0.1:"), "{error}");
}
