//! `etcd-install`: installs an etcd into this user's cache, without starting it.

use anyhow::Result;
use etcd_local::binary::{Binaries, Binary, Origin, Source, Tool};
use serde::Serialize;

use crate::cli::{EtcdInstall, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(args: &EtcdInstall, cx: &Context) -> Result<Exit> {
    let builder = cx.builder()?.offline(args.offline);
    let binaries = builder.binaries();
    if args.list {
        return list(&binaries, args.answer.format, cx);
    }
    let wanted = args.version.as_ref().unwrap_or(&builder.settings().wanted);
    let binary = binaries.install(Tool::Etcd, wanted, args.from, args.sha256)?;
    let Binary { path, version, origin } = &binary;
    match args.answer.format {
        Format::Json => output::json(&Line { version: version.to_string(), path: Some(path), from: from(*origin) })?,
        Format::Text => {
            let how = if matches!(origin, Origin::Installed(_)) { "is installed" } else { "was already installed" };
            cx.output.report(&format!("etcd {version} {how}: {}\n", cx.shown(path)))?;
        }
    }
    Ok(Exit::SUCCESS)
}

#[derive(Serialize)]
struct Line<'a> {
    version: String,
    /// `None` if it is available, but not installed.
    path: Option<&'a std::path::Path>,
    from: &'static str,
}

fn from(origin: Origin) -> &'static str {
    match origin {
        Origin::Installed(source) => name(source),
        Origin::Cache => "cache",
        Origin::GoPath => "gopath",
        Origin::Path => "path",
        Origin::Given => "given",
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Registry => "registry",
        Source::Release => "release",
        Source::GoSource => "source",
    }
}

fn list(binaries: &Binaries, format: Format, cx: &Context) -> Result<Exit> {
    let installed: Vec<_> = binaries.installed()?.into_iter().filter(|one| one.tool == Tool::Etcd).collect();
    let known: Vec<_> = binaries.known().into_iter().filter(|one| one.tool == Tool::Etcd).collect();
    let here = installed.iter().map(|one| Line {
        version: one.version.to_string(),
        path: Some(&one.path),
        from: name(one.source),
    });
    let there = known
        .iter()
        .filter(|known| installed.iter().all(|one| one.version != known.version))
        .map(|known| Line { version: known.version.to_string(), path: None, from: name(known.source) });
    let lines: Vec<Line<'_>> = here.chain(there).collect();
    match format {
        Format::Json => output::json(&lines)?,
        Format::Text => {
            let mut text = format!("cache: {}\n", cx.shown(&binaries.cache_dir()?));
            for Line { version, path, from } in &lines {
                let path = path.map_or("not installed".to_owned(), |path| cx.shown(path).to_string());
                text.push_str(&format!("{version:<10}{from:<10}{path}\n"));
            }
            output::answer_text(&text)?;
        }
    }
    Ok(Exit::SUCCESS)
}
