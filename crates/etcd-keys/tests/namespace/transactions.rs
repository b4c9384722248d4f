//! Transactions: every comparison, nested ones, all or nothing.

use etcd_keys::kv::{Compare, CompareOp, Delete, Get, OpResponse, Put, Swap, Txn};
use etcd_keys::{ErrorKind, KeyRange, Keys, LeaseId};

async fn holds(keys: &Keys, compare: Compare) -> bool {
    keys.send(Txn::new().when(compare)).await.unwrap().succeeded
}

on_every_etcd! {
    async fn what_holds_is_done(keys) {
        let claim = || Txn::new().when(Compare::absent("a")).then(Put::new("a", "mine")).or_else(Get::key("a"));
        let won = keys.send(claim()).await.unwrap();
        assert!(won.succeeded);
        assert!(matches!(&won.responses[..], [OpResponse::Put(put)] if put.revision == won.revision));
        let lost = keys.send(claim()).await.unwrap();
        let [OpResponse::Get(got)] = &lost.responses[..] else { panic!("{lost:?}") };
        assert!(!lost.succeeded && got.kvs[0].key == b"a" && got.kvs[0].value == b"mine");
        assert!(holds(&keys, Compare::unchanged(&got.kvs[0])).await);
    }

    async fn a_key_is_written_only_if_absent_or_unchanged(keys) {
        let lease = keys.grant(std::time::Duration::from_secs(60)).await.unwrap().id();
        let Swap::Written { revision } = keys.put_if_absent("a", "1").await.unwrap() else { panic!("it was absent") };
        let read = keys.get("a").await.unwrap().unwrap();
        assert_eq!((read.value_str().unwrap(), read.mod_revision), ("1", revision));
        assert_eq!(keys.put_if_absent("a", "2").await.unwrap(), Swap::Conflict(Some(read.clone())));
        assert!(matches!(keys.compare_and_swap(&read, "2").await.unwrap(), Swap::Written { .. }));
        let now = keys.get("a").await.unwrap().unwrap();
        assert_eq!((now.value_str().unwrap(), now.version), ("2", 2));
        assert_eq!(keys.compare_and_swap(&read, "3").await.unwrap(), Swap::Conflict(Some(now)));
        keys.delete("a").await.unwrap();
        assert_eq!(keys.compare_and_swap(&read, "3").await.unwrap(), Swap::Conflict(None));
        keys.send(Put::new("a", "4").lease(lease)).await.unwrap();
        let leased = keys.get("a").await.unwrap().unwrap();
        assert!(matches!(keys.compare_and_swap(&leased, "5").await.unwrap(), Swap::Written { .. }));
        assert_eq!(keys.get("a").await.unwrap().unwrap().lease, Some(lease));
    }

    async fn comparisons_compare(keys) {
        let lease = keys.grant(std::time::Duration::from_secs(60)).await.unwrap().id();
        let created = keys.put("a", "m").await.unwrap().revision;
        let written = keys.send(Put::new("a", "m").lease(lease)).await.unwrap().revision;
        let a = || KeyRange::key("a");
        use CompareOp::{Equal, Greater, Less, NotEqual};
        for (op, below, same, above) in
            [(Equal, false, true, false), (NotEqual, true, false, true), (Greater, true, false, false), (Less, false, false, true)]
        {
            for (offset, expected) in [(-1, below), (0, same), (1, above)] {
                assert_eq!(holds(&keys, Compare::version(a(), op, 2 + offset)).await, expected, "version {op:?} {offset}");
                assert_eq!(holds(&keys, Compare::create_revision(a(), op, created + offset)).await, expected);
                assert_eq!(holds(&keys, Compare::mod_revision(a(), op, written + offset)).await, expected);
                assert_eq!(holds(&keys, Compare::lease(a(), op, LeaseId::new(lease.get() + offset))).await, expected);
            }
            for (value, expected) in [("l", below), ("m", same), ("n", above)] {
                assert_eq!(holds(&keys, Compare::value(a(), op, value)).await, expected, "value {op:?} {value}");
            }
        }
    }

    async fn ranges_are_compared_key_by_key(keys) {
        // After the namespace: were the range not to end with it, this would count.
        keys.connection().all_keys().put("/ranges_are_compared_key_by_key0", "new").await.unwrap();
        for key in ["a/1", "a/2", "b"] {
            keys.put(key, "old").await.unwrap();
        }
        let all_old = |range| Compare::value(range, CompareOp::Equal, "old");
        assert!(holds(&keys, all_old(KeyRange::all())).await);
        assert!(holds(&keys, all_old(KeyRange::from_key("a/2"))).await);
        keys.put("a/2", "new").await.unwrap();
        assert!(!holds(&keys, all_old(KeyRange::prefix("a/"))).await);
        assert!(holds(&keys, all_old(KeyRange::between("a/", "a/2"))).await);
        assert!(holds(&keys, all_old(KeyRange::from_key("b"))).await);
        assert!(holds(&keys, Compare::version(KeyRange::prefix("none"), CompareOp::Equal, 0)).await);
        assert!(!holds(&keys, all_old(KeyRange::prefix("none"))).await);
    }

    async fn transactions_nest(keys) {
        keys.put("a", "1").await.unwrap();
        let inner = Txn::new()
            .when(Compare::value(KeyRange::key("a"), CompareOp::Equal, "2"))
            .or_else(Delete::prefix("a").previous())
            .or_else(Put::new("c", "inner"));
        let outer = keys.send(Txn::new().then(inner).then(Get::prefix(""))).await.unwrap();
        let [OpResponse::Txn(inner), OpResponse::Get(got)] = &outer.responses[..] else { panic!("{outer:?}") };
        let [OpResponse::Delete(gone), OpResponse::Put(_)] = &inner.responses[..] else { panic!("{inner:?}") };
        assert!(outer.succeeded && !inner.succeeded && inner.revision == outer.revision);
        assert_eq!((gone.previous[0].key.as_slice(), gone.deleted), (b"a".as_slice(), 1));
        assert_eq!((got.kvs[0].key.as_slice(), got.count), (b"c".as_slice(), 1));
    }

    async fn a_bad_transaction_does_nothing(keys) {
        let twice = Txn::new().then(Put::new("a", "1")).then(Put::new("a", "2"));
        let error = keys.send(twice).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid("duplicate key given in txn request".to_owned()));
        assert!(error.to_string().starts_with("cannot commit a transaction of `/a_bad_transaction_does_nothing/a`"), "{error}");
        let empty = Txn::new().then(Put::new("b", "1")).then(Txn::new().then(Put::new("", "2")));
        assert!(matches!(keys.send(empty).await.unwrap_err().kind, ErrorKind::Invalid(_)));
        let empty = Txn::new().when(Compare::absent("")).then(Put::new("b", "1"));
        assert!(matches!(keys.send(empty).await.unwrap_err().kind, ErrorKind::Invalid(_)));
        assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 0);
    }
}
