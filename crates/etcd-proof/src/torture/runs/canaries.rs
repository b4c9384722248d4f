//! Ten thousand keys that no sweeper may ever touch: production keys, and keys that sort beside the test root.

use anyhow::Result;
use etcd_keys::{Connection, KeyRange};

use super::TEST_ROOT;
use crate::torture::keyspace::{self, Contents};

const COUNT: usize = 10_000;
/// Keys that sort beside the test root, that have its name elsewhere, and with unusual bytes.
const PREFIXES: [&[u8]; 12] = [
    b"/Inventory/v1/Testament/",
    b"/Inventory/v1/Test",
    b"/Inventory/v1/Test.",
    b"/Inventory/v1/Test0",
    b"/Inventory/v1/Test\xff",
    b"/Inventory/v1/test/",
    b"/Inventory/v1/racks/",
    b"/Inventory/v1/users/Test/",
    b"/Inventory/v10/Test/",
    b"/Other/v0.1/Test/",
    b"Test/",
    b"\x00\xff/",
];

pub(super) struct Canaries(Contents);

impl Canaries {
    pub(super) async fn create(connection: &Connection) -> Result<Self> {
        let key = |number: usize| {
            let prefix = PREFIXES.into_iter().cycle().nth(number).unwrap_or_default();
            // The first key of each prefix is the prefix itself.
            let rest = if number < PREFIXES.len() { String::new() } else { format!("{number:05}") };
            [prefix, rest.as_bytes()].concat()
        };
        keyspace::fill(connection, (0..COUNT).map(key)).await?;
        Ok(Self(outside(connection).await?))
    }

    /// All of them are unchanged, and no other key has appeared.
    pub(super) async fn check(&self, connection: &Connection) -> Result<()> {
        keyspace::same("outside the test root", &self.0, &outside(connection).await?)
    }
}

async fn outside(connection: &Connection) -> Result<Contents> {
    let mut all = keyspace::contents(connection, KeyRange::all()).await?;
    all.retain(|key, _| !key.starts_with(TEST_ROOT.as_bytes()));
    Ok(all)
}
