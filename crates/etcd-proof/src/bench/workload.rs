//! How much is measured: the sizes of the targets, smaller sizes that show how cost grows, and those of `--quick`.

use crate::cli::BenchName;

/// The size of targets for keys.
pub(super) const KEYS: u64 = 1_000_000;
/// The size of targets for watches.
pub(super) const EVENTS: u64 = 300_000;
/// The size of targets for the store.
pub(super) const RECORDS: u64 = 10_000;

/// How much is measured.
#[derive(Clone, Copy)]
pub(super) struct Workload {
    pub(super) quick: bool,
    rounds: Option<u32>,
}

impl Workload {
    pub(super) fn new(quick: bool, rounds: Option<u32>) -> Self {
        Self { quick, rounds }
    }

    /// How often each side of a bench runs, in turn.
    pub(super) fn rounds(self, bench: BenchName) -> u32 {
        let (full, quick) = match bench {
            BenchName::Start => (15, 3),
            BenchName::Cluster => (11, 1),
            BenchName::Isolation | BenchName::Store => (7, 3),
            BenchName::Browse => (7, 1),
            BenchName::Read | BenchName::Delete | BenchName::Watch => (3, 1),
        };
        self.rounds.unwrap_or(if self.quick { quick } else { full })
    }

    /// How many keys are read and deleted, and found by a restart.
    pub(super) fn keys(self) -> &'static [u64] {
        if self.quick { &[10_000, 100_000] } else { &[10_000, 100_000, KEYS] }
    }

    pub(super) fn events(self) -> u64 {
        if self.quick { 30_000 } else { EVENTS }
    }

    pub(super) fn records(self) -> u64 {
        if self.quick { 1_000 } else { RECORDS }
    }

    /// How many changes a run makes whose end is measured.
    pub(super) fn changes_of_a_run(self) -> u64 {
        if self.quick { 10_000 } else { 100_000 }
    }

    /// How many tests are isolated from each other.
    pub(super) fn tests(self) -> &'static [u64] {
        if self.quick { &[1, 10, 100] } else { &[1, 10, 100, 1_000] }
    }

    /// For how many tests at most each test gets its own etcd. A thousand would take too long.
    pub(super) fn most_servers(self) -> Servers {
        if self.quick { Servers { plain: 1, ours: 10 } } else { Servers { plain: 10, ours: 100 } }
    }
}

/// How many servers are started one after the other.
pub(super) struct Servers {
    pub(super) plain: u64,
    pub(super) ours: u64,
}
