//! Tips for wrong command lines: other names of our commands, etcdctl's commands, and values without their flags. Adds them to
//! clap's errors.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Command, Error};
use etcd_local::binary::Wanted;

/// Our commands by the names that they have in other programs.
const OURS: &[(&[&str], &str)] = &[
    (&["ls", "list", "keys"], "get PREFIX --prefix --keys-only"),
    (&["rm", "delete", "remove"], "del KEY"),
    (&["set", "create", "update"], "put KEY VALUE"),
    (&["start"], "etcd-up"),
    (&["stop"], "etcd-down"),
    (&["members"], "member list"),
];

/// Commands that only etcdctl has.
const ETCDCTL: &[&str] = &[
    "alarm",
    "auth",
    "check",
    "compact",
    "compaction",
    "defrag",
    "downgrade",
    "elect",
    "endpoint",
    "hashkv",
    "lease",
    "lock",
    "make-mirror",
    "move-leader",
    "role",
    "snapshot",
    "txn",
    "user",
    "version",
];

/// Adds a tip, if there is one. These names are not aliases, because a workspace may have commands with these names.
pub(crate) fn with_tip(mut error: Error, known: &Command) -> Error {
    let given = |error: &Error, kind| match error.get(kind) {
        Some(ContextValue::String(given)) => Some(given.clone()),
        _ => None,
    };
    if let Some(name) = given(&error, ContextKind::InvalidSubcommand) {
        let meant = format!("etcd-{name}");
        if known.find_subcommand(&meant).is_some() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant]));
        } else if let Some(tip) = command(&name) {
            error.remove(ContextKind::SuggestedSubcommand);
            say(&mut error, tip);
        }
    } else if let Some(word) = given(&error, ContextKind::InvalidArg)
        && let Some(tip) = flag(&word, &error, known)
    {
        say(&mut error, tip);
    }
    error
}

fn say(error: &mut Error, tip: String) {
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
}

fn command(name: &str) -> Option<String> {
    let ours = OURS.iter().find(|(names, _)| names.contains(&name));
    ours.map(|(_, line)| format!("`cargo xtask {line}` does that"))
        .or_else(|| ETCDCTL.contains(&name).then(|| format!("`cargo xtask etcdctl -- {name}` runs etcdctl's command")))
}

/// For a word without a flag, where the command accepts none: the flag that the word is probably a value of.
fn flag(word: &str, error: &Error, known: &Command) -> Option<String> {
    // clap names the command nowhere else.
    let usage = error.get(ContextKind::Usage)?.to_string();
    let command = usage.split_whitespace().find_map(|word| known.find_subcommand(word))?;
    let takes = |flag: &str| command.get_opts().any(|option| option.get_long() == Some(flag));
    let is_port = word.parse::<u16>().is_ok_and(|port| port > 1023);
    let is_name =
        word.starts_with(char::is_alphabetic) && word.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    let flag = match word.parse::<Wanted>() {
        _ if word.starts_with('-') => return None,
        _ if is_port && takes("port") => "port",
        _ if word.contains(['/', '\\']) && takes("data-dir") => "data-dir",
        Ok(_) if takes("etcd") => "etcd",
        _ if is_name && takes("instance") => "instance",
        _ => return None,
    };
    Some(format!("to pass '{word}' as the value of an option, use '--{flag} {word}'"))
}
