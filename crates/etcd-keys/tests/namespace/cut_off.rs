//! A member that its peers have lost, while clients still reach it: nothing breaks, and it cannot serve. Watches, reads and
//! leases go on at another member, and no write is repeated.

use std::time::{Duration, Instant};

use etcd_keys::watch::{Notice, Watch};
use etcd_keys::{Connect, ErrorKind, KeyRange, Keys, Lease};
use testkit::{Etcd, Members};
use tokio::time::timeout;

/// Until something hangs, on a machine under any load.
const HANGS: Duration = Duration::from_secs(60);
/// What a member that has lost its leader got before it knew that is never answered.
const SHORT: Duration = Duration::from_millis(250);
const CHANGES: i64 = 20;

struct World {
    _dir: tempfile::TempDir,
    cluster: Members,
    /// By all members, one of which it uses.
    keys: Keys,
    /// The place of that member.
    used: usize,
    /// By the others.
    direct: Keys,
}

impl World {
    /// A connection that uses the leader, or another member.
    async fn new(etcd: Etcd, uses_leader: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        testkit::leftovers::remove_if_killed(dir.path());
        let cluster = Members::start(&etcd.program(), dir.path(), 3).unwrap();
        let used = if uses_leader { cluster.leader().unwrap() } else { (cluster.leader().unwrap() + 1) % 3 };
        let mut endpoints = cluster.endpoints();
        let first = endpoints.remove(used);
        // Others come into the list afterwards: which of several answers first is chance.
        let connection = Connect::new([first]).connect().await.unwrap();
        connection.change_endpoints(endpoints.iter().map(String::as_str), []).await.unwrap();
        let direct = Connect::new(endpoints).request_timeout(SHORT).connect().await.unwrap().keys("/n/").unwrap();
        Self { _dir: dir, cluster, keys: connection.keys("/n/").unwrap(), used, direct }
    }

    /// Writes a key once by another member, as soon as the members that have each other have a leader.
    async fn put(&self, key: &str) {
        let began = Instant::now();
        while let Err(error) = self.direct.put_if_absent(key, "").await {
            assert!(began.elapsed() < HANGS, "{error}");
        }
    }
}

async fn expect(watch: &mut Watch, key: &str) {
    let notice = timeout(HANGS, watch.recv()).await;
    let Ok(Ok(Notice::Event(event))) = notice else { panic!("for `{key}` there is {notice:?}") };
    assert_eq!(event.kv.key_str().unwrap(), key, "each once, in order");
}

/// Returns when the lease was renewed so often. Twice: a new leader gives leases their whole time by itself.
async fn renewed(lease: &Lease, times: u32) {
    let (began, mut count, mut last) = (Instant::now(), 0, Duration::MAX);
    while count < times {
        assert!(began.elapsed() < HANGS, "the lease is not renewed");
        if let Ok(remaining) = lease.remaining().await {
            count += u32::from(remaining.ttl > last);
            last = remaining.ttl;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn moves_on(etcd: Etcd, uses_leader: bool) {
    let mut world = World::new(etcd, uses_leader).await;
    let mut watch = world.keys.watch(KeyRange::prefix("change"));
    assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { .. }));
    world.put("change").await;
    expect(&mut watch, "change").await;
    let keeper = world.keys.grant(Duration::from_secs(6)).await.unwrap().keep().await.unwrap();

    world.cluster.cut_off(world.used).unwrap();
    // What it may have, its peers do not get. Who wrote decides what to do.
    let keys = world.keys.clone();
    let writing = tokio::spawn(async move { keys.put("written", "1").await });
    for n in 0..CHANGES {
        world.put(&format!("change{n:02}")).await;
    }
    for n in 0..CHANGES {
        expect(&mut watch, &format!("change{n:02}")).await;
    }
    // The newest state, at once: the connection has moved.
    assert_eq!(world.keys.count(KeyRange::prefix("change")).await.unwrap(), CHANGES + 1);
    renewed(&world.direct.lease(keeper.lease().id()), 2).await;
    assert!(keeper.is_certain());
    world.keys.put("moved", "1").await.unwrap();
    let written = writing.await.unwrap();

    world.cluster.reconnect(world.used).unwrap();
    world.put("change-end").await;
    expect(&mut watch, "change-end").await;
    let found = world.keys.get("written").await.unwrap();
    match written {
        Ok(put) => assert_eq!(found.unwrap().mod_revision, put.revision),
        Err(error) => assert!(error.kind.is_transient(), "{error}"),
    }
    assert!(world.keys.get("written").await.unwrap().is_none_or(|kv| kv.version == 1), "a write was repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_cut_off_is_left() {
    moves_on(Etcd::V3_7, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_is_left() {
    moves_on(Etcd::V3_7, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_3_5_that_is_cut_off_is_left() {
    moves_on(Etcd::V3_5, true).await;
}

/// Keep-alives go on at another member, and end with the lease.
#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_elsewhere_when_their_member_is_killed() {
    let mut world = World::new(Etcd::V3_7, true).await;
    let lease = world.keys.grant(Duration::from_secs(6)).await.unwrap();
    let keeper = lease.keep().await.unwrap();
    world.cluster.kill(world.used).unwrap();
    let elsewhere = world.direct.lease(lease.id());
    renewed(&elsewhere, 2).await;
    assert!(keeper.is_certain());
    let began = Instant::now();
    while let Err(error) = elsewhere.revoke().await {
        assert!(began.elapsed() < HANGS && error.kind != ErrorKind::NoLease, "{error}");
    }
    timeout(HANGS, keeper.lost()).await.unwrap();
}
