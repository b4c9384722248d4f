//! A team's code that talks to etcd by etcd-client, below a prefix that it is given.

use etcd_client::{Client, Error, GetOptions};

/// The machines that a team has.
pub struct Inventory {
    client: Client,
    prefix: String,
}

impl Inventory {
    pub fn new(client: Client, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }

    fn key(&self, machine: &str) -> String {
        format!("{}machines/{machine}", self.prefix)
    }

    pub async fn add(&self, machine: &str, place: &str) -> Result<(), Error> {
        self.client.kv_client().put(self.key(machine), place, None).await.map(drop)
    }

    pub async fn place_of(&self, machine: &str) -> Result<Option<String>, Error> {
        let found = self.client.kv_client().get(self.key(machine), None).await?;
        found.kvs().first().map(|kv| kv.value_str().map(str::to_owned)).transpose()
    }

    pub async fn count(&self) -> Result<i64, Error> {
        let options = GetOptions::new().with_prefix().with_count_only();
        Ok(self.client.kv_client().get(self.key(""), Some(options)).await?.count())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use etcd_sandbox::Sandbox;

    use super::Inventory;

    type Result = std::result::Result<(), Box<dyn Error>>;

    fn inventory(sandbox: &Sandbox) -> Inventory {
        Inventory::new(sandbox.raw(), sandbox.prefix())
    }

    #[etcd_sandbox::test]
    async fn machines_are_found_where_they_were_put(sandbox: Sandbox) -> Result {
        let inventory = inventory(&sandbox);
        inventory.add("m1", "rack 7").await?;
        assert_eq!(inventory.place_of("m1").await?.as_deref(), Some("rack 7"));
        assert_eq!(inventory.place_of("m2").await?, None);
        Ok(())
    }

    #[etcd_sandbox::test]
    async fn an_inventory_begins_empty(sandbox: Sandbox) -> Result {
        let inventory = inventory(&sandbox);
        assert_eq!(inventory.count().await?, 0, "whatever other tests do");
        inventory.add("m1", "rack 1").await?;
        assert_eq!(inventory.count().await?, 1);
        Ok(())
    }

    #[etcd_sandbox::test]
    async fn a_machine_that_moves_is_written_once(sandbox: Sandbox) -> Result {
        let inventory = inventory(&sandbox);
        inventory.add("m1", "rack 1").await?;
        inventory.add("m1", "rack 2").await?;
        sandbox.expect_keys([("machines/m1", "rack 2")]).await?;
        assert_eq!(sandbox.history().await?.len(), 2);
        Ok(())
    }
}
