//! What all tests need: a store in a sandbox, and keys.

use std::error::Error;

use cloudchamber_store::{Config, Key, Prefix, Root, Store, TestSettings};
use etcd_sandbox::Sandbox;

/// What tests return.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The settings of a store in a sandbox.
pub(crate) fn config(sandbox: &Sandbox) -> Config {
    let mut config = Config::default().in_sandbox(sandbox.prefix());
    config.test = TestSettings { use_test_namespace: true, use_unique_instance: true, pre_clean_store: false };
    config.service.endpoints = sandbox.endpoints().to_vec();
    config
}

pub(crate) async fn open(sandbox: &Sandbox) -> Store {
    Store::connect(&config(sandbox)).await.unwrap()
}

pub(crate) fn key(path: &str) -> Key {
    Root::StoreTest.key(path).unwrap()
}

pub(crate) fn prefix(path: &str) -> Prefix {
    Root::StoreTest.below(path).unwrap()
}

/// Keys `…/0000`, `…/0001` and so on: in this order in the store, too.
pub(crate) fn keys(path: &str, count: usize) -> Vec<Key> {
    (0..count).map(|number| key(&format!("{path}/{number:04}"))).collect()
}

/// Creates any number of records, whose values are their keys.
pub(crate) async fn fill(store: &Store, keys: &[Key]) -> i64 {
    let mut revision = 0;
    for chunk in keys.chunks(cloudchamber_store::MAX_OPERATIONS) {
        revision = store.create_many(chunk.iter().map(|key| (key.clone(), key.as_str()))).await.unwrap();
    }
    revision
}
