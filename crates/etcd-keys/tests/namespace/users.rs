//! Users and roles, and what else goes on while they are changed.

use etcd_keys::watch::Notice;
use etcd_keys::{Connect, Connection, ErrorKind, KeyRange};
use testkit::Etcd;
use testkit::secure::{Ca, Validity};

/// Calls made while users are changed.
const CALLS: usize = 100;

async fn connect(url: &str, user: &str) -> Connection {
    Connect::new([url]).user(user, user).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_its_keys_and_others_change_without_it() {
    // Signed tokens are of one state of the users: each change ends them all.
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.pem");
    std::fs::write(&key, Ca::new().sign(&[], "", Validity::Now).key).unwrap();
    let signed = format!("jwt,priv-key={},sign-method=ES256,ttl=10m", key.display());
    for (etcd, tokens) in [(Etcd::V3_5, "simple"), (Etcd::V3_7, "simple"), (Etcd::V3_5, &signed), (Etcd::V3_7, &signed)]
    {
        let server = etcd.alone(&["--bcrypt-cost", "4", "--auth-token", tokens]);
        let url = server.endpoints().remove(0);
        let nobody = Connect::new([url.as_str()]).connect().await.unwrap();
        let mut raw = nobody.raw();
        raw.user_add("root", "root", None).await.unwrap();
        raw.user_grant_role("root", "root").await.unwrap();
        raw.auth_enable().await.unwrap();
        assert!(nobody.users().await.unwrap_err().kind.is_without_user());

        let root = connect(&url, "root").await;
        root.create_user_for("mine", "mine", &KeyRange::prefix("/mine/")).await.unwrap();
        let mine = connect(&url, "mine").await;
        assert_eq!(mine.roles_of("mine").await.unwrap(), ["mine"]);
        assert!(matches!(mine.users().await.unwrap_err().kind, ErrorKind::Denied(_)));
        let error = mine.all_keys().put("/foreign", "").await.unwrap_err();
        assert!(error.to_string().starts_with("cannot write `/foreign` at "), "{error}");

        let keys = mine.keys("/mine/").unwrap();
        for _ in 0..3 {
            change(&root).await;
            keys.put("a", "").await.unwrap();
            change(&root).await;
            assert!(keys.get("a").await.unwrap().is_some());
            change(&root).await;
            let mut watch = keys.watch(KeyRange::key("none")).snapshot();
            assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { .. }));
        }
        if tokens != "simple" {
            continue;
        }
        // Etcd refuses requests that it has while users are changed: they are sent again.
        let changing = tokio::spawn(async move {
            loop {
                change(&root).await;
            }
        });
        for n in 0..CALLS {
            keys.put(format!("{n}"), "").await.unwrap();
            assert!(keys.get(format!("{n}")).await.unwrap().is_some());
            assert_eq!(keys.delete(format!("{n}")).await.unwrap().deleted, 1);
        }
        changing.abort();
        assert!(changing.await.unwrap_err().is_cancelled());
    }
}

async fn change(root: &Connection) {
    root.create_user_for("other", "other", &KeyRange::prefix("/other/")).await.unwrap();
    root.delete_user_and_role("other").await.unwrap();
    // Neither is there now.
    root.delete_user_and_role("other").await.unwrap();
}
