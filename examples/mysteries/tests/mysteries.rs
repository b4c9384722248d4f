//! Tests of an inventory with ten bugs. With `MYSTERIES=1` all of them fail; without it they do nothing, and one test
//! checks what they print:
//!
//!     MYSTERIES=1 cargo xtask test -p mysteries --no-fail-fast

use std::time::Duration;

use etcd_sandbox::{Error, Sandbox};
use mysteries::{
    Cache, accept_order, announce, copy_published, count_blade, empty_slots, fill_slots, log_event, publish, racks_of,
    register, remove_rack, save_settings,
};

/// The sandbox, if the tests are to fail.
fn asked(sandbox: Sandbox) -> Option<Sandbox> {
    std::env::var_os("MYSTERIES").map(|_| sandbox)
}

#[etcd_sandbox::test]
async fn mystery_01_two_sensors_count_two_blades(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    let both = tokio::sync::Barrier::new(2);
    let (one, other) = tokio::join!(count_blade(&sandbox, "7", both.wait()), count_blade(&sandbox, "7", both.wait()));
    one?;
    other?;
    sandbox.expect_keys([("racks/7/blades", "2")]).await
}

#[etcd_sandbox::test]
async fn mystery_02_a_registered_rack_is_found(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    register(&sandbox, "north", "7").await?;
    assert_eq!(racks_of(&sandbox, "north").await?, 1, "racks in the row");
    Ok(())
}

#[etcd_sandbox::test]
async fn mystery_03_a_controller_stays_present_while_it_works(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    announce(&sandbox, "c1").await?;
    let mut step = 0;
    while step < 4 || sandbox.get("controllers/c1").await?.is_some() && step < 40 {
        step += 1;
        sandbox.put("work", format!("step {step}")).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    sandbox.expect_keys([("controllers/c1", "present".to_owned()), ("work", format!("step {step}"))]).await
}

#[etcd_sandbox::test]
async fn mystery_04_settings_are_saved(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    // The inventory of all tests of this run.
    let shared = std::env::var("ETCD_TEST_PREFIX").unwrap_or_else(|_| sandbox.prefix().to_owned() + "../");
    save_settings(&sandbox, &(shared + "inventory/"), "heating = off").await?;
    sandbox.expect_keys([("settings", "heating = off")]).await
}

#[etcd_sandbox::test]
async fn mystery_05_only_the_removed_rack_is_gone(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    for rack in [1, 2, 10, 11] {
        sandbox.put(format!("racks/{rack}"), "8 blades").await?;
    }
    remove_rack(&sandbox, 1).await?;
    sandbox.expect_keys([("racks/10", "8 blades"), ("racks/11", "8 blades"), ("racks/2", "8 blades")]).await
}

#[etcd_sandbox::test]
async fn mystery_06_all_slots_are_emptied(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    fill_slots(&sandbox, 4).await?;
    empty_slots(&sandbox, 1, 4).await?;
    sandbox.expect_keys::<&str, &str>([]).await
}

#[etcd_sandbox::test]
async fn mystery_07_an_event_is_logged_once(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    let mut answers = [true, false].into_iter();
    log_event(&sandbox, "door opened", || answers.next().unwrap_or(false)).await?;
    sandbox.expect_keys([("events/0001", "door opened")]).await
}

#[etcd_sandbox::test]
async fn mystery_08_an_order_is_accepted(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    sandbox.put("orders/1", "2 blades").await?;
    let accepting = sandbox.clone();
    let accepting = tokio::spawn(async move { accept_order(&accepting).await });
    let waited = sandbox.wait_until("accepted/orders/1", Duration::from_secs(1), "written", |kv| kv.is_some()).await;
    accepting.abort();
    waited.map(drop)
}

#[etcd_sandbox::test]
async fn mystery_09_a_published_rack_is_copied(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    // A program that copies what the index names.
    let copies = async {
        sandbox.wait_for("index/7", "published").await?;
        copy_published(&sandbox, "7").await?;
        Ok::<(), Error>(())
    };
    publish(&sandbox, "7", "8 blades", copies).await?;
    sandbox.expect_keys([("copies/7", "8 blades"), ("data/7", "8 blades"), ("index/7", "published")]).await
}

#[etcd_sandbox::test]
async fn mystery_10_two_clerks_change_two_fields(sandbox: Sandbox) -> Result<(), Error> {
    let Some(sandbox) = asked(sandbox) else { return Ok(()) };
    sandbox.put("racks/7", r#"{"state":"new","owner":"nobody"}"#).await?;
    let (mut one, mut other) = (Cache::default(), Cache::default());
    one.set(&sandbox, "7", "state", "ready").await?;
    other.set(&sandbox, "7", "owner", "lab").await?;
    one.set(&sandbox, "7", "state", "running").await?;
    sandbox.expect_keys([("racks/7", r#"{"owner":"lab","state":"running"}"#)]).await
}

/// What names the cause of each mystery, in what its failure prints.
const CAUSES: [&str; 10] = [
    "PUT racks/7/blades `1` (unchanged)",
    "PUT row/north/7 `registered`",
    "DEL controllers/c1 (was `present`) by the end of lease",
    "in this run, outside of all sandboxes: ",
    "same txn DEL racks/10 (was `8 blades`)",
    "DEL slots/3 (was `blade`)",
    "PUT events/0002 `door opened`",
    "`accepted/orders/1` was not written within 1 s: it is absent",
    "a watch of prefix `orders/` begins",
    r#"PUT racks/7 .owner "lab" → "nobody", .state "ready" → "running""#,
];

#[test]
fn what_is_printed_names_the_causes() -> std::io::Result<()> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let output = command.env("MYSTERIES", "1").arg("mystery_").output()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("0 passed; 10 failed"), "{text}");
    for cause in CAUSES {
        assert!(text.contains(cause), "`{cause}` is missing: {text}");
    }
    let at = |line: &str| text.find(line);
    assert!(at("PUT orders/1 `2 blades`") < at("a watch of prefix `orders/` begins"), "the watch is too late: {text}");
    assert!(at("PUT index/7 `published`") < at("PUT data/7 `8 blades`"), "the order of two writes: {text}");
    Ok(())
}
