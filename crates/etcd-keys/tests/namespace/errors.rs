//! What goes wrong, as real etcds say it: kind, operation, keys, endpoint.

use etcd_client::{AlarmAction, AlarmType, Permission};
use etcd_keys::kv::{Get, Put, Txn};
use etcd_keys::{ErrorKind, KeyRange};

on_every_etcd! {
    own(None): async fn revisions_that_cannot_be_read(etcd, connect) {
        let connection = connect.connect().await.unwrap();
        let keys = connection.keys("/n/").unwrap();
        for _ in 0..9 {
            keys.put("a", "x").await.unwrap();
        }
        let now = keys.send(Get::key("a")).await.unwrap().revision;
        connection.raw().compact(now - 2, None).await.unwrap();
        assert_eq!(keys.send(Get::key("a").revision(now - 2)).await.unwrap().kvs.len(), 1);

        let compacted = ErrorKind::Compacted { asked: 3, oldest: Some(now - 2) };
        let error = keys.send(Get::key("a").revision(3)).await.unwrap_err();
        assert_eq!(error.kind, compacted);
        let expected = format!(
            "cannot read `/n/a` at {}: revision 3 is compacted; the oldest that can be read is {}",
            etcd.endpoints()[0],
            now - 2
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.source.is_some());
        let future = keys.send(Get::prefix("").revision(now + 5)).await.unwrap_err();
        assert_eq!(future.kind, ErrorKind::FutureRevision(now + 5));
        assert!(future.to_string().starts_with("cannot read keys below `/n/` at "), "{future}");

        let txn = |revision| Txn::new().then(Get::key("a")).or_else(Txn::new().then(Get::key("b").revision(revision)));
        let txn = |revision| Txn::new().then(txn(now)).then(Get::key("a").revision(revision));
        assert_eq!(keys.send(txn(3)).await.unwrap_err().kind, compacted);
        assert_eq!(keys.send(txn(now + 5)).await.unwrap_err().kind, ErrorKind::FutureRevision(now + 5));
    }
}

on_every_etcd! {
    async fn requests_that_are_too_large(keys) {
        // Over etcd's own limit, and over that of its gRPC server.
        for size in [1_600_000, 3_000_000] {
            let error = keys.put("a", vec![b'x'; size]).await.unwrap_err();
            assert!(matches!(error.kind, ErrorKind::TooLarge(_)), "{error}");
            assert!(!error.kind.is_transient());
        }
        let puts = |count: usize| (0..count).fold(Txn::new(), |txn, i| txn.then(Put::new(format!("k{i}"), "")));
        assert!(matches!(keys.send(puts(129)).await.unwrap_err().kind, ErrorKind::TooLarge(_)));
        assert!(keys.send(puts(128)).await.unwrap().succeeded);
        assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 128);
    }

    async fn answers_may_be_large(keys) {
        for i in 0..5 {
            keys.put(format!("k{i}"), vec![b'x'; 1_000_000]).await.unwrap();
        }
        assert_eq!(keys.prefix("").await.unwrap().kvs.len(), 5);
        assert_eq!(keys.delete_range(KeyRange::all()).await.unwrap().deleted, 5);
    }
}

on_every_etcd! {
    own(Some("--quota-backend-bytes=2000000")): async fn a_full_database(_etcd, connect) {
        let connection = connect.connect().await.unwrap();
        let keys = connection.keys("/n/").unwrap();
        let full = loop {
            if let Err(error) = keys.put("a", vec![b'x'; 500_000]).await {
                break error;
            }
        };
        assert_eq!(full.kind, ErrorKind::NoSpace, "{full}");
        assert!(full.to_string().starts_with("cannot write `/n/a` at http://"), "{full}");
        let refused = keys.grant(std::time::Duration::from_secs(9)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::NoSpace);
        assert!(refused.to_string().starts_with("cannot grant a lease for `/n/` at"), "{refused}");
        assert_eq!(keys.delete("a").await.unwrap().deleted, 1);
        let alarms = connection.raw().alarm(AlarmAction::Get, AlarmType::Nospace, None).await.unwrap();
        assert_eq!(alarms.alarms().len(), 1);
    }
}

on_every_etcd! {
    own(None): async fn users_without_rights(etcd, connect) {
        let connection = connect.connect().await.unwrap();
        let mut client = connection.raw();
        for user in ["root", "confined"] {
            client.user_add(user, "secret", None).await.unwrap();
            client.role_add(user).await.unwrap();
            client.user_grant_role(user, user).await.unwrap();
        }
        let own = Permission::read_write("/own/").with_prefix();
        client.role_grant_permission("confined", own).await.unwrap();
        let error = crate::fixture::connect(&etcd).user("root", "secret").connect().await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Denied(_)), "auth is off: {error}");
        client.auth_enable().await.unwrap();

        let error = crate::fixture::connect(&etcd).user("root", "wrong").connect().await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Denied(_)) && error.to_string().starts_with("cannot connect at"), "{error}");
        let nobody = crate::fixture::connect(&etcd).connect().await.unwrap();
        assert_eq!((connection.cluster_id(), nobody.cluster_id()), (Some(etcd.cluster_id().0), None));
        let error = nobody.all_keys().get("a").await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");

        let confined = crate::fixture::connect(&etcd).user("confined", "secret").connect().await.unwrap();
        let keys = confined.keys("/own/").unwrap();
        keys.put("a", "x").await.unwrap();
        assert_eq!(keys.prefix("").await.unwrap().count, 1);
        keys.lock("l").await.unwrap().release().await.unwrap();
        let others = confined.keys("/others/").unwrap();
        for error in [others.put("a", "x").await.unwrap_err(), others.prefix("").await.unwrap_err()] {
            assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");
            assert_eq!(format!("{:?}", error.code().unwrap()), "PermissionDenied");
            assert!(error.to_string().ends_with(": refused by etcd: permission denied (as the user `confined`)"), "{error}");
        }
        let error = others.lock("l").await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");
    }
}
