//! Reading, writing, deleting.

use etcd_keys::kv::{Delete, Get, Put, SortOrder, SortTarget};
use etcd_keys::pages::PageSize;
use etcd_keys::watch::{Batch, Notice};
use etcd_keys::{ErrorKind, KeyRange, KeyValue};

fn names(kvs: &[KeyValue]) -> Vec<String> {
    kvs.iter().map(|kv| String::from_utf8(kv.key.clone()).unwrap()).collect()
}

on_every_etcd! {
    async fn what_is_written_is_read(keys) {
        assert_eq!(keys.get("a").await.unwrap(), None);
        let first = keys.put("a", "1").await.unwrap();
        let second = keys.send(Put::new("a", "2").previous()).await.unwrap();
        assert_eq!(first.previous, None);
        assert_eq!(second.previous.unwrap().value, b"1");
        let found = keys.get("a").await.unwrap().unwrap();
        assert_eq!((found.key_str().unwrap(), found.value_str().unwrap(), found.json::<u8>().unwrap()), ("a", "2", 2));
        let expected = (first.revision, second.revision, 2, None);
        assert_eq!((found.create_revision, found.mod_revision, found.version, found.lease), expected);
        let then = keys.send(Get::key("a").revision(first.revision)).await.unwrap();
        assert_eq!(then.kvs[0].value, b"1");
        assert!(then.revision >= second.revision);
        let full = keys.connection().all_keys().get("/what_is_written_is_read/a").await.unwrap().unwrap();
        assert_eq!(full.value, b"2");
    }

    async fn a_touch_keeps_the_value_and_the_lease(keys) {
        let lease = keys.grant(std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!(keys.send(Put::touch("a")).await.unwrap_err().kind, ErrorKind::NoKey);
        assert_eq!(keys.send(Put::new("a", "").keep_lease()).await.unwrap_err().kind, ErrorKind::NoKey);
        keys.send(Put::new("a", "1").lease(lease.id())).await.unwrap();
        keys.send(Put::touch("a").keep_lease()).await.unwrap();
        let found = keys.get("a").await.unwrap().unwrap();
        assert_eq!((found.value.as_slice(), found.lease, found.version), (b"1".as_slice(), Some(lease.id()), 2));
        keys.send(Put::new("a", "2")).await.unwrap();
        assert_eq!(keys.get("a").await.unwrap().unwrap().lease, None);
    }

    async fn ranges_have_what_they_should(keys) {
        for key in ["a/1", "a/2", "a/3", "a0", "b"] {
            keys.put(key, format!("of {key}")).await.unwrap();
        }
        keys.put("a/1", "again").await.unwrap();
        assert_eq!(names(&keys.prefix("a/").await.unwrap().kvs), ["a/1", "a/2", "a/3"]);
        assert_eq!(names(&keys.prefix("").await.unwrap().kvs), ["a/1", "a/2", "a/3", "a0", "b"]);
        assert_eq!(names(&keys.range(KeyRange::from_key("a/3")).await.unwrap().kvs), ["a/3", "a0", "b"]);
        assert_eq!(names(&keys.range(KeyRange::between("a/2", "a0")).await.unwrap().kvs), ["a/2", "a/3"]);
        assert_eq!(keys.range(KeyRange::between("b", "a")).await.unwrap().count, 0);
        assert_eq!(keys.count(KeyRange::prefix("a/")).await.unwrap(), 3);

        let page = keys.send(Get::prefix("a/").limit(2)).await.unwrap();
        assert!(page.more && page.count == 3 && names(&page.kvs) == ["a/1", "a/2"]);
        let bare = keys.send(Get::prefix("a/").keys_only()).await.unwrap();
        assert!(bare.kvs.iter().all(|kv| kv.value.is_empty()) && bare.kvs.len() == 3);
        let newest = Get::prefix("").sort(SortTarget::Mod, SortOrder::Descend).limit(1).serializable();
        assert_eq!(names(&keys.send(newest).await.unwrap().kvs), ["a/1"]);
        let since = keys.get("a/3").await.unwrap().unwrap().mod_revision;
        let later = keys.send(Get::prefix("").min_mod_revision(since + 1)).await.unwrap();
        assert_eq!(names(&later.kvs), ["a/1", "a0", "b"]);
        let before = keys.send(Get::prefix("").max_create_revision(since)).await.unwrap();
        assert_eq!(names(&before.kvs), ["a/1", "a/2", "a/3"]);
    }

    async fn pages_have_every_key_once_and_without_the_prefix(keys) {
        let around = keys.connection().all_keys();
        let prefix = keys.namespace().prefix();
        for outside in [prefix.to_vec(), [&prefix[..prefix.len() - 1], b"0"].concat()] {
            around.put(outside, "outside").await.unwrap();
        }
        let names: Vec<String> = (0..300).map(|n| format!("k{n:03}")).collect();
        for name in &names {
            keys.put(name.as_str(), "v").await.unwrap();
        }
        let small = PageSize { first: 7, most: 50, bytes: 1 << 20 };
        let mut pages = keys.pages(KeyRange::all()).page_size(small);
        let mut read = Vec::new();
        while let Some(kv) = pages.try_next().await.unwrap() {
            assert_eq!(kv.value, b"v");
            read.push(String::from_utf8(kv.key).unwrap());
            keys.delete(names.last().unwrap().as_str()).await.unwrap(); // It is there at the read's revision.
        }
        assert_eq!(read, names);
        let mut pages = keys.pages(KeyRange::all());
        let page = pages.next_page().await.unwrap().unwrap();
        assert!(page.entries().map(|entry| entry.key()).eq(names[..299].iter().map(String::as_bytes)), "{page:?}");
        assert!(page.into_entries().map(|kv| kv.key).eq(names[..299].iter().map(|name| name.as_bytes().to_vec())));
        let mut few = keys.pages(KeyRange::prefix("k1")).keys_only().limit(2);
        assert_eq!(few.try_next().await.unwrap().unwrap().key, b"k100");
        assert_eq!(few.try_next().await.unwrap().unwrap().key, b"k101");
        assert_eq!(few.try_next().await.unwrap(), None);
    }

    async fn chunks_delete_the_namespaces_keys_and_no_others(keys) {
        let around = keys.connection().all_keys();
        let prefix = keys.namespace().prefix();
        let outside = [prefix.to_vec(), [&prefix[..prefix.len() - 1], b"0"].concat()];
        for key in &outside {
            around.put(key.as_slice(), "outside").await.unwrap();
        }
        for n in 0..300 {
            keys.put(format!("k{n:03}"), "v").await.unwrap();
        }
        assert_eq!(keys.delete_in_chunks(KeyRange::prefix("k2")).await.unwrap().deleted, 100);
        assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 200);
        assert_eq!(keys.delete_in_chunks(KeyRange::all()).await.unwrap().deleted, 200);
        for key in &outside {
            assert!(around.get(key.as_slice()).await.unwrap().is_some());
        }
    }

    async fn deletions_tell_what_went(keys) {
        for key in ["a/1", "a/2", "b", "c"] {
            keys.put(key, "x").await.unwrap();
        }
        let gone = keys.send(Delete::prefix("a/").previous()).await.unwrap();
        assert_eq!((gone.deleted, names(&gone.previous)), (2, vec!["a/1".to_owned(), "a/2".to_owned()]));
        assert_eq!(keys.delete("b").await.unwrap().deleted, 1);
        assert_eq!(keys.delete("b").await.unwrap().deleted, 0);
        assert_eq!(keys.delete_range(KeyRange::between("c", "")).await.unwrap().deleted, 0);
        assert_eq!(keys.delete_range(KeyRange::all()).await.unwrap().deleted, 1);
    }

    async fn namespaces_nest_and_are_apart(keys) {
        let (a, ab) = (keys.child("a/").unwrap(), keys.child("a/b/").unwrap());
        ab.put("k", "deep").await.unwrap();
        a.put("b", "sibling").await.unwrap();
        assert_eq!(keys.get("a/b/k").await.unwrap().unwrap().value, b"deep");
        assert_eq!(a.child("b/").unwrap().get("k").await.unwrap().unwrap().key, b"k");
        assert_eq!(names(&a.prefix("").await.unwrap().kvs), ["b", "b/k"]);
        assert_eq!(ab.delete_range(KeyRange::all()).await.unwrap().deleted, 1);
        assert_eq!(names(&keys.prefix("").await.unwrap().kvs), ["a/b"]);
        assert!(matches!(keys.child("").unwrap_err().kind, ErrorKind::Invalid(_)));
        assert!(matches!(keys.connection().keys("").unwrap_err().kind, ErrorKind::Invalid(_)));
    }

    async fn the_empty_key_is_none(keys) {
        keys.connection().all_keys().put("/the_empty_key_is_none/", "canary").await.unwrap();
        for error in [keys.get("").await.unwrap_err(), keys.put("", "x").await.unwrap_err(), keys.delete("").await.unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Invalid("key is not provided".to_owned()));
            assert!(error.to_string().contains("`/the_empty_key_is_none/` at http://127"), "{error}");
        }
        assert_eq!(keys.delete_range(KeyRange::all()).await.unwrap().deleted, 0);
        assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 0);
    }
}

on_every_etcd! {
    async fn a_watch_tells_keys_without_the_prefix_and_none_of_others(keys) {
        keys.put("a", "1").await.unwrap();
        let mut watch = keys.watch(KeyRange::all()).snapshot();
        let Notice::Key(entry) = watch.recv().await.unwrap() else { panic!("no key") };
        assert_eq!((entry.key.as_slice(), entry.value.as_slice()), (b"a".as_slice(), b"1".as_slice()));
        assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { keys: 1, .. }));
        let prefix = keys.namespace().prefix();
        let outside = [&prefix[..prefix.len() - 1], b"~"].concat();
        let mut kv = keys.connection().raw();
        kv.put(outside, "x", None).await.unwrap();
        kv.put([prefix, b"\xff"].concat(), "y", None).await.unwrap();
        let Notice::Event(event) = watch.recv().await.unwrap() else { panic!("no event") };
        assert_eq!((event.kv.key.as_slice(), event.kv.value.as_slice()), (b"\xff".as_slice(), b"y".as_slice()));
        let mut watch = keys.watch(KeyRange::all()).snapshot().track();
        let Batch::Keys(page) = watch.recv_batch().await.unwrap() else { panic!("no keys") };
        assert!(page.entries().map(|entry| entry.key()).eq([b"a".as_slice(), b"\xff"]));
        assert!(matches!(watch.recv_batch().await.unwrap(), Batch::Listed { .. }));
        keys.delete("a").await.unwrap();
        let Batch::Events(events) = watch.recv_batch().await.unwrap() else { panic!("no events") };
        assert_eq!(events.iter().next().unwrap().kv().key(), b"a");
    }
}
