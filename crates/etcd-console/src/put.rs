//! `put`: one key.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::{Format, Put};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::keys;
use crate::nearby;
use crate::output;

pub(crate) async fn run(args: Put, cx: &Context) -> Result<ExitCode> {
    let key = keys::bytes(&args.key)?;
    if key.is_empty() {
        let failure = Failure {
            exit: Exit::Usage,
            what: "the key is empty".to_owned(),
            next: "give a key: etcd does not have an empty key".to_owned(),
        };
        return Err(failure.into());
    }
    let value = match args.value.as_str() {
        "-" => {
            let mut value = Vec::new();
            std::io::stdin().lock().read_to_end(&mut value).context("cannot read the value from stdin")?;
            value
        }
        // `$(…)` of a failed command is empty, and the shell drops its exit code.
        "" => {
            let what = "the value is empty: nothing was written".to_owned();
            let next = format!("`cargo xtask put {} - < /dev/null` writes an empty value", output::argument(&args.key));
            return Err(Failure { exit: Exit::Usage, what, next }.into());
        }
        value => value.as_bytes().to_vec(),
    };
    let connection = cx.connect().await?;
    let revision = connection.all_keys().put(key, value).await?.revision;
    match args.format {
        Format::Json => output::json(&Answer { revision })?,
        Format::Text => cx.report("OK\n")?,
    }
    if let Some(root) = nearby::root_with_slash(&args.key, cx) {
        cx.note(format_args!(
            "note: the key `{}` does not begin with a slash, as `{root}` does; `cargo xtask del {}{}` deletes it",
            args.key,
            output::argument(&args.key),
            cx.flags(),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Answer {
    revision: i64,
}
