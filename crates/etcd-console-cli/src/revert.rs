//! The arguments of `revert`.

use clap::Args;

use crate::{Format, Keys, Safeguards};

/// Put keys back as they were at a revision that etcd still has
///
/// Keys that have changed get their old values, deleted keys are written again, and keys that are new are deleted; all
/// without leases. It shows what would change and asks; elsewhere than on a terminal it needs --yes, and --expect-count for
/// more than one key. Keys that change after the preview stay. An undo file is written first. `diff` shows the values.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask revert /Inventory/v1/racks/ --prefix --rev 100 --dry-run")]
pub struct Revert {
    /// The keys.
    #[command(flatten)]
    pub keys: Keys,
    /// The revision that the keys return to
    #[arg(long, value_name = "REV", value_parser = clap::value_parser!(i64).range(1..))]
    pub rev: i64,
    /// What confirms it.
    #[command(flatten)]
    pub safeguards: Safeguards,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
