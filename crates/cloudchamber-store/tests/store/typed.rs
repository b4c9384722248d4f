//! Typed records: as JSON, never by default, and with their entry in the index.

use std::collections::BTreeMap;

use cloudchamber_store::{Condition, ErrorKind, Expect, ItemKind, Root, encode};
use etcd_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use crate::fixture::{Outcome, key, open, prefix};

#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
struct Rack {
    location: String,
    #[serde(default)]
    blades: u32,
}

fn rack(location: &str) -> Rack {
    Rack { location: location.to_owned(), blades: 1 }
}

#[etcd_sandbox::test]
async fn a_table_keeps_records_and_index_together(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let racks = store.table::<Rack>(Root::Racks.collection(ItemKind::Rack));
    assert!(racks.names().await?.value.is_empty());
    let created = racks.create("Rack1", &rack("row 1")).await?;
    racks.create("rack2", &rack("row 2")).await?;
    let json = r#"{"location":"row 1","blades":1}"#;
    let json2 = r#"{"location":"row 2","blades":1}"#;
    let all = [
        ("racks/index/racks/rack1", ""),
        ("racks/index/racks/rack2", ""),
        ("racks/rack/rack1", json),
        ("racks/rack/rack2", json2),
    ];
    sandbox.expect_keys(all).await?;

    let read = racks.read("RACK1").await?;
    assert!(read.revision > created);
    let record = read.value.unwrap();
    assert_eq!((record.value, record.revision), (rack("row 1"), created));
    let names = racks.names().await?.value;
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["rack1", "rack2"]);
    let both = racks.read_many(names).await?;
    assert!(both.revision > created);
    assert_eq!(both.value[1].value, rack("row 2"));

    let error = racks.create("rack1", &rack("elsewhere")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AlreadyExists { revision: created });
    let error = racks.update("rack3", &rack("x"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
    let updated = racks.update("rack1", &rack("row 3"), Expect::Revision(created)).await?;
    let error = racks.delete("rack1", Expect::Revision(created)).await.unwrap_err();
    let condition = Condition::RevisionEqual(created);
    assert_eq!(error.kind(), &ErrorKind::Conflict { condition, found: updated });
    assert!(matches!(racks.read("no name").await.unwrap_err().kind(), ErrorKind::InvalidName { .. }));

    assert!(racks.delete("rack1", Expect::Revision(updated)).await?.value);
    assert!(!racks.delete("rack1", Expect::Any).await?.value);
    sandbox.expect_keys([("racks/index/racks/rack2", ""), ("racks/rack/rack2", json2)]).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn a_record_that_cannot_be_decoded_is_an_error_with_key_and_revision(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let racks = store.table::<Rack>(Root::Racks.collection(ItemKind::Rack));
    let item = racks.item("rack1")?;
    for damaged in ["", "{", "null", "[]", "{}", r#"{"location":7}"#, r#"{"location":"x"} y"#] {
        store.delete(&item.record(), Expect::Any).await?;
        let revision = store.create(&item.record(), damaged).await?;
        let error = racks.read("rack1").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidRecord { revision: r, .. } if *r == revision), "{error:?}");
        assert_eq!(error.key(), Some("racks/rack/rack1"));
        let message = format!("cannot decode the record `racks/rack/rack1` of revision {revision}: ");
        assert!(error.to_string().starts_with(&message), "{error}");
    }
    // A list of which one is damaged, too.
    store.create(&key("list/1"), encode(&rack("x"))?).await?;
    let list = store.list(&prefix("list")).await?.decode::<Rack>()?;
    assert!(list.revision >= list.value[0].revision);
    assert_eq!(list.value[0].value, rack("x"));
    store.create(&key("list/2"), "damaged").await?;
    let error = store.list(&prefix("list")).await?.decode::<Rack>().unwrap_err();
    assert_eq!(error.key(), Some("storetest/list/2"));
    Ok(())
}

#[test]
fn a_value_that_json_cannot_express_is_refused() {
    let not_json = BTreeMap::from([((1, 2), 3)]);
    let error = encode(&not_json).unwrap_err();
    assert!(error.to_string().starts_with("cannot encode the value as JSON: "), "{error}");
}
