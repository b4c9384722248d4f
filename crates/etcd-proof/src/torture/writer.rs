//! `writer`, hidden: takes the place of tests in a run. It joins the run as tests do, writes keys in a sandbox, and starts
//! children that do the same.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use etcd_sandbox::Sandbox;
use etcd_xtask::Exit;

use crate::cli::WriterArgs;

const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn writer(args: &WriterArgs) -> Result<Exit> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let spawn = |_| {
        let mut command = Command::new(&own);
        command.args(["--xtask", "-", "writer", "--until"]).arg(&args.until).stdin(Stdio::null()).spawn()
    };
    let children = (0..args.children).map(spawn).collect::<Result<Vec<_>, _>>()?;
    let latest = Instant::now() + LONGEST;
    let sandbox = Sandbox::open_blocking("torture::writer")?;
    let mut number = 0;
    while Instant::now() < latest && !args.until.exists() {
        sandbox.block_on(sandbox.put(format!("key/{number}"), "written"))?;
        number += 1;
    }
    for mut child in children {
        child.wait()?;
    }
    Ok(Exit::SUCCESS)
}
