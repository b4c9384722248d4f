//! A namespace among other keys behaves like an etcd of its own: the same random operations, through the
//! namespaced client on one server and through etcd-client on a whole other one, give the same answers, watches and
//! pages tell the same of them, and the keys around the namespace neither change nor appear.

mod answer;
mod reading;
mod request;

use etcd_client::{Client, DeleteOptions, GetOptions};
use etcd_keys::{Connection, ErrorKind, KeyRange};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::answer::{Answer, ask_them, ask_us, their_got};
use self::reading::{they_watch, we_read, we_watch};
pub(crate) use self::request::bytes;
use self::request::{Clock, Request, Which, request, which};
use crate::fixture;

/// Keys around a namespace that are not in it.
pub(crate) fn canaries(prefix: &[u8]) -> Vec<Vec<u8>> {
    let (last, shorter) = prefix.split_last().unwrap();
    let beside = |last: u8| [shorter, &[last]].concat();
    let mut canaries = vec![vec![0], vec![0xff; 9], prefix.to_vec(), shorter.to_vec(), b"a".to_vec(), b"~".to_vec()];
    for neighbour in [last.wrapping_sub(1), last.wrapping_add(1)] {
        canaries.extend([
            beside(neighbour),
            [beside(neighbour), vec![0xff]].concat(),
            [beside(neighbour), vec![0]].concat(),
        ]);
    }
    canaries.extend(KeyRange::prefix(prefix).end());
    canaries.retain(|key| !key.is_empty() && (key == prefix || !key.starts_with(prefix)));
    canaries.sort();
    canaries.dedup();
    canaries
}

async fn clear(client: &mut Client) -> i64 {
    client.put("x", "", None).await.unwrap();
    let answer = client.delete("", Some(DeleteOptions::new().with_all_keys())).await.unwrap();
    answer.header().unwrap().revision()
}

/// Runs what must not hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("it hangs"))
}

type Case = (Vec<u8>, Vec<Request>, Vec<Which>);

async fn check(a: &Connection, b: &Connection, (prefix, requests, ranges): Case) -> Result<(), TestCaseError> {
    let prefix = prefix.as_slice();
    let (mut around, mut alone) = (a.raw(), b.raw());
    clear(&mut around).await;
    let start = clear(&mut alone).await;
    let mut by_theirs = Clock { start, now: start };
    let canaries = canaries(prefix);
    let mut start = 0;
    for canary in &canaries {
        let put = around.put(canary.as_slice(), "canary", None).await.unwrap();
        start = put.header().unwrap().revision();
    }
    let mut by_ours = Clock { start, now: start };
    let before = their_got(&around.get("", Some(GetOptions::new().with_all_keys())).await.unwrap()).kvs;
    prop_assert_eq!(before.len(), canaries.len());

    let keys = a.keys(prefix).unwrap();
    for mut request in requests {
        if prefix.iter().all(|byte| *byte == 0xff) {
            request = request.without_deletions();
        }
        let ours = ask_us(&keys, request.clone(), by_ours).await;
        let mut theirs = ask_them(&mut alone, request.clone(), by_theirs).await;
        if let (Answer::Error(ErrorKind::FutureRevision(asked)), Answer::Error(ErrorKind::FutureRevision(ours))) =
            (&mut theirs, &ours)
        {
            *asked = ours - by_ours.start + by_theirs.start; // etcd does not repeat what it was asked
        }
        prop_assert_eq!(ours.since(by_ours.start), theirs.since(by_theirs.start), "{:?}", request);
        let revision = |answer: etcd_client::GetResponse| answer.header().unwrap().revision();
        by_ours.now = revision(around.get("?", None).await.unwrap());
        by_theirs.now = revision(alone.get("?", None).await.unwrap());
        prop_assert_eq!(by_ours.now - by_ours.start, by_theirs.now - by_theirs.start);
    }

    for which in ranges {
        let Some(last) = which.first() else { continue };
        let ours = keys.put(last.as_slice(), "last").await.unwrap().revision;
        let theirs = alone.put(last, "last", None).await.unwrap().header().unwrap().revision();
        // Etcd looks for watches of the past every 100 ms: for both at once.
        let (told, expected) = tokio::join!(
            we_watch(&keys, which.clone().ours(), by_ours.start, ours),
            they_watch(&mut alone, which.clone(), by_theirs.start, theirs)
        );
        prop_assert_eq!(told, expected, "watch of {:?}", which);
        let read = we_read(&keys, which.clone().ours()).await;
        prop_assert_eq!(read, keys.range(which.clone().ours()).await.unwrap().kvs, "pages of {:?}", which);
    }

    let full = their_got(&around.get("", Some(GetOptions::new().with_all_keys())).await.unwrap()).kvs;
    let (inside, after): (Vec<_>, Vec<_>) =
        full.into_iter().partition(|kv| kv.key != prefix && kv.key.starts_with(prefix));
    prop_assert_eq!(after, before, "canaries");
    prop_assert_eq!(inside.len() as i64, keys.count(KeyRange::all()).await.unwrap());
    Ok(())
}

#[test]
fn a_namespace_is_an_etcd_of_its_own() {
    let (one, two) = (fixture::builder().start_ephemeral().unwrap(), fixture::builder().start_ephemeral().unwrap());
    let connect = |etcd| fixture::runtime().block_on(fixture::connect(etcd).connect()).unwrap();
    let (a, b) = (connect(&one), connect(&two));
    // Revision 0 means "absent": no revision that is looked at may come near it.
    fixture::runtime().block_on(async {
        for _ in 0..10 {
            clear(&mut a.raw()).await;
            clear(&mut b.raw()).await;
        }
    });
    // Quick by default; `PROPTEST_CASES=3000` looks longer.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let requests = proptest::collection::vec(request(), 1..16);
    let case = (bytes(1..4), requests, proptest::collection::vec(which(), 0..2));
    runner.run(&case, |case| fixture::runtime().block_on(check(&a, &b, case))).unwrap();
}
