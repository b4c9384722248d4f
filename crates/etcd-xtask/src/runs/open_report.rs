//! `report`: prints where the report of a run is, and opens it in a browser if there is one.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::child;
use crate::cli::ReportOf;
use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use crate::runs::report;

pub(crate) fn run(args: &ReportOf, cx: &Context) -> Result<Exit> {
    let page = report::find(args.run.as_deref(), cx)?;
    output::answer_text(&format!("{}\n", page.display()))?;
    if let Some(mut browser) = browser(&page, cx) {
        child::ignore_terminal_signals(&mut browser);
        browser.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = browser.spawn() {
            cx.output.warn(format_args!("no browser can be started: {error}"));
        }
    }
    Ok(Exit::SUCCESS)
}

/// The command that opens a page. `None`: nobody looks at a screen here.
fn browser(page: &Path, cx: &Context) -> Option<Command> {
    let is_set = |name: &str| cx.env.var(name).is_some_and(|value| !value.is_empty());
    if is_set("CI") || !std::io::stdout().is_terminal() {
        return None;
    }
    let has_screen = cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    let name = if cfg!(windows) {
        "explorer"
    } else if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let program: PathBuf = etcd_local::all_on_path(&cx.env, name).into_iter().next().filter(|_| has_screen)?;
    let mut command = cx.command(program);
    command.arg(page);
    Some(command)
}
