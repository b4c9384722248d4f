//! Which cluster: from a flag, the environment, or the record of a local instance. Connects to it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_keys::{Connect, Connection, Error, Kind};
use serde::Deserialize;

use crate::cli::Global;
use crate::output::{self, Exit, Failure};

pub(crate) struct Context {
    pub(crate) global: Global,
}

/// What we read of `.etcd/<instance>/instance.json`; the rest of it is not ours to know.
#[derive(Deserialize)]
struct Record {
    endpoints: Vec<String>,
    pids: Vec<u32>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let timeout = Duration::from_secs(self.global.timeout);
        let endpoints = self.endpoints()?;
        match Connect::new(endpoints).connect_timeout(timeout).request_timeout(timeout).connect().await {
            Err(Error { kind: Kind::Invalid(what), .. }) => {
                let next = "write http://HOST:PORT, in --endpoints or ETCD_ENDPOINTS".to_owned();
                Err(Failure { exit: Exit::Usage, what, next }.into())
            }
            connection => Ok(connection?),
        }
    }

    /// Whether the cluster is the workspace's own instance, and not one elsewhere.
    pub(crate) fn is_own_instance(&self) -> bool {
        self.elsewhere().is_none()
    }

    /// Says something that is not the answer.
    pub(crate) fn note(&self, text: std::fmt::Arguments<'_>) {
        if !self.global.quiet {
            output::say(format_args!("{text}"));
        }
    }

    /// The endpoints that a flag or the environment names.
    fn elsewhere(&self) -> Option<Vec<String>> {
        if !self.global.endpoints.is_empty() {
            return Some(self.global.endpoints.clone());
        }
        let urls =
            std::env::var("ETCD_ENDPOINTS").ok().filter(|urls| !urls.is_empty() && self.global.instance.is_none())?;
        Some(urls.split(',').map(|url| url.trim().to_owned()).collect())
    }

    /// A flag beats the environment, which beats the record.
    fn endpoints(&self) -> Result<Vec<String>> {
        if let Some(endpoints) = self.elsewhere() {
            return Ok(endpoints);
        }
        let name = self.global.instance.as_deref().unwrap_or("default");
        let path = self.global.home.join(name).join("instance.json");
        match read(&path)? {
            Some(record) if !record.pids.is_empty() => Ok(record.endpoints),
            _ => {
                let what = format!("etcd `{name}` is not running");
                let next = "`cargo xtask etcd-up` starts it; --endpoints or ETCD_ENDPOINTS names a cluster elsewhere";
                Err(Failure { exit: Exit::NotRunning, what, next: next.to_owned() }.into())
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<Record>> {
    match std::fs::read(path) {
        // A damaged record is put right by the next `etcd-up`, and until then there is none.
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}
