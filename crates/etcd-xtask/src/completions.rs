//! `completions`: a script for the user's shell.

use anyhow::Result;

use crate::cli::Completions;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(args: &Completions, mut whole: clap::Command) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut whole, "xtask", &mut script);
    output::answer_text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::SUCCESS)
}
