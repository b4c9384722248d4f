//! The rows of the table: every command that `--help` shows, with the line that lets it do its real work.

/// What a command has to do with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// Describes it.
    Describes,
    /// Says where it is.
    Points,
    /// Reads or writes keys in it, or in the cluster that `ETCD_ENDPOINTS` names.
    Reaches,
    /// Runs something in it, or in an ephemeral etcd where it does not run.
    Runs,
    Starts,
    Stops,
    Wipes,
    /// Looks for what is wrong with it, and with the machine.
    Checks,
    /// Shows its log.
    Shows,
    /// Has nothing to do with any: it always works.
    Nothing,
}

pub(super) struct Row {
    pub(super) name: &'static str,
    /// `UNDO` stands for an undo file, `WAIT` for the seconds to wait for an answer.
    pub(super) args: &'static [&'static str],
    pub(super) concern: Concern,
}

impl Row {
    /// As one types it.
    pub(super) fn line(&self) -> String {
        [self.name].iter().chain(self.args).copied().collect::<Vec<_>>().join(" ")
    }

    /// Whether no other command is to come before or after it. What stops a server may come after what changes nothing, as
    /// the last row of those.
    pub(super) fn needs_its_own_world(&self) -> bool {
        matches!(self.concern, Concern::Starts | Concern::Wipes)
    }
}

const fn row(name: &'static str, concern: Concern, args: &'static [&'static str]) -> Row {
    Row { name, args, concern }
}

/// In the order in which they are run.
pub(super) const ROWS: &[Row] = &[
    row("etcd-status", Concern::Describes, &["--format", "json"]),
    row("etcd-status", Concern::Describes, &[]),
    row("etcd-list", Concern::Nothing, &[]),
    row("etcd-logs", Concern::Shows, &[]),
    row("env", Concern::Points, &[]),
    row("etcdctl", Concern::Points, &["get", "x"]),
    row("doctor", Concern::Checks, &["--format", "json"]),
    row("member", Concern::Reaches, &["list", "--timeout", "WAIT"]),
    row("get", Concern::Reaches, &["/Inventory/v1/racks/1", "--timeout", "WAIT"]),
    row("watch", Concern::Reaches, &["/Inventory/", "--prefix", "--rev", "2", "-n", "1", "--timeout", "WAIT"]),
    row("history", Concern::Reaches, &["/Inventory/", "--prefix", "--timeout", "WAIT"]),
    row("diff", Concern::Reaches, &["1", "0", "/Inventory/", "--prefix", "--timeout", "WAIT"]),
    row(
        "revert",
        Concern::Reaches,
        &["/Inventory/v1/none/", "--prefix", "--rev", "1", "--dry-run", "--timeout", "WAIT"],
    ),
    row("put", Concern::Reaches, &["/Inventory/v1/racks/1", "10 blades", "--timeout", "WAIT"]),
    row("del", Concern::Reaches, &["/Inventory/v1/racks/1", "--yes", "--timeout", "WAIT"]),
    row("undo", Concern::Reaches, &["UNDO", "--timeout", "WAIT"]),
    row("run", Concern::Runs, &["--", "true"]),
    row("run", Concern::Nothing, &["--ephemeral", "--", "true"]),
    row("test", Concern::Runs, &["--runner", "cargo"]),
    row("runs", Concern::Reaches, &["--timeout", "WAIT"]),
    row("test-clean", Concern::Reaches, &["--timeout", "WAIT"]),
    row("etcd-compact", Concern::Points, &[]),
    row("etcd-install", Concern::Nothing, &["--list"]),
    row("completions", Concern::Nothing, &["bash"]),
    // It stops and starts: `etcd-down` and `etcd-up` have rows.
    row("etcd-restart", Concern::Nothing, &["--help"]),
    // What it opens is there only after `test --report`.
    row("report", Concern::Nothing, &["--help"]),
    // For several members, which no world here has.
    row("etcd-member", Concern::Nothing, &["--help"]),
    // It needs a terminal.
    row("browse", Concern::Nothing, &["--help"]),
    row("bench", Concern::Nothing, &["--help"]),
    row("torture", Concern::Nothing, &["--help"]),
    row("ci", Concern::Nothing, &["--help"]),
    row("init", Concern::Nothing, &["--help"]),
    row("help", Concern::Nothing, &[]),
    row("etcd-up", Concern::Starts, &[]),
    row("etcd-down", Concern::Stops, &[]),
    row("etcd-reset", Concern::Wipes, &["--yes"]),
];

/// The commands that a help text lists.
pub(super) fn listed(help: &str) -> Vec<&str> {
    let list = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty())).collect()
}
