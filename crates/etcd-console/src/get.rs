//! `get`: prints the keys of a range, page by page.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use etcd_keys::Connection;
use etcd_keys::kv;
use etcd_keys::pages::Page;
use etcd_keys::{KeyRange, LeaseId};
use serde::Serialize;

use crate::cli::{Format, Get};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::nearby;
use crate::output::{self, Base64, Bytes, Progress};

pub(crate) async fn run(args: Get, cx: &Context) -> Result<ExitCode> {
    let range = crate::keys::range(&args.keys)?;
    let is_one_key = range.is_single();
    let connection = cx.connect().await?;
    if args.count_only {
        return count(&args, &connection, &range, cx).await;
    }
    let mut pages = connection.all_keys().pages(range).at_revision(args.rev.unwrap_or(0));
    if args.keys_only {
        pages = pages.keys_only();
    }
    if let Some(limit) = args.limit {
        pages = pages.limit(limit);
    }
    let mut out = output::stdout();
    let mut progress = Progress::new(cx.global.quiet || io::stdout().is_terminal());
    let (mut read, mut left) = (0_u64, 0);
    while let Some(page) = pages.next_page().await? {
        match args.format {
            Format::Text => text(&args, &page, &mut out)?,
            Format::Json => json(&page, read == 0, &mut out)?,
        }
        read = read.saturating_add(page.entries().len() as u64);
        left = page.left();
        progress.draw(|| format!("{} read, {left} to go", output::keys(read)));
    }
    if args.format == Format::Json {
        let (revision, cluster_id) = pages.seen().unwrap_or_default();
        if read == 0 {
            out.write_all(b"{\"kvs\":[")?;
        }
        let header = serde_json::to_string(&Header { cluster_id, revision })?;
        let more = if left > 0 { ",\"more\":true" } else { "" };
        writeln!(out, "]{more},\"count\":{},\"header\":{header}}}", read.saturating_add(left))?;
    }
    out.flush()?;
    if read == 0 && args.print_value_only && args.format == Format::Text && is_one_key {
        return Err(missing(&args, &connection, cx).await);
    }
    if read == 0 {
        nearby::note("get", &args.keys, &connection, cx).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The error of --print-value-only for a missing key: in `$(…)`, no output would look like an empty value.
async fn missing(args: &Get, connection: &Connection, cx: &Context) -> anyhow::Error {
    let when = args.rev.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
    let what = format!("there is no key `{}`{when}", args.keys.key);
    let next = nearby::find("get", &args.keys, connection, cx).await.map_or_else(
        || "without --print-value-only a missing key is not an error, and nothing is printed".to_owned(),
        |found| found.hint(),
    );
    Failure { exit: Exit::Failure, what, next }.into()
}

async fn count(args: &Get, connection: &Connection, range: &KeyRange, cx: &Context) -> Result<ExitCode> {
    let requested = args.rev.unwrap_or(0);
    let counted = connection.all_keys().send(kv::Get::range(range.clone()).count_only().revision(requested)).await?;
    let revision = if requested > 0 { requested } else { counted.revision };
    let header = Header { cluster_id: connection.cluster_id().unwrap_or_default(), revision };
    match args.format {
        Format::Text => output::text(&format!("{}\n", counted.count))?,
        Format::Json => output::json(&serde_json::json!({ "count": counted.count, "header": header }))?,
    }
    if counted.count == 0 {
        nearby::note("get", &args.keys, connection, cx).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line for the key and a line for the value, like etcdctl.
fn text(args: &Get, page: &Page, out: &mut impl Write) -> io::Result<()> {
    let bytes = match args.print_value_only && !args.hex && !io::stdout().is_terminal() {
        true => Bytes::Raw,
        false => Bytes::choose(args.hex),
    };
    for entry in page.entries() {
        if !args.print_value_only {
            bytes.write(out, entry.key())?;
            out.write_all(b"\n")?;
        }
        if !args.keys_only {
            bytes.write(out, entry.value())?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// The fields and their order are etcdctl's, except that the header comes last, because the count is known only then.
#[derive(Serialize)]
struct Entry<'a> {
    key: Base64<'a>,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    value: Base64<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    lease: i64,
}

#[derive(Serialize)]
struct Header {
    cluster_id: u64,
    revision: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn json(page: &Page, first: bool, out: &mut impl Write) -> io::Result<()> {
    if first {
        out.write_all(b"{\"kvs\":[")?;
    }
    for (index, entry) in page.entries().enumerate() {
        if !first || index > 0 {
            out.write_all(b",")?;
        }
        let entry = Entry {
            key: Base64(entry.key()),
            create_revision: entry.create_revision(),
            mod_revision: entry.mod_revision(),
            version: entry.version(),
            value: Base64(entry.value()),
            lease: entry.lease().map_or(0, LeaseId::get),
        };
        serde_json::to_writer(&mut *out, &entry).map_err(io::Error::from)?;
    }
    Ok(())
}
