//! `diff`: compares keys at two revisions, of two clusters, or with a snapshot.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use etcd_keys::difference::ValueChange;
use etcd_keys::text::Escaped;
use etcd_keys::{KeyRange, Redaction};
use serde::Serialize;

use crate::cli::{Client, Cluster, Diff, Format, KeysFrom};
use crate::context::Context;
use crate::output::{self, Base64};
use crate::side_by_side::{Side, SideBySide};
use crate::snapshot::{Snapshot, Stored};

/// About how many characters of a value are shown.
const WIDTH: usize = 120;

/// A key that differs. What is missing: the key was not there.
#[derive(Serialize)]
struct Line<'a> {
    key: Base64<'a>,
    before: Option<Value<'a>>,
    after: Option<Value<'a>>,
}

#[derive(Serialize)]
struct Value<'a> {
    value: Base64<'a>,
    mod_revision: i64,
}

impl<'a> Value<'a> {
    fn of((kv, shown): (&Stored, &'a [u8])) -> Self {
        Self { value: Base64(shown), mod_revision: kv.mod_revision }
    }
}

pub(crate) async fn run(args: Diff, cx: &Context) -> Result<ExitCode> {
    let range = crate::keys::range_or_root(args.keys.keys().as_ref(), cx)?;
    let redaction = cx.redaction()?;
    let before = open(&args.before, &range, cx).await?;
    let mut differences = SideBySide::new(before, open(&args.after, &range, cx).await?);
    let mut out = output::stdout();
    while let Some((before, after)) = differences.next_difference().await? {
        write(&mut out, args.format, &redaction, before.as_ref(), after.as_ref())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn open(from: &KeysFrom, range: &KeyRange, cx: &Context) -> Result<Side> {
    let Cluster { client, timeout, .. } = cx.global.cluster.clone();
    let (client, instance) = match from {
        KeysFrom::Revision(revision) => {
            return Side::of_revision(&cx.connect().await?.all_keys(), range, *revision).await;
        }
        KeysFrom::Snapshot(path) => return Side::of_snapshot(Snapshot::open(path, range)?).await,
        KeysFrom::Endpoints(urls) => (Client { endpoints: urls.clone(), cluster: None, ..client }, None),
        KeysFrom::Cluster(name) => (Client { endpoints: Vec::new(), cluster: Some(name.clone()), ..client }, None),
        KeysFrom::Instance(name) => (Client { endpoints: Vec::new(), cluster: None, ..client }, Some(name.clone())),
    };
    Side::of_other(range, cx.of_other(from.to_string(), Cluster { client, instance, timeout })).await
}

fn write(
    out: &mut impl std::io::Write,
    format: Format,
    redaction: &Redaction,
    before: Option<&Stored>,
    after: Option<&Stored>,
) -> Result<()> {
    let key = before.or(after).map_or(&[][..], |kv| &kv.key);
    if format == Format::Json {
        let [old, new] = [before, after].map(|kv| kv.map(|kv| kv.value.as_slice()));
        let (old, new) = redaction.shown(key, old, new);
        let (before, after) = (before.zip(old).map(Value::of), after.zip(new).map(Value::of));
        serde_json::to_writer(&mut *out, &Line { key: Base64(key), before, after })?;
        return Ok(out.write_all(b"\n")?);
    }
    Ok(writeln!(out, "{}", line(redaction, before, after))?)
}

/// A key that differs, for people.
pub(crate) fn line(redaction: &Redaction, before: Option<&Stored>, after: Option<&Stored>) -> String {
    let key = before.or(after).map_or(&[][..], |kv| &kv.key);
    let [old, new] = [before, after].map(|kv| kv.map(|kv| kv.value.as_slice()));
    let (before, after) = redaction.shown(key, old, new);
    let sign = match (before, after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    };
    format!("{sign} {}  {}", Escaped(key), ValueChange { before, after, width: WIDTH })
}
