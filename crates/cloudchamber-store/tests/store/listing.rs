//! Listing and deleting by prefix: no records, some, more than a page; and no records outside of the prefix.

use cloudchamber_store::{ErrorKind, ItemKind, Root};
use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, fill, key, keys, open, prefix};

#[etcd_sandbox::test]
async fn a_list_has_what_is_below_the_prefix_in_order_and_nothing_else(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let nothing = store.list(&prefix("a")).await?;
    assert!(nothing.value.is_empty() && nothing.revision >= store.connected_at());

    // The prefix itself, and its neighbours in order.
    for path in ["a", "a-", "a.b", "a/2", "a/10", "a/10/x", "a0", "b"] {
        store.create(&key(path), path).await?;
    }
    let some = store.list(&prefix("A")).await?;
    let listed: Vec<_> = some.value.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(listed, ["storetest/a/10", "storetest/a/10/x", "storetest/a/2"]);
    assert_eq!(store.list(&Root::StoreTest.prefix()).await?.value.len(), 8);
    assert!(store.list(&Root::Users.prefix()).await?.value.is_empty());
    Ok(())
}

#[etcd_sandbox::test]
async fn more_than_a_page_is_listed_at_one_revision(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let all = keys("many", 2_500);
    let created = fill(&store, &all).await;
    let listed = store.list(&prefix("many")).await?;
    assert!(listed.revision >= created);
    assert!(listed.value.iter().map(|record| &record.key).eq(&all));
    assert!(listed.value.iter().all(|record| record.value == record.key.as_str().as_bytes()));

    let mut listing = store.pages(&prefix("many"))?;
    let (mut pages, mut found) = (0, Vec::new());
    while let Some(page) = listing.next_page().await? {
        pages += 1;
        found.extend(page);
        // What happens meanwhile is not in it.
        store.create(&key(&format!("many/9999-{pages}")), "late").await?;
    }
    assert!(pages > 1);
    assert!(found.iter().map(|record| &record.key).eq(&all));
    Ok(())
}

#[etcd_sandbox::test]
async fn racks_and_the_blades_of_a_rack_are_one_list_each(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let racks = store.table::<u32>(Root::Racks.collection(ItemKind::Rack));
    for rack in ["rack1", "Rack2", "rack10"] {
        racks.create(rack, &0).await?;
        let blades = store.table::<u32>(racks.item(rack)?.collection(ItemKind::Blade));
        for blade in ["1", "2"] {
            blades.create(blade, &0).await?;
        }
    }
    let names = |list: Vec<cloudchamber_store::Record>| {
        list.iter().map(|record| record.key.name().to_owned()).collect::<Vec<_>>()
    };
    // Neither the blades of the racks, nor those of the rack whose name begins with this one's.
    let list = store.list(Root::Racks.collection(ItemKind::Rack).index()).await?;
    assert_eq!(names(list.value), ["rack1", "rack10", "rack2"]);
    let list = store.list(racks.item("RACK1")?.collection(ItemKind::Blade).index()).await?;
    assert_eq!(names(list.value), ["1", "2"]);
    Ok(())
}

#[etcd_sandbox::test]
async fn deleting_a_prefix_takes_all_below_it_and_nothing_else(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    fill(&store, &keys("gone", 700)).await;
    for stays in ["gone", "gone-", "gone0", "other/gone/x"] {
        store.create(&key(stays), "stays").await?;
    }
    let deleted = store.delete_prefix(&prefix("gone")).await?;
    assert_eq!((deleted.value.deleted, deleted.value.kept), (700, 0));
    let again = store.delete_prefix(&prefix("gone")).await?;
    assert_eq!((again.value.deleted, again.value.kept), (0, 0));
    assert!(again.revision >= deleted.revision && deleted.revision > store.connected_at());
    let left = ["gone", "gone-", "gone0", "other/gone/x"].map(|path| (format!("storetest/{path}"), "stays"));
    sandbox.expect_keys(left).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn a_key_that_is_not_the_stores_is_an_error_that_names_it(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    store.create(&key("a/ours"), "x").await?;
    let put = sandbox.put("storetest/a/Not\nours", "y").await?;
    let error = store.list(&prefix("a")).await.unwrap_err();
    let key = r"storetest/a/Not\nours";
    assert_eq!(error.kind(), &ErrorKind::InvalidKey { key: key.to_owned(), revision: put.revision });
    assert_eq!(error.key(), Some(key));
    let message = format!(
        "cannot list `storetest/a/`: `{key}`, written at revision {}, is not a valid key of the store; another program \
         wrote it",
        put.revision
    );
    assert_eq!(error.to_string(), message);
    Ok(())
}

#[etcd_sandbox::test]
async fn after_a_key_that_is_not_the_stores_the_listing_goes_on_with_all_that_are(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    store.create_many([(key("a/1"), ""), (key("a/3"), "")]).await?;
    for foreign in ["storetest/a/0 foreign", "storetest/a/UPPER"] {
        sandbox.put(foreign, "").await?;
    }
    let (mut listing, mut errors, mut listed) = (store.pages(&prefix("a"))?, Vec::new(), Vec::new());
    loop {
        match listing.next_page().await {
            Ok(Some(page)) => listed.extend(page.into_iter().map(|record| record.key)),
            Ok(None) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    assert_eq!(listed, [key("a/1"), key("a/3")]);
    assert!(matches!(&errors[..], [one, two] if one.contains("0 foreign") && two.contains("UPPER")), "{errors:?}");
    Ok(())
}
