//! `etcd-list`: every instance of this workspace, in one table. Starts, stops and changes nothing.

use std::path::{Path, PathBuf};

use anyhow::Result;
use etcd_local::{Instance, Status};
use serde::Serialize;

use crate::cli::{EtcdList, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{self, megabytes};

#[derive(Serialize)]
struct Answer {
    instances: Vec<Listed>,
}

/// One instance, or the error of reading its state.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Known {
        #[serde(flatten)]
        status: Box<Status>,
        /// Bytes on disk in the data directory; null if it cannot be read.
        data_bytes: Option<u64>,
    },
    Unknown {
        instance: String,
        error: String,
        dir: PathBuf,
    },
}

impl Listed {
    fn of(instance: &Instance) -> Self {
        match instance.status() {
            Ok(status) => Self::Known { data_bytes: size(&status.data_dir), status: Box::new(status) },
            Err(error) => Self::Unknown {
                instance: instance.name().to_owned(),
                error: format!("{:#}", anyhow::Error::from(error)),
                dir: instance.dir().to_owned(),
            },
        }
    }

    fn row(&self, cx: &Context) -> [String; 6] {
        match self {
            Self::Unknown { instance, dir, error } => {
                let dash = || "-".to_owned();
                [instance.clone(), error.clone(), dash(), dash(), dash(), cx.shown(dir).to_string()]
            }
            Self::Known { status, data_bytes } => [
                status.instance.clone(),
                word(status).to_owned(),
                status.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                data_bytes.map_or_else(|| "-".to_owned(), megabytes),
                if status.endpoints.is_empty() { "-".to_owned() } else { status.endpoints.join(",") },
                cx.shown(&status.data_dir).to_string(),
            ],
        }
    }
}

pub(crate) fn run(args: &EtcdList, cx: &Context) -> Result<Exit> {
    let instances: Vec<Listed> = cx.builder()?.instances()?.iter().map(Listed::of).collect();
    match args.answer.format {
        Format::Json => output::json(&Answer { instances })?,
        Format::Text if instances.is_empty() => {
            output::answer_text("no instances; `cargo xtask etcd-up` starts one\n")?;
        }
        Format::Text => output::answer_text(&table(&instances, cx))?,
    }
    Ok(Exit::SUCCESS)
}

/// The state in one word.
fn word(status: &Status) -> &'static str {
    use etcd_local::State::{Hidden, NoQuorum, Orphaned, Ready, Starting, Stopped};
    match status.state {
        Ready => "ready",
        Starting => "starting",
        NoQuorum => "no quorum",
        Hidden => "hidden",
        Orphaned => "orphaned",
        Stopped => "stopped",
    }
}

fn table(instances: &[Listed], cx: &Context) -> String {
    let header = ["NAME", "STATE", "VERSION", "SIZE", "ENDPOINTS", "DATA"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(instances.iter().map(|one| one.row(cx))).collect();
    output::table(&rows)
}

/// Bytes of all files below a directory.
fn size(dir: &Path) -> Option<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).ok()? {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Some(bytes)
}
