//! The arguments of `revert`.

use clap::Args;

use crate::{Format, Keys};

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
    /// Only show what would be changed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Change keys only if exactly N keys differ
    #[arg(long, value_name = "N")]
    pub expect_count: Option<u64>,
    /// Change even all keys, the product's root or a protected prefix; needs --expect-count
    #[arg(long, requires = "expect_count")]
    pub force: bool,
    /// Write no undo file
    #[arg(long)]
    pub no_undo: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
