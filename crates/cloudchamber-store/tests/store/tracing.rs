//! `traceLevel`: nothing, operations, or also values.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use cloudchamber_store::{Expect, Store};
use etcd_sandbox::Sandbox;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::fixture::{Outcome, config, key};

/// Keeps what the store logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("cloudchamber_store")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        event.record(&mut Words(&mut log));
        log.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

#[etcd_sandbox::test]
async fn the_level_decides_what_is_logged(sandbox: Sandbox) -> Outcome {
    for level in 0..3 {
        let mut config = config(&sandbox);
        config.trace_level = level;
        let log = Log::default();
        // The test runs on this thread alone.
        let listening = tracing::subscriber::set_default(log.clone());
        let (store, key) = (Store::connect(&config).await?, key("traced"));
        let created = store.create(&key, "some\nvalue").await?;
        store.create(&key, "again").await.unwrap_err();
        store.delete(&key, Expect::Any).await?;
        drop(listening);

        let log = log.0.lock().unwrap().clone();
        assert_eq!(log.contains(&format!("message=create `storetest/traced` revision={created} ")), level > 0, "{log}");
        assert_eq!(log.contains("message=cannot create `storetest/traced`: the record exists already"), level > 0);
        assert_eq!(log.contains(r"write `storetest/traced`, 10 bytes: some\nvalue"), level > 1, "{log}");
        assert_eq!(log.is_empty(), level == 0);
    }
    Ok(())
}
