//! `etcd-down`: the instance does not run, and its data stays.

use anyhow::Result;
use etcd_local::Down;
use serde::Serialize;

use crate::cli::{EtcdDown, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(args: &EtcdDown, cx: &Context) -> Result<Exit> {
    #[derive(Serialize)]
    struct Answer<'a> {
        instance: &'a str,
        state: &'static str,
        stopped: bool,
        pids: &'a [u32],
        data_dir: &'a std::path::Path,
    }

    let instance = cx.instance(&args.which)?;
    let Down { stopped, data_dir } = instance.down()?;
    let name = instance.name();
    match args.answer.format {
        Format::Json => output::json(&Answer {
            instance: name,
            state: "stopped",
            stopped: !stopped.is_empty(),
            pids: &stopped,
            data_dir: &data_dir,
        })?,
        Format::Text if stopped.is_empty() => cx.output.report(&format!("etcd `{name}` was not running\n"))?,
        Format::Text => {
            let is_gone = matches!(data_dir.try_exists(), Ok(false));
            let stays = if is_gone { "its data was deleted before, in" } else { "its data stays in" };
            cx.output.report(&format!("stopped etcd `{name}`; {stays} {}\n", cx.shown(&data_dir)))?;
        }
    }
    Ok(Exit::SUCCESS)
}
