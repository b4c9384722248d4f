//! Ten thousand keys that no sweeper may ever touch: production's, and those that sort beside the test root.

use anyhow::Result;
use etcd_keys::{Connection, KeyRange};

use super::TEST_ROOT;
use crate::torture::keyspace::{self, Contents};

const COUNT: usize = 10_000;
/// Prefixes of canaries: neighbours of the test root in every direction, what has its name elsewhere, odd bytes.
const PLACES: [&[u8]; 12] = [
    b"/CloudChamber/v0.1/Testament/",
    b"/CloudChamber/v0.1/Test",
    b"/CloudChamber/v0.1/Test.",
    b"/CloudChamber/v0.1/Test0",
    b"/CloudChamber/v0.1/Test\xff",
    b"/CloudChamber/v0.1/test/",
    b"/CloudChamber/v0.1/racks/",
    b"/CloudChamber/v0.1/users/Test/",
    b"/CloudChamber/v0.10/Test/",
    b"/Other/v0.1/Test/",
    b"Test/",
    b"\x00\xff/",
];

pub(super) struct Canaries(Contents);

impl Canaries {
    pub(super) async fn set_out(connection: &Connection) -> Result<Self> {
        let key = |number: usize| {
            let place = PLACES.into_iter().cycle().nth(number).unwrap_or_default();
            // One of each place is the place itself.
            let rest = if number < PLACES.len() { String::new() } else { format!("{number:05}") };
            [place, rest.as_bytes()].concat()
        };
        keyspace::fill(connection, (0..COUNT).map(key)).await?;
        Ok(Self(outside(connection).await?))
    }

    /// Each of them is as it was, and nothing else has come.
    pub(super) async fn are_well(&self, connection: &Connection) -> Result<()> {
        keyspace::same("outside the test root", &self.0, &outside(connection).await?)
    }
}

async fn outside(connection: &Connection) -> Result<Contents> {
    let mut all = keyspace::contents(connection, KeyRange::all()).await?;
    all.retain(|key, _| !key.starts_with(TEST_ROOT.as_bytes()));
    Ok(all)
}
