//! An inventory of racks, in ten small parts. Each part has one bug of a kind that is easy to make with etcd. The tests fail
//! because of them, and what they print should name the cause. Do not mend the bugs.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_keys::kv::{Put, Txn};
use etcd_keys::watch::Notice;
use etcd_keys::{Error, KeyRange, Keys};

/// Counts a blade of a rack, once a sensor has seen it.
///
/// # Errors
/// Those of etcd.
pub async fn count_blade(keys: &Keys, rack: &str, sensor: impl Future) -> Result<(), Error> {
    let key = format!("racks/{rack}/blades");
    let blades: u32 = keys.get(key.as_str()).await?.and_then(|kv| kv.value_str().ok()?.parse().ok()).unwrap_or(0);
    sensor.await;
    keys.put(key, (blades + 1).to_string()).await?;
    Ok(())
}

/// Registers a rack in a row.
///
/// # Errors
/// Those of etcd.
pub async fn register(keys: &Keys, row: &str, rack: &str) -> Result<(), Error> {
    keys.put(format!("row/{row}/{rack}"), "registered").await?;
    Ok(())
}

/// The racks of a row.
///
/// # Errors
/// Those of etcd.
pub async fn racks_of(keys: &Keys, row: &str) -> Result<usize, Error> {
    Ok(keys.prefix(format!("rows/{row}/")).await?.kvs.len())
}

/// Says that a controller is there, for as long as it is.
///
/// # Errors
/// Those of etcd.
pub async fn announce(keys: &Keys, controller: &str) -> Result<(), Error> {
    let lease = keys.grant(Duration::from_secs(1)).await?;
    keys.send(Put::new(format!("controllers/{controller}"), "present").lease(lease.id())).await?;
    Ok(())
}

/// Writes the settings of the inventory.
///
/// # Errors
/// Those of etcd.
pub async fn save_settings(keys: &Keys, inventory: &str, settings: &str) -> Result<(), Error> {
    keys.connection().all_keys().put(format!("{inventory}settings"), settings).await?;
    Ok(())
}

/// Removes a rack with all that belongs to it.
///
/// # Errors
/// Those of etcd.
pub async fn remove_rack(keys: &Keys, rack: u32) -> Result<(), Error> {
    keys.delete_range(KeyRange::prefix(format!("racks/{rack}"))).await?;
    Ok(())
}

/// Empties the slots from the first to the last of a rack.
///
/// # Errors
/// Those of etcd.
pub async fn empty_slots(keys: &Keys, first: u32, last: u32) -> Result<(), Error> {
    keys.delete_range(KeyRange::between(format!("slots/{first}"), format!("slots/{last}"))).await?;
    Ok(())
}

/// Writes an event to the log of events. The network loses answers: it is tried again.
///
/// # Errors
/// Those of etcd.
pub async fn log_event(keys: &Keys, event: &str, mut is_lost: impl FnMut() -> bool) -> Result<(), Error> {
    loop {
        let number = keys.count(KeyRange::prefix("events/")).await? + 1;
        keys.put(format!("events/{number:04}"), event).await?;
        if !is_lost() {
            return Ok(());
        }
    }
}

/// Accepts the first order that comes.
///
/// # Errors
/// Those of etcd.
pub async fn accept_order(keys: &Keys) -> Result<(), Error> {
    let mut orders = keys.watch(KeyRange::prefix("orders/"));
    loop {
        if let Notice::Event(order) = orders.recv().await? {
            keys.put([b"accepted/", order.kv.key.as_slice()].concat(), order.kv.value).await?;
            return Ok(());
        }
    }
}

/// Publishes a rack: the index, where others look, and the rack itself. `between` is what happens meanwhile.
///
/// # Errors
/// Those of etcd.
pub async fn publish(keys: &Keys, rack: &str, data: &str, between: impl Future) -> Result<(), Error> {
    keys.put(format!("index/{rack}"), "published").await?;
    between.await;
    keys.put(format!("data/{rack}"), data).await?;
    Ok(())
}

/// Copies each rack that the index names, as soon as it is there.
///
/// # Errors
/// Those of etcd.
pub async fn copy_published(keys: &Keys, rack: &str) -> Result<(), Error> {
    let data = keys.get(format!("data/{rack}")).await?;
    let copy = data.map_or_else(|| b"nothing".to_vec(), |kv| kv.value);
    keys.put(format!("copies/{rack}"), copy).await?;
    Ok(())
}

/// Racks as they were read first.
#[derive(Debug, Default)]
pub struct Cache(BTreeMap<String, serde_json::Value>);

impl Cache {
    /// Changes a field of a rack.
    ///
    /// # Errors
    /// Those of etcd.
    pub async fn set(&mut self, keys: &Keys, rack: &str, field: &str, value: &str) -> Result<(), Error> {
        let key = format!("racks/{rack}");
        if !self.0.contains_key(rack) {
            let read = keys.get(key.as_str()).await?.and_then(|kv| kv.json().ok()).unwrap_or_default();
            self.0.insert(rack.to_owned(), read);
        }
        let rack = self.0.entry(rack.to_owned()).or_default();
        if let Some(fields) = rack.as_object_mut() {
            fields.insert(field.to_owned(), value.into());
        }
        keys.put(key, rack.to_string()).await?;
        Ok(())
    }
}

/// Fills the slots of a rack, in one transaction.
///
/// # Errors
/// Those of etcd.
pub async fn fill_slots(keys: &Keys, slots: u32) -> Result<(), Error> {
    let puts = (1..=slots).map(|slot| Put::new(format!("slots/{slot}"), "blade"));
    keys.send(puts.fold(Txn::new(), Txn::then)).await?;
    Ok(())
}
