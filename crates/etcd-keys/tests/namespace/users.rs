//! Users and roles, and what else goes on while they are changed.

use etcd_keys::{Connect, Connection, ErrorKind, KeyRange};
use testkit::Etcd;

/// Calls made while users are changed.
const CALLS: usize = 300;

async fn connect(url: &str, user: &str) -> Connection {
    Connect::new([url]).user(user, user).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_its_keys_and_others_change_without_it() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let server = etcd.alone(&["--bcrypt-cost", "4"]);
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

        // Etcd refuses requests that it has while users are changed: they are sent again.
        let changing = tokio::spawn(async move {
            loop {
                root.create_user_for("other", "other", &KeyRange::prefix("/other/")).await.unwrap();
                root.delete_user_and_role("other").await.unwrap();
                // Neither is there now.
                root.delete_user_and_role("other").await.unwrap();
            }
        });
        let keys = mine.keys("/mine/").unwrap();
        for n in 0..CALLS {
            keys.put(format!("{n}"), "").await.unwrap();
            assert!(keys.get(format!("{n}")).await.unwrap().is_some());
            assert_eq!(keys.delete(format!("{n}")).await.unwrap().deleted, 1);
        }
        changing.abort();
        assert!(changing.await.unwrap_err().is_cancelled());
    }
}
