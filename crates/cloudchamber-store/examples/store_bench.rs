//! What the store costs beside a bare etcd-client: the same calls on the same server, in turns. Prints one JSON
//! object of samples in milliseconds; what they are compared to, and how, is the reader's business. Without
//! `--endpoints` it uses the etcd that `ETCD_ENDPOINTS` names, else the workspace's own, and says which.
//!
//! `cargo run -p cloudchamber-store --example store_bench -- --endpoints URL --rounds 21`

use std::error::Error;
use std::time::Instant;

use cloudchamber_store::{Config, Expect, Key, Prefix, Root, Store, TestSettings};
use etcd_client::{Client, Compare, CompareOp, GetOptions, Txn, TxnOp};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Calls of one sample of reads or updates: one alone would measure the clock and the scheduler.
const CALLS: usize = 100;
/// Lists of one sample.
const LISTS: usize = 8;
/// Bytes of a record.
const VALUE: usize = 200;

struct Options {
    /// Empty: whichever sandboxes would use.
    endpoints: Vec<String>,
    rounds: usize,
    records: usize,
}

impl Options {
    fn parse() -> Outcome<Self> {
        let mut options = Self { endpoints: Vec::new(), rounds: 21, records: 10_000 };
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("`{flag}` needs a value"))?;
            match flag.as_str() {
                "--endpoints" => options.endpoints = value.split(',').map(str::to_owned).collect(),
                "--rounds" => options.rounds = value.parse()?,
                "--records" => options.records = value.parse::<usize>()?.max(CALLS),
                _ => return Err(format!("`{flag}` is none of --endpoints, --rounds, --records").into()),
            }
        }
        Ok(options)
    }
}

/// The same keys for both sides.
struct Bench {
    store: Store,
    client: Client,
    /// Of the store in etcd.
    namespace: String,
    prefix: Prefix,
    keys: Vec<Key>,
}

/// Samples of both sides.
#[derive(Default)]
struct Samples {
    ours: Vec<f64>,
    other: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut options = Options::parse()?;
    if options.endpoints.is_empty() {
        options.endpoints = etcd_sandbox::connect().await?.endpoint().split(',').map(str::to_owned).collect();
    }
    eprintln!("etcd at {}", options.endpoints.join(","));
    let bench = Bench::open(&options).await?;
    let measured = bench.measure(options.rounds).await;
    bench.store.delete_prefix(&bench.prefix).await?;
    let [read, update, list] = measured?;
    let row = |what: String, samples: Samples| json!({"what": what, "unit": "ms", "ours": samples.ours, "other": samples.other});
    let rows = [
        row(format!("read {CALLS} records"), read),
        row(format!("update {CALLS} records at their revisions"), update),
        row(format!("list {} records {LISTS} times", options.records), list),
    ];
    println!("{}", json!({ "rows": rows }));
    Ok(())
}

impl Bench {
    async fn open(options: &Options) -> Outcome<Self> {
        let namespace = format!("{}Test/store-bench-{}/", cloudchamber_store::ROOT, std::process::id());
        let mut config = Config::default().in_sandbox(&namespace);
        config.service.endpoints.clone_from(&options.endpoints);
        config.test = TestSettings { use_test_namespace: true, use_unique_instance: true, pre_clean_store: false };
        let store = Store::connect(&config).await?;
        let client = Client::connect(&options.endpoints, None).await?;
        let prefix = Root::StoreTest.below("bench")?;
        let names = (0..options.records).map(|number| Root::StoreTest.key(format!("bench/{number:06}")));
        let keys: Vec<Key> = names.collect::<Result<_, _>>()?;
        for chunk in keys.chunks(cloudchamber_store::MAX_OPERATIONS) {
            store.create_many(chunk.iter().map(|key| (key.clone(), [b'v'; VALUE]))).await?;
        }
        Ok(Self { store, client, namespace, prefix, keys })
    }

    /// Round after round. Both sides take turns at every call, each going first in every other one: whatever else
    /// the machine does meanwhile hits both.
    async fn measure(&self, rounds: usize) -> Outcome<[Samples; 3]> {
        let [mut read, mut update, mut list] = [const { Samples { ours: Vec::new(), other: Vec::new() } }; 3];
        // The first round warms up.
        for round in 0..=rounds {
            let times = [self.reads(round).await?, self.updates(round).await?, self.lists(round).await?];
            for (samples, [ours, other]) in [&mut read, &mut update, &mut list].into_iter().zip(times) {
                samples.ours.extend((round > 0).then_some(ours));
                samples.other.extend((round > 0).then_some(other));
            }
        }
        Ok([read, update, list])
    }

    /// Keys of a round, all over the range.
    fn some(&self, round: usize) -> impl Iterator<Item = &Key> {
        self.keys.iter().skip(round % 7).step_by((self.keys.len() / CALLS).max(1)).take(CALLS)
    }

    fn full(&self, key: &Key) -> String {
        format!("{}{key}", self.namespace)
    }

    async fn reads(&self, round: usize) -> Outcome<[f64; 2]> {
        let mut times = Times::default();
        for (number, key) in self.some(round).enumerate() {
            for side in turns(number) {
                let began = Instant::now();
                let found = match side {
                    Side::Ours => self.store.read(key).await?.value.is_some(),
                    Side::Other => !self.client.kv_client().get(self.full(key), None).await?.kvs().is_empty(),
                };
                times.add(side, began);
                assert!(found, "{key} is there");
            }
        }
        Ok(times.0)
    }

    async fn updates(&self, round: usize) -> Outcome<[f64; 2]> {
        let mut times = Times::default();
        for (number, key) in self.some(round).enumerate() {
            let mut revision = self.store.read(key).await?.value.ok_or("a record is gone")?.revision;
            for side in turns(number) {
                let began = Instant::now();
                revision = match side {
                    Side::Ours => self.store.update(key, [b'w'; VALUE], Expect::Revision(revision)).await?,
                    Side::Other => self.update(self.full(key), revision).await?,
                };
                times.add(side, began);
            }
        }
        Ok(times.0)
    }

    async fn update(&self, key: String, revision: i64) -> Outcome<i64> {
        let txn = Txn::new()
            .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, revision)])
            .and_then([TxnOp::put(key, [b'w'; VALUE], None)]);
        let response = self.client.kv_client().txn(txn).await?;
        assert!(response.succeeded(), "it has revision {revision}");
        Ok(response.header().ok_or("a header")?.revision())
    }

    async fn lists(&self, round: usize) -> Outcome<[f64; 2]> {
        let mut times = Times::default();
        for side in (round..round + LISTS).flat_map(turns) {
            let began = Instant::now();
            let listed = match side {
                Side::Ours => self.store.list(&self.prefix).await?.value.len(),
                Side::Other => {
                    let prefix = format!("{}{}", self.namespace, self.prefix);
                    let options = GetOptions::new().with_prefix();
                    self.client.kv_client().get(prefix, Some(options)).await?.take_kvs().len()
                }
            };
            times.add(side, began);
            assert_eq!(listed, self.keys.len());
        }
        Ok(times.0)
    }
}

#[derive(Clone, Copy)]
enum Side {
    Ours,
    Other,
}

fn turns(number: usize) -> [Side; 2] {
    if number.is_multiple_of(2) { [Side::Ours, Side::Other] } else { [Side::Other, Side::Ours] }
}

/// Milliseconds of both sides.
#[derive(Default)]
struct Times([f64; 2]);

impl Times {
    fn add(&mut self, side: Side, began: Instant) {
        let [ours, other] = &mut self.0;
        let time = match side {
            Side::Ours => ours,
            Side::Other => other,
        };
        *time += began.elapsed().as_secs_f64() * 1e3;
    }
}
