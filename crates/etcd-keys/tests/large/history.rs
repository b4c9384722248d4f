//! What etcd still has of the past: every change once and in order, and where its knowledge begins.

use etcd_keys::kv::{Delete, Put, Txn};
use etcd_keys::watch::{Event, EventKind, History};
use etcd_keys::{ErrorKind, KeyRange};

use crate::server::{Etcd, compact, connect, on_every, put, soon};

async fn all(mut history: History) -> (Vec<Event>, History) {
    let mut events = Vec::new();
    while let Some(event) = soon(history.try_next()).await.unwrap() {
        events.push(event);
    }
    (events, history)
}

/// Key, old value, new value; a deletion has no new value.
fn texts(events: &[Event]) -> Vec<(String, Option<String>, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let old = |event: &Event| event.prev_kv.as_ref().map(|kv| text(&kv.value));
    let new = |event: &Event| (event.kind == EventKind::Put).then(|| text(&event.kv.value));
    events.iter().map(|event| (text(&event.kv.key), old(event), new(event))).collect()
}

fn change(key: &str, old: &str, new: &str) -> (String, Option<String>, Option<String>) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    (key.to_owned(), some(old), some(new))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_with_old_and_new_value() {
    on_every(|etcd: Etcd| async move {
        let server = etcd.alone(&[]);
        let connection = connect(&server.endpoints()[0]).await;
        let keys = connection.keys("/n/").unwrap();
        put(&connection, "/m/", "not here").await;
        let first = keys.put("a", "1").await.unwrap().revision;
        let both = keys.send(Txn::new().then(Put::new("a", "2")).then(Put::new("b", "1"))).await.unwrap().revision;
        keys.send(Delete::key("a")).await.unwrap();
        let last = keys.put("a", "3").await.unwrap().revision;
        put(&connection, "/n0", "nor here").await;

        let (events, history) = all(keys.history(KeyRange::prefix(""))).await;
        let expected = [
            change("a", "", "1"),
            change("a", "1", "2"),
            change("b", "", "1"),
            change("a", "2", ""),
            change("a", "", "3"),
        ];
        assert_eq!(texts(&events), expected, "{etcd:?}");
        assert_eq!((history.first_revision(), history.last_revision()), (1, last + 1));
        assert_eq!(events.iter().filter(|event| event.kv.mod_revision == both).count(), 2);

        // It goes on, also with what came before it was asked to.
        let (before, mut history) = all(keys.history(KeyRange::key("a")).until_revision(first)).await;
        assert_eq!(texts(&before), [change("a", "", "1")], "{etcd:?}");
        history.go_on_until(both);
        let (more, mut history) = all(history).await;
        assert_eq!(texts(&more), [change("a", "1", "2")], "{etcd:?}");
        let newest = keys.put("a", "4").await.unwrap().revision;
        history.go_on_until(newest);
        let expected = [change("a", "2", ""), change("a", "", "3"), change("a", "3", "4")];
        assert_eq!(texts(&all(history).await.0), expected, "{etcd:?}");

        let some = keys.history(KeyRange::key("a")).from_revision(first + 1).until_revision(last - 1);
        assert_eq!(texts(&all(some).await.0), [change("a", "1", "2"), change("a", "2", "")], "{etcd:?}");
        let (none, history) = all(keys.history(KeyRange::prefix("")).from_revision(last + 9)).await;
        assert_eq!((none, history.last_revision()), (vec![], last + 2), "a revision that is not reached yet");
        let (none, _) = all(keys.history(KeyRange::prefix("x"))).await;
        assert_eq!(none, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted_changes_are_not_told_and_it_says_so() {
    on_every(|etcd: Etcd| async move {
        let server = etcd.alone(&[]);
        let connection = connect(&server.endpoints()[0]).await;
        for n in 0..9 {
            put(&connection, "a", n.to_string()).await;
        }
        let compacted = compact(&connection).await;
        put(&connection, "a", "9").await;
        put(&connection, "a", "10").await;
        let (events, history) = all(connection.all_keys().history(KeyRange::key("a"))).await;
        assert_eq!(history.first_revision(), compacted + 1, "{etcd:?}");
        assert_eq!(texts(&events), [change("a", "8", "9"), change("a", "9", "10")], "{etcd:?}");
        compact(&connection).await;
        let (events, history) = all(connection.all_keys().history(KeyRange::key("a"))).await;
        assert_eq!((events, history.first_revision()), (vec![], compacted + 3), "{etcd:?}");
    })
    .await;
}

/// More revisions than fit into one message, and others are written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_while_others_write() {
    on_every(|etcd: Etcd| async move {
        let server = etcd.alone(&[]);
        let connection = connect(&server.endpoints()[0]).await;
        let keys = connection.all_keys();
        for n in 0..1_200 {
            keys.put("a", n.to_string()).await.unwrap();
        }
        let writing = keys.clone();
        let writer = tokio::spawn(async move {
            for n in 0.. {
                writing.put(if n % 2 == 0 { "a" } else { "b" }, "later").await.unwrap();
            }
        });
        let (events, history) = all(keys.history(KeyRange::key("a"))).await;
        writer.abort();
        let revisions: Vec<_> = events.iter().map(|event| event.kv.mod_revision).collect();
        assert!(revisions.is_sorted_by(|one, next| one < next));
        assert!(events.len() >= 1_200 && revisions.last() <= Some(&history.last_revision()), "{etcd:?}");
        let texts: Vec<_> = texts(&events).into_iter().take(1_200).map(|(_, _, new)| new.unwrap()).collect();
        assert_eq!(texts, (0..1_200).map(|n| n.to_string()).collect::<Vec<_>>(), "{etcd:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_etcd_it_is_an_error() {
    let server = Etcd::V3_7.alone(&[]);
    let connection = connect(&server.endpoints()[0]).await;
    put(&connection, "a", "1").await;
    drop(server);
    let mut history = connection.all_keys().history(KeyRange::key("a"));
    let error = soon(history.try_next()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.to_string().starts_with("cannot read the history of `a` at "), "{error}");
    assert_eq!(soon(history.try_next()).await.unwrap(), None);
}
