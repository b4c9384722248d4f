//! Racks in the store: creates some with their blades, lists them, watches one change.
//!
//!     cargo xtask etcd-up
//!     cargo run -p cloudchamber-store --example racks
//!
//! Uses the etcd of `ETCD_ENDPOINTS`, else the workspace's own, and prints which. Empties `Test/Standard/` first and puts
//! its keys there; in a run of tests, puts its keys into the run's sandbox.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use cloudchamber_store::{Config, Event, Expect, ItemKind, Root, Store};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Rack {
    location: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Blade {
    cores: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match connect_and_run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) async fn connect_and_run() -> Result<(), Box<dyn Error>> {
    let mut config = Config::load(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/cloudchamber.yaml"))?;
    config.test.use_test_namespace = true;
    config.test.use_unique_instance = std::env::var_os("ETCD_TEST_PREFIX").is_some();
    config.test.pre_clean_store = !config.test.use_unique_instance;
    let etcd = etcd_sandbox::connect().await?;
    config.service.endpoints = etcd.endpoint().split(',').map(str::to_owned).collect();
    config = config.in_run(|name| std::env::var(name).ok());
    let place = if config.test.pre_clean_store { "below Test/Standard/, which is emptied" } else { "in the run" };
    eprintln!("etcd at {}, {place}", etcd.endpoint());
    let store = Store::connect(&config).await?;
    run(&store, &mut std::io::stdout()).await?;
    store.disconnect()?;
    Ok(())
}

/// The example itself, which the tests run, too.
pub(crate) async fn run(store: &Store, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // Each rack is a record, and an entry in the index of racks; so are the blades of each rack.
    let racks = store.table::<Rack>(Root::Racks.collection(ItemKind::Rack));
    for (name, location) in [("Rack1", "row 1"), ("rack2", "row 1"), ("rack10", "row 2")] {
        let revision = racks.create(name, &Rack { location: location.to_owned() }).await?;
        let blades = store.table::<Blade>(racks.item(name)?.collection(ItemKind::Blade));
        blades.create("1", &Blade { cores: 16 }).await?;
        blades.create("2", &Blade { cores: 32 }).await?;
        writeln!(out, "created {name} at revision {revision}")?;
    }

    // One read lists the racks, one more the blades of a rack.
    for name in racks.names().await?.value {
        let blades = store.table::<Blade>(racks.item(&name)?.collection(ItemKind::Blade));
        let names: Vec<String> = blades.names().await?.value.iter().map(ToString::to_string).collect();
        writeln!(out, "{name} has the blades {}", names.join(", "))?;
    }

    // A watch returns the changes that any client makes.
    let rack = racks.read("rack1").await?.value.ok_or("rack1 is gone")?;
    let mut watch = store.watch(&rack.key).await?;
    racks.update("rack1", &Rack { location: "row 7".to_owned() }, Expect::Revision(rack.revision)).await?;
    if let Event::Change(change) = watch.next().await? {
        let place = |rack: Option<Rack>| rack.map_or_else(|| "nowhere".to_owned(), |rack| rack.location);
        let (old, new) = (place(change.decode_old()?), place(change.decode_new()?));
        writeln!(out, "{} moved from {old} to {new}", change.key.name())?;
    }

    // An update at an older revision changes nothing. The error has both revisions.
    let late = racks.update("rack1", &Rack { location: "row 3".to_owned() }, Expect::Revision(rack.revision)).await;
    if let Err(conflict) = late {
        writeln!(out, "too late: {conflict}")?;
    }
    Ok(())
}
