//! Credentials that end while they are in use: tokens that expire, passwords that are changed, users that are removed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_keys::kv::{Put, Txn};
use etcd_keys::watch::{Notice, Watch};
use etcd_keys::{Connect, Connection, Error, ErrorKind, KeyRange, Keys};
use etcd_local::Ephemeral;
use testkit::{Etcd, Proxy};
use tokio::time::{sleep, timeout};

/// Until something hangs, on a machine under any load.
const HANGS: Duration = Duration::from_secs(60);
/// etcd forgets a token that was not used for a second, and looks for such tokens once a second.
const TOKEN_EXPIRES: Duration = Duration::from_secs(3);

/// A server with the users `root` and `mine`, whose tokens are soon forgotten, and a proxy in front of it.
struct World {
    _server: Ephemeral,
    proxy: Proxy,
    root: Connection,
    mine: Keys,
}

impl World {
    async fn new(etcd: Etcd) -> Self {
        let server = etcd.alone(&["--bcrypt-cost=4", "--auth-token-ttl=1"]);
        let url = server.endpoints().remove(0);
        let mut raw = Connect::new([url.as_str()]).connect().await.unwrap().raw();
        raw.user_add("root", "root", None).await.unwrap();
        raw.user_grant_role("root", "root").await.unwrap();
        raw.auth_enable().await.unwrap();
        let root = Connect::new([url.as_str()]).user("root", "root").connect().await.unwrap();
        root.create_user_for("mine", "mine", &KeyRange::prefix("/mine/")).await.unwrap();
        let proxy = Proxy::start(&url).unwrap();
        let mine = Connect::new([proxy.endpoint()]).user("mine", "mine").connect().await.unwrap();
        Self { _server: server, proxy, root, mine: mine.keys("/mine/").unwrap() }
    }

    async fn put(&self, key: &str) {
        self.root.keys("/mine/").unwrap().put(key, "").await.unwrap();
    }
}

async fn expect(watch: &mut Watch, key: &str) {
    let notice = timeout(HANGS, watch.recv()).await;
    let Ok(Ok(Notice::Event(event))) = notice else { panic!("for `{key}` there is {notice:?}") };
    assert_eq!(event.kv.key_str().unwrap(), key);
}

#[track_caller]
fn denied(error: &Error, words: &str) {
    assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_and_calls_go_on_when_their_token_has_expired() {
    tokio::join!(watches_and_calls(Etcd::V3_5), watches_and_calls(Etcd::V3_7));
}

async fn watches_and_calls(etcd: Etcd) {
    let world = World::new(etcd).await;
    let mut watch = world.mine.watch(KeyRange::all());
    assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { .. }));
    sleep(TOKEN_EXPIRES).await;
    world.put("in the open watch").await;
    expect(&mut watch, "in the open watch").await;
    world.proxy.cut();
    world.put("while it is resumed").await;
    expect(&mut watch, "while it is resumed").await;
    sleep(TOKEN_EXPIRES).await;
    world.mine.put("call", "").await.unwrap();
    expect(&mut watch, "call").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_deletion_goes_on_when_its_token_has_expired() {
    tokio::join!(long_deletion(Etcd::V3_5), long_deletion(Etcd::V3_7));
}

async fn long_deletion(etcd: Etcd) {
    const KEYS: u64 = 3_000;
    let world = World::new(etcd).await;
    let numbers: Vec<u64> = (0..KEYS).collect();
    for some in numbers.chunks(100) {
        let puts = some.iter().fold(Txn::new(), |txn, n| txn.then(Put::new(format!("{n:04}"), "")));
        world.mine.send(puts).await.unwrap();
    }
    let mut deletion = world.mine.preview_delete(KeyRange::all()).await.unwrap().into_deletion();
    // In the middle: etcd gets the request for the next chunk when the token has expired.
    let (proxy, began) = (Arc::new(world.proxy), Instant::now());
    let (held, mut is_first) = (Arc::clone(&proxy), true);
    let deleting = tokio::spawn(async move {
        let hold = |_| {
            if std::mem::take(&mut is_first) {
                held.hold();
            }
        };
        deletion.run(hold).await
    });
    while !proxy.has_held() {
        assert!(began.elapsed() < HANGS);
        sleep(Duration::from_millis(5)).await;
    }
    sleep(TOKEN_EXPIRES).await;
    proxy.release();
    assert_eq!(deleting.await.unwrap().unwrap().deleted, KEYS);
    assert_eq!(world.mine.count(KeyRange::all()).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_and_a_user_that_was_removed_are_said() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let world = World::new(etcd).await;
        let mut watch = world.mine.watch(KeyRange::all());
        assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { .. }));
        world.mine.put("a", "").await.unwrap();
        expect(&mut watch, "a").await;
        let mut raw = world.root.raw();
        raw.user_change_password("mine", "other").await.unwrap();
        let wrong = "authentication failed, invalid user ID or password (as the user `mine`)";
        denied(&world.mine.put("b", "").await.unwrap_err(), wrong);
        denied(&world.mine.get("b").await.unwrap_err(), wrong);
        world.proxy.cut();
        denied(&timeout(HANGS, watch.recv()).await.unwrap().unwrap_err(), wrong);
        // The right one again.
        raw.user_change_password("mine", "mine").await.unwrap();
        world.mine.put("c", "").await.unwrap();

        world.root.delete_user_and_role("mine").await.unwrap();
        denied(&world.mine.put("d", "").await.unwrap_err(), wrong);
    }
}
