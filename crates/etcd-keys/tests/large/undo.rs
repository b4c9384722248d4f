//! Undo files: what was deleted comes back, what was changed since is left alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use etcd_client::{DeleteOptions, LeaseGrantOptions, PutOptions};
use etcd_keys::undo::{self, Conflict, Restored, UndoError};
use etcd_keys::{Connection, ErrorKind, KeyRange};
use testkit::Proxy;

use crate::server::{Contents, Etcd, connect, contents, fill, on_every, put, soon};

/// etcd's limit for a request is 1.5 MiB; what a put needs beside its value is a few bytes and its key.
const LARGEST: usize = (3 << 19) - 64;

async fn delete(connection: &Connection, prefix: &str, file: &Path) -> (undo::Written, u64) {
    let preview = connection.all_keys().preview_delete(KeyRange::prefix(prefix)).await.unwrap();
    let mut heard = 0;
    let written = undo::write(&preview, file, |keys| heard = keys).await.unwrap();
    assert_eq!((written.keys, heard), (preview.count(), preview.count()));
    let done = preview.into_deletion().run(|_| ()).await.unwrap();
    (written, done.deleted)
}

fn values(contents: &Contents) -> Vec<(&Vec<u8>, &Vec<u8>)> {
    contents.iter().map(|(key, (value, _))| (key, value)).collect()
}

#[tokio::test]
async fn what_was_deleted_comes_back() {
    on_every(|etcd| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("undo");
        let connection = connect(&etcd.shared_endpoint()).await;
        fill(&connection, "/odd/", 3_000, 64).await;
        for tail in [&b"\0"[..], b"\n", b"\xff\xff", b"\"'\\", "ü\u{202e}".as_bytes(), &[b'k'; 100_000]] {
            let key = [b"/odd/", tail].concat();
            put(&connection, key, tail).await;
        }
        put(&connection, "/odd/empty", "").await;
        put(&connection, "/odd/largest", vec![b'x'; LARGEST]).await;
        let lease = connection.raw().lease_grant(600, None::<LeaseGrantOptions>).await.unwrap().id();
        connection.raw().put("/odd/leased", "l", Some(PutOptions::new().with_lease(lease))).await.unwrap();
        let before = contents(&connection, "/odd/").await;

        let (written, deleted) = delete(&connection, "/odd/", &file).await;
        assert_eq!((deleted, written.keys, written.with_lease), (3_009, 3_009, 1), "{etcd:?}");
        assert_eq!(written.bytes, std::fs::metadata(&file).unwrap().len());
        assert!(contents(&connection, "/odd/").await.is_empty());

        let restore = connection.restore(&file);
        let done = restore.run(|_| ()).await.unwrap();
        let all = Restored { total: 3_009, restored: 3_009, without_lease: 1, ..Restored::default() };
        assert_eq!(done, all, "{etcd:?}");
        let after = contents(&connection, "/odd/").await;
        assert_eq!(values(&after), values(&before), "{etcd:?}");

        let again = restore.run(|_| ()).await.unwrap();
        assert_eq!(again, Restored { total: 3_009, unchanged: 3_009, ..Restored::default() });
        assert_eq!(contents(&connection, "/odd/").await, after, "nothing is written twice");
    })
    .await;
}

#[tokio::test]
async fn what_was_changed_since_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    let connection = connect(&Etcd::V3_6.shared_endpoint()).await;
    fill(&connection, "/conflict/", 500, 8).await;
    delete(&connection, "/conflict/", &file).await;
    let mod_revision = put(&connection, "/conflict/000123", "mine").await;
    put(&connection, "/conflict/000124", "vvvvvvvv").await;
    let done = connection.restore(&file).run(|_| ()).await.unwrap();
    let conflicts = vec![Conflict { key: b"/conflict/000123".to_vec(), mod_revision }];
    let expected =
        Restored { total: 500, restored: 498, unchanged: 1, conflicting: 1, conflicts, ..Restored::default() };
    assert_eq!(done, expected);
    assert_eq!(contents(&connection, "/conflict/").await[&b"/conflict/000123"[..]].0, b"mine");
    let done = connection.restore(&file).overwrite().run(|_| ()).await.unwrap();
    assert_eq!((done.unchanged, done.overwritten), (499, 1));
    assert!(contents(&connection, "/conflict/").await.values().all(|(value, _)| value == b"vvvvvvvv"));
}

/// Like a deletion that is killed when its last chunk has left it, and not yet reached the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_deletion_is_undone_with_the_chunk_that_was_on_its_way() {
    on_every(|etcd| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("undo");
        let direct = connect(&etcd.shared_endpoint()).await;
        let proxy = Proxy::start(&etcd.shared_endpoint()).unwrap();
        let connection = connect(&proxy.endpoint()).await;
        fill(&direct, "/half/", 5_000, 8).await;
        let before = contents(&direct, "/half/").await;
        let preview = connection.all_keys().preview_delete(KeyRange::prefix("/half/")).await.unwrap();
        undo::write(&preview, &file, |_| ()).await.unwrap();
        let mut deletion = preview.into_deletion();
        let enough = tokio::sync::Notify::new();
        let mut run = Box::pin(deletion.run(|progress| {
            if progress.deleted > 1_000 {
                proxy.hold();
                enough.notify_one();
            }
        }));
        tokio::select! {
            biased;
            () = enough.notified() => {}
            _ = &mut run => panic!("too quick"),
        }
        // It sends one more chunk (or on a slow machine reads what to cut it into), and hears nothing of it.
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut run).await.is_err(), "too quick");
        let left = contents(&direct, "/half/").await.len();
        assert!((1..4_000).contains(&left), "{etcd:?}: {left}");

        let looked_at_all = |done: &Restored| done.restored + done.unchanged == done.total;
        let restore = direct.restore(&file);
        let release = |so_far: &Restored| {
            if looked_at_all(so_far) {
                proxy.release()
            }
        };
        let done = restore.run(release).await.unwrap();
        assert_eq!((done.restored + done.unchanged, done.conflicting), (5_000, 0), "{etcd:?}: {done:?}");
        assert_eq!(values(&contents(&direct, "/half/").await), values(&before), "{etcd:?}");
        drop(run);
        direct.raw().delete("/half/", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    })
    .await;
}

/// One key is as the deletion left it, and may have a deletion on its way; the other one is deleted by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_delete_meanwhile_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    let connection = connect(&Etcd::V3_7.shared_endpoint()).await;
    fill(&connection, "/others/", 2, 8).await;
    let preview = connection.all_keys().preview_delete(KeyRange::prefix("/others/")).await.unwrap();
    undo::write(&preview, &file, |_| ()).await.unwrap();
    connection.raw().delete("/others/000000", None).await.unwrap();
    let others = async {
        loop {
            connection.raw().delete("/others/000000", None).await.unwrap();
        }
    };
    let restore = connection.restore(&file);
    let done = tokio::select! {
        done = soon(restore.run(|_| ())) => done.unwrap(),
        () = others => panic!(),
    };
    assert_eq!(done, Restored { total: 2, restored: 1, unchanged: 1, ..Restored::default() });
    connection.raw().delete("/others/000000", None).await.unwrap();
    assert_eq!(contents(&connection, "/others/").await.len(), 1);
}

/// What is too much for one transaction goes in smaller ones, each of which looks whether the key is absent.
#[tokio::test]
async fn a_server_with_small_transactions_is_no_reason_to_overwrite() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    let server = Etcd::V3_7.alone(&["--max-txn-ops=64"]);
    let connection = connect(&server.endpoints()[0]).await;
    for n in 0..1_000 {
        put(&connection, format!("/small/{n:04}"), "v").await;
    }
    delete(&connection, "/small/", &file).await;
    let before = put(&connection, "/small/0123", "mine").await;
    let done = connection.restore(&file).run(|_| ()).await.unwrap();
    assert_eq!((done.restored, done.conflicting), (999, 1));
    let revisions = put(&connection, "/small/0123", "").await - before;
    assert!(revisions < 40, "{revisions} for 999 keys: they went one by one, without looking");
}

#[tokio::test]
async fn a_damaged_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    let connection = connect(&Etcd::V3_7.shared_endpoint()).await;
    fill(&connection, "/damaged/", 50, 8).await;
    delete(&connection, "/damaged/", &file).await;
    let whole = std::fs::read(&file).unwrap();
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let cut = |bytes: usize| whole[..bytes].to_vec();
    let text = String::from_utf8(whole.clone()).unwrap();
    // `/damaged/` and `/damaged0`.
    let range = r#""start":"L2RhbWFnZWQv","end":"L2RhbWFnZWQw""#.to_owned();
    assert!(text.lines().next().unwrap().contains(&range), "{text}");
    let elsewhere = "{\"k\":\"L2RhbWFnZWQw\",\"v\":\"\",\"m\":1}\n";
    let damaged = [
        vec![],
        cut(10),
        cut(lines[0].len()),
        cut(lines[0].len() + 7),
        cut(whole.len() - lines[51].len()),
        cut(whole.len() - 4),
        [&whole[..], b"\n"].concat(),
        [&whole[..], lines[1]].concat(),
        [lines[0], lines[1], lines[51]].concat(),
        lines[1..].concat(),
        whole.iter().map(|byte| if *byte == b'k' { 0xff } else { *byte }).collect(),
        // As many keys as there should be: one twice, two in the wrong order, one from elsewhere, and none of the range.
        [&lines[..2], &lines[1..2], &lines[3..]].concat().concat(),
        [&lines[..1], &lines[2..3], &lines[1..2], &lines[3..]].concat().concat(),
        [&lines[..50], &[elsewhere.as_bytes()], &lines[51..]].concat().concat(),
        text.replacen(&range, r#""start":"L2E=","end":"L2I=""#, 1).into_bytes(),
        text.replacen(&range, r#""start":"L2E=","end":"L2""#, 1).into_bytes(),
    ];
    for (n, bytes) in damaged.into_iter().enumerate() {
        std::fs::write(&file, bytes).unwrap();
        let error = connection.restore(&file).run(|_| ()).await.unwrap_err();
        assert!(matches!(error, UndoError::Damaged { .. }), "{n}: {error}");
        assert!(contents(&connection, "/damaged/").await.is_empty(), "{n}: {error}");
    }
    // Files of the past do not say their range.
    std::fs::write(&file, text.replacen(&format!(",{range}"), "", 1)).unwrap();
    assert_eq!(connection.restore(&file).run(|_| ()).await.unwrap().restored, 50);
    let missing = connection.restore(dir.path().join("none")).run(|_| ()).await.unwrap_err();
    assert!(missing.to_string().starts_with("cannot read the undo file `"), "{missing}");
}

#[tokio::test]
async fn a_file_that_is_cut_off_while_it_is_put_back_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    let connection = connect(&Etcd::V3_7.shared_endpoint()).await;
    fill(&connection, "/cut/", 3_000, 500).await;
    delete(&connection, "/cut/", &file).await;
    let whole = std::fs::read(&file).unwrap();
    // Between two lines, and far behind what is read ahead.
    let left: usize = whole.split_inclusive(|byte| *byte == b'\n').take(2_501).map(<[u8]>::len).sum();
    let cut = |_: &Restored| {
        std::fs::File::options().write(true).open(&file).unwrap().set_len(left as u64).unwrap();
    };
    let error = connection.restore(&file).run(cut).await.unwrap_err();
    let there = contents(&connection, "/cut/").await.len() as u64;
    assert!(matches!(&error, UndoError::Changed { restored, .. } if *restored == there), "{there}: {error}");
    assert!((1..=2_500).contains(&there), "{there}");
    std::fs::write(&file, &whole).unwrap();
    let rest = connection.restore(&file).run(|_| ()).await.unwrap();
    assert_eq!((rest.restored, rest.unchanged), (3_000 - there, there));
}

#[tokio::test]
async fn files_are_private_never_overwritten_and_of_one_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    let connection = connect(&Etcd::V3_7.shared_endpoint()).await;
    fill(&connection, "/file/", 10, 8).await;
    delete(&connection, "/file/", &file).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let preview = connection.all_keys().preview_delete(KeyRange::prefix("/file/")).await.unwrap();
    let error = undo::write(&preview, &file, |_| ()).await.unwrap_err();
    assert!(matches!(error, UndoError::File { what: "create", .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    let other = Etcd::V3_6.alone(&[]);
    let other = connect(&other.endpoints()[0]).await;
    let error = other.restore(&file).run(|_| ()).await.unwrap_err();
    let was = connection.endpoint();
    assert!(
        matches!(&error, UndoError::AnotherCluster { endpoint, .. } if endpoint.as_deref() == Some(was)),
        "{error:?}"
    );
    assert!(contents(&other, "/file/").await.is_empty());
    assert_eq!(other.restore(&file).any_cluster().run(|_| ()).await.unwrap().restored, 10);
}

/// Revisions say nothing of another cluster's keys: both count from 1.
#[tokio::test]
async fn a_key_of_the_same_revision_in_another_cluster_is_not_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let (file, servers) = (dir.path().join("undo.jsonl"), [Etcd::V3_7.alone(&[]), Etcd::V3_7.alone(&[])]);
    let [one, other] = [connect(&servers[0].endpoints()[0]).await, connect(&servers[1].endpoints()[0]).await];
    let revisions = [put(&one, "/k", "v1").await, put(&other, "/k", "v2").await];
    assert_eq!(revisions[0], revisions[1]);
    let preview = one.all_keys().preview_delete(KeyRange::key("/k")).await.unwrap();
    undo::write(&preview, &file, |_| ()).await.unwrap();
    let restored = other.restore(&file).any_cluster().run(|_| ()).await.unwrap();
    assert_eq!((restored.conflicting, restored.unchanged), (1, 0));
    let restored = other.restore(&file).any_cluster().overwrite().run(|_| ()).await.unwrap();
    assert_eq!((restored.overwritten, contents(&other, "/k").await[&b"/k"[..]].0.as_slice()), (1, &b"v1"[..]));
}

/// Behind one address there may be another server by the time that the file is written, and even the same cluster id:
/// etcd derives it from its settings.
#[tokio::test]
async fn what_is_written_down_is_what_was_previewed() {
    let servers = [Etcd::V3_6.alone(&[]), Etcd::V3_6.alone(&[])];
    let dir = tempfile::tempdir().unwrap();
    let [before, after] = [connect(&servers[0].endpoints()[0]).await, connect(&servers[1].endpoints()[0]).await];
    for (connection, keys) in [(&before, 3), (&after, 2)] {
        fill(connection, "/u/", keys, 8).await;
        // The revision of the preview is there, too.
        fill(connection, "/other/", 9, 8).await;
    }
    let proxy = Proxy::start(&servers[0].endpoints()[0]).unwrap();
    let keys = connect(&proxy.endpoint()).await.all_keys();
    let preview = keys.preview_delete(KeyRange::prefix("/u/")).await.unwrap();
    proxy.lead_to(&servers[1].endpoints()[0]);
    proxy.cut();
    let error = undo::write(&preview, &dir.path().join("undo"), |_| ()).await.unwrap_err();
    let UndoError::Etcd(error) = error else { panic!("{error}") };
    let ids = (preview.cluster_id(), after.cluster_id().unwrap());
    assert_eq!(error.kind, ErrorKind::AnotherCluster { before: ids.0, now: ids.1 });
}

/// A disk may be slow: what else runs on the runtime's thread is not to wait for it. With the one thread that may block
/// busy, nothing is read.
#[test]
fn files_are_read_where_waiting_stops_nobody() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("undo");
        let connection = connect(&Etcd::V3_6.shared_endpoint()).await;
        fill(&connection, "/slow/", 300, 8).await;
        delete(&connection, "/slow/", &file).await;
        let (count, mut busy) = (Arc::new(AtomicU64::new(0)), None);
        let heard = |done: &Restored| {
            count.store(done.restored, SeqCst);
            let (before, now) = (done.restored, Arc::clone(&count));
            let seen = move || {
                std::thread::park_timeout(Duration::from_millis(300));
                (before, now.load(SeqCst))
            };
            busy.get_or_insert_with(|| tokio::task::spawn_blocking(seen));
        };
        assert_eq!(connection.restore(&file).run(heard).await.unwrap().restored, 300);
        let (before, then) = busy.unwrap().await.unwrap();
        assert!(before == then && before < 300, "{before} keys, then {then}");
    });
}
