//! Connecting, and what happens when nobody, or somebody else, is there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[cfg(target_os = "linux")]
use etcd_keys::KeyRange;
#[cfg(target_os = "linux")]
use etcd_keys::watch::Notice;
use etcd_keys::{Connect, ErrorKind};
use etcd_local::{Ephemeral, Member};
use tokio::time::timeout;

use crate::fixture::{Etcd, builder, connect, connection, runtime};

/// Nobody waits so long: what ends sooner did not wait for it.
const NEVER: Duration = Duration::from_secs(3_600);
/// Until something hangs, on a machine under any load.
const HANGS: Duration = Duration::from_secs(60);

fn bound() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A port that nobody listens on.
fn closed() -> String {
    format!("http://127.0.0.1:{}", testkit::free_port())
}

async fn failure(connect: Connect) -> (ErrorKind, String) {
    let error = timeout(HANGS, connect.connect()).await.unwrap().map(drop).unwrap_err();
    (error.kind.clone(), error.to_string())
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let url = closed();
    let (kind, text) = failure(Connect::new([url.as_str()]).connect_timeout(NEVER).request_timeout(NEVER)).await;
    assert_eq!((kind, text), (ErrorKind::Unreachable, format!("cannot connect at {url}: no etcd answers")));
}

#[tokio::test]
async fn somebody_silent_is_left_in_time() {
    let (_listener, url) = bound();
    let connect = Connect::new([url]).connect_timeout(Duration::from_millis(300)).request_timeout(NEVER);
    assert_eq!(failure(connect).await.0, ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_web_server_is_no_etcd() {
    let (listener, url) = bound();
    std::thread::spawn(move || {
        let answer = |mut stream: TcpStream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        listener.incoming().flatten().for_each(answer);
    });
    let connect = Connect::new([url]).connect_timeout(NEVER).request_timeout(NEVER);
    assert_eq!(failure(connect).await.0, ErrorKind::Unreachable);
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused() {
    for (endpoint, why) in [("", "no endpoint is given"), ("ftp://a:1", "it must begin with http"), ("a:b", "its port")]
    {
        let (kind, text) = failure(Connect::new([endpoint])).await;
        assert!(matches!(&kind, ErrorKind::Invalid(message) if message.contains(why)), "{text}");
    }
    let (_, text) = failure(Connect::new(["http://root:secret@127.0.0.1:1"])).await;
    assert!(!text.contains("secret"), "{text}");
    let shown = format!("{:?}", Connect::new(["a:1"]).user("root", "secret"));
    assert!(shown.contains("root") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn endpoints_may_be_plain_and_lists() {
    let etcd = connection(Etcd::V3_7).unwrap();
    let plain = etcd.endpoint().strip_prefix("http://").unwrap().to_owned();
    let connection = Connect::new([format!("{plain}, {}", closed())]).connect().await.unwrap();
    connection.all_keys().get("a").await.unwrap();
}

#[tokio::test]
async fn dead_endpoints_cost_no_call() {
    let live = connection(Etcd::V3_7).unwrap().endpoint().to_owned();
    let (_silent, silent) = bound();
    for dead in [closed(), silent] {
        let connect = Connect::new([dead, live.clone()]).connect_timeout(NEVER).request_timeout(NEVER);
        let connection = timeout(HANGS, connect.connect()).await.unwrap().unwrap();
        // Balanced over both, every second one of these would wait or fail.
        for _ in 0..20 {
            timeout(HANGS, connection.all_keys().get("a")).await.unwrap().unwrap();
        }
    }
}

/// From a runtime that ends with the call.
fn once<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
}

/// A cluster of three members, and a connection to all of them.
fn three_members() -> (etcd_keys::Connection, Ephemeral) {
    let cluster = builder().members(3).unwrap().start_ephemeral().unwrap();
    let connection = once(Connect::new(cluster.endpoints()).runtime(runtime().clone()).connect()).unwrap();
    (connection, cluster)
}

/// The member that a connection uses.
fn used<'a>(connection: &etcd_keys::Connection, cluster: &'a Ephemeral) -> &'a Member {
    let began = std::time::Instant::now();
    let answer = loop {
        // Until there is a leader.
        match once(connection.raw().get("a", None)) {
            Ok(answer) => break answer,
            Err(error) => assert!(began.elapsed() < HANGS, "{error}"),
        }
    };
    let id = answer.header().unwrap().member_id();
    cluster.members().iter().find(|member| member.id() == id).unwrap()
}

#[test]
fn the_next_member_takes_over_and_the_first_read_succeeds() {
    let (connection, cluster) = three_members();
    let keys = connection.all_keys();
    let revision = once(keys.put("a", "x")).unwrap().revision;
    let killed = used(&connection, &cluster);
    killed.kill().unwrap();
    // Whether the connection was known to be dead by then, or broke under the read.
    assert_eq!(once(keys.get("a")).unwrap().unwrap().mod_revision, revision);
    assert_ne!(used(&connection, &cluster).id(), killed.id());
    // The runtime of the call that connected anew has ended, and the connection has not.
    once(keys.put("a", "y")).unwrap();
}

#[test]
fn a_write_that_was_not_sent_goes_to_the_next_member() {
    let (connection, cluster) = three_members();
    let keys = connection.all_keys();
    let mut watch = once(connection.raw().watch("a", None)).unwrap();
    assert!(once(watch.message()).unwrap().unwrap().created());
    // A follower: the cluster can write without it at once.
    let leader = cluster.leader().unwrap().id();
    if used(&connection, &cluster).id() == leader {
        let other = cluster.members().iter().find(|member| member.id() != leader).unwrap();
        cluster.move_leadership(other).unwrap();
    }
    used(&connection, &cluster).kill().unwrap();
    // The connection is known to be dead: nothing of what follows can have been sent over it.
    assert!(once(watch.message()).is_err());
    once(keys.put("a", "x")).unwrap();
    assert_eq!(once(keys.get("a")).unwrap().unwrap().version, 1);
}

/// An error at once where both answer, and not later than a call would go there: neither a read nor a write does.
#[test]
fn two_clusters_in_one_list_are_an_error() {
    let (one, other) = (builder().start_ephemeral().unwrap(), builder().start_ephemeral().unwrap());
    let proxy = testkit::Proxy::start(&other.endpoints()[0]).unwrap();
    let connect = || Connect::new([one.endpoints().remove(0), proxy.endpoint()]).runtime(runtime().clone()).connect();
    let ids = [one.cluster_id().0, other.cluster_id().0];
    // The second may be slower than the first by more than it is waited for.
    assert!(testkit::eventually(|| match once(connect()) {
        Ok(_) => false,
        Err(error) =>
            matches!(error.kind, ErrorKind::AnotherCluster { before, now } if before != now && ids.contains(&now)),
    }));

    proxy.close();
    let connection = once(connect()).unwrap();
    let keys = connection.all_keys();
    once(keys.put("a", "on the one")).unwrap();
    proxy.open();
    let [before, now] = ids;
    drop(one);
    assert_eq!(once(keys.get("a")).unwrap_err().kind, ErrorKind::AnotherCluster { before, now });
    assert_eq!(once(keys.put("a", "x")).unwrap_err().kind, ErrorKind::AnotherCluster { before, now });
    let direct = once(self::connect(&other).connect()).unwrap().all_keys();
    assert_eq!(once(direct.get("a")).unwrap(), None, "nothing was written there");
}

/// It is long silent, and another cluster all the same.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_written_to_a_cluster_that_is_slow_to_say_that_it_is_another() {
    let (one, other) = (builder().start_ephemeral().unwrap(), builder().start_ephemeral().unwrap());
    let proxy = testkit::Proxy::start(&other.endpoints()[0]).unwrap();
    proxy.close();
    let endpoints = [one.endpoints().remove(0), proxy.endpoint()];
    let keys = once(Connect::new(endpoints).runtime(runtime().clone()).connect()).unwrap().all_keys();
    once(keys.put("a", "on the one")).unwrap();
    proxy.open();
    let (before, now) = (one.cluster_id().0, other.cluster_id().0);
    drop(one);
    let mut put = None;
    once(stopped(other.pid(), async {
        put = Some(runtime().spawn(async move { keys.put("a", "x").await }));
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }));
    assert_eq!(once(put.unwrap()).unwrap().unwrap_err().kind, ErrorKind::AnotherCluster { before, now });
    let direct = once(self::connect(&other).connect()).unwrap().all_keys();
    assert_eq!(once(direct.get("a")).unwrap(), None, "nothing was written there");
}

/// Takes no connection, and refuses none either: its queue is full. It is as long as what is returned lives.
#[cfg(target_os = "linux")]
fn full() -> (Vec<TcpStream>, tokio::net::TcpListener, String) {
    let _entered = runtime().enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok());
    (waiting.collect(), listener, format!("http://{addr}"))
}

/// It takes longer than an answer may take to find out that one does not let us in; the next call goes on there.
#[cfg(target_os = "linux")]
#[test]
fn an_endpoint_that_hangs_does_not_keep_calls_from_the_next_one() {
    let [(_queue, _listener, hangs), (_other_queue, _other_listener, hangs_too)] = [full(), full()];
    let cluster = builder().members(3).unwrap().start_ephemeral().unwrap();
    let [first, second] = [0, 1].map(|member| cluster.endpoints()[member].clone());
    let connect = Connect::new([first, hangs, second, hangs_too]).runtime(runtime().clone());
    let connect = connect.connect_timeout(Duration::from_secs(4)).request_timeout(Duration::from_millis(300));
    let connection = once(connect.connect()).unwrap();
    used(&connection, &cluster).kill().unwrap();
    let began = std::time::Instant::now();
    while let Err(error) = once(connection.all_keys().get("a")) {
        assert!(began.elapsed() < HANGS, "{error}");
    }
}

/// Hands everything on to an etcd, until a request has the key `marker`: then it hangs up on both. Counts them.
fn hanging_up(etcd: &str, seen: &Arc<AtomicUsize>) -> String {
    let (listener, url) = bound();
    let (target, seen) = (etcd.strip_prefix("http://").unwrap().to_owned(), seen.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&target).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let seen = seen.clone();
            std::thread::spawn(move || forward(client, server, &seen));
        }
    });
    url
}

fn forward(mut from: TcpStream, mut to: TcpStream, seen: &AtomicUsize) {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
        if all.windows(6).any(|bytes| bytes == b"marker") {
            seen.fetch_add(1, Ordering::SeqCst);
            break;
        }
        to.write_all(&buffer[..read]).unwrap();
    }
    for stream in [from, to] {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn what_was_sent_is_sent_again_only_if_it_is_a_read() {
    let etcd = builder().start_ephemeral().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let endpoints = [0, 1].map(|_| hanging_up(&etcd.endpoints()[0], &seen));
    let keys = once(Connect::new(endpoints).runtime(runtime().clone()).connect()).unwrap().all_keys();
    assert_eq!(once(keys.put("marker", "x")).unwrap_err().kind, ErrorKind::Unreachable);
    assert_eq!(seen.swap(0, Ordering::SeqCst), 1, "it may have been done: who called decides");
    assert_eq!(once(keys.get("marker")).unwrap_err().kind, ErrorKind::Unreachable);
    assert_eq!(seen.swap(0, Ordering::SeqCst), 2, "once more, and no more");
    once(keys.put("a", "x")).unwrap();
}

#[test]
fn a_connection_outlives_the_runtimes_of_its_users() {
    let etcd = builder().start_ephemeral().unwrap();
    let keys = once(connect(&etcd).connect()).unwrap().keys("/n/").unwrap();
    for _ in 0..3 {
        once(async { keys.put("a", "x").await }).unwrap();
    }
    // The same without a runtime of its own: a clear error, at once.
    let bound = once(Connect::new(etcd.endpoints()).connect()).unwrap();
    let error = once(bound.all_keys().get("a")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
}

#[cfg(target_os = "linux")]
async fn stopped<T>(server: u32, work: impl Future<Output = T>) -> T {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(i32::try_from(server).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // The signal is on its way to each thread.
    let threads = || std::fs::read_dir(format!("/proc/{server}/task")).unwrap().flatten();
    let is_stopped = |thread: std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("status")).is_ok_and(|status| status.contains("State:\tT"))
    };
    let began = std::time::Instant::now();
    while !threads().all(is_stopped) {
        assert!(began.elapsed() < HANGS, "the server does not stop");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let done = work.await;
    kill_process(pid, Signal::CONT).unwrap();
    done
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stopped_server_is_noticed() {
    let etcd = builder().start_ephemeral().unwrap();
    let connection = connect(&etcd)
        .request_timeout(Duration::from_millis(500))
        .keep_alive(Duration::from_secs(1), Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    let keys: etcd_keys::Keys = connection.keys("/n/").unwrap();
    let mut watch = connection.raw().watch("/n/a", None).await.unwrap();
    assert!(watch.message().await.unwrap().unwrap().created());
    let lease = keys.grant(Duration::from_secs(60)).await.unwrap();
    let (call, watched) = stopped(etcd.pid(), async {
        (timeout(HANGS, keys.put("a", "x")).await.unwrap(), timeout(HANGS, watch.message()).await.unwrap())
    })
    .await;
    assert_eq!(call.unwrap_err().kind, ErrorKind::TimedOut);
    assert_eq!(ErrorKind::of(&watched.unwrap_err()), ErrorKind::Unreachable);
    // And is used again once it goes on.
    let began = std::time::Instant::now();
    while keys.send(etcd_keys::kv::Get::key("a")).await.is_err() {
        assert!(began.elapsed() < HANGS);
    }
    lease.renew().await.unwrap();
}

#[tokio::test]
async fn an_idle_watch_is_not_cut_off() {
    // Etcd closes a connection that asks it for signs of life more often than every 5 s, at the third time.
    // Asked for here: every 200 ms. With the limit of 100 ms that this server has, that is well.
    let etcd = builder().arg("--grpc-keepalive-min-time=100ms").start_ephemeral().unwrap();
    let sparing =
        connect(&etcd).keep_alive(Duration::from_millis(200), Duration::from_secs(5)).connect().await.unwrap();
    let pressing =
        connect(&etcd).keep_alive(Duration::from_millis(40), Duration::from_secs(5)).connect().await.unwrap();
    let idle = async |connection: etcd_keys::Connection| {
        let mut watch = connection.raw().watch("a", None).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        watch.message().await
    };
    let pressing = timeout(HANGS, idle(pressing)).await.expect("etcd minds no more: then ask more often");
    assert!(pressing.is_err());
    let sparing = timeout(Duration::from_millis(1_500), idle(sparing)).await;
    assert!(sparing.is_err(), "cut off: {sparing:?}");
}

/// Its connection stays open, and no call breaks: only silence tells.
#[cfg(target_os = "linux")]
#[test]
fn a_member_that_is_silent_is_left_by_watches_calls_and_leases() {
    let (connection, cluster) = three_members();
    // A follower: the others go on at once.
    let leader = cluster.leader().unwrap().id();
    if used(&connection, &cluster).id() == leader {
        let other = cluster.members().iter().find(|member| member.id() != leader).unwrap();
        cluster.move_leadership(other).unwrap();
    }
    let silent = used(&connection, &cluster);
    let others = cluster.members().iter().filter(|member| member.id() != silent.id()).map(Member::endpoint);
    once(async {
        let keys = connection.keys("/n/").unwrap();
        let mut watch = keys.watch(KeyRange::all());
        assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { .. }));
        let keeper = keys.grant(Duration::from_secs(20)).await.unwrap().keep().await.unwrap();
        let direct = Connect::new(others).connect().await.unwrap().keys("/n/").unwrap();
        stopped(silent.pid(), async {
            for n in 0..20 {
                direct.put(format!("{n:02}"), "").await.unwrap();
            }
            for n in 0..20 {
                let notice = timeout(HANGS, watch.recv()).await.unwrap().unwrap();
                let Notice::Event(event) = notice else { panic!("{notice:?}") };
                assert_eq!(event.kv.key_str().unwrap(), format!("{n:02}"), "each once, in order");
            }
            assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 20);
            keeper.lease().renew().await.unwrap();
        })
        .await;
        assert!(keeper.is_certain());
    });
}
