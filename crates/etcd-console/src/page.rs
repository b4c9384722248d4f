//! `page`: draws the report of a test run as one HTML file beside its JSON document. Speaks to no etcd.

mod html;
mod model;
mod timeline;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli::Page;
use crate::context::Context;
use crate::page::model::Report;

/// The page's name.
const PAGE: &str = "report.html";

pub(crate) fn run(args: &Page, cx: &Context) -> Result<ExitCode> {
    let text = std::fs::read(&args.report).with_context(|| format!("cannot read `{}`", args.report.display()))?;
    let report = Report::parse(&text).with_context(|| format!("cannot draw `{}`", args.report.display()))?;
    let path = args.report.with_file_name(PAGE);
    write(&path, &html::page(&report)?).with_context(|| format!("cannot write `{}`", path.display()))?;
    cx.report(&format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    let scratch = path.with_extension("html.tmp");
    let written = std::fs::write(&scratch, text).and_then(|()| std::fs::rename(&scratch, path));
    if written.is_err() {
        // What is there of it is of no use.
        drop(std::fs::remove_file(&scratch));
    }
    Ok(written?)
}
