//! `bench`: what the README promises, measured, in one table. Each bench is in the file of its name. What they find is
//! in `report`, and `table` shows it.

#[cfg(target_os = "linux")] // a terminal of our own
mod browse;
mod cluster;
mod delete;
mod failover;
mod idle;
mod isolation;
mod keyspace;
mod machine;
mod measured;
mod plain_etcd;
mod probe;
mod read;
mod report;
mod sample;
mod start;
mod store;
mod table;
mod test_overhead;
mod watch;
mod workload;
mod workspace;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum as _;
use etcd_xtask::{Context, Exit, Format, output};

use self::machine::Installed;
pub(crate) use self::probe::run as probe;
use self::report::{BenchResult, Report, SCHEMA};
use self::workload::Workload;
use crate::cli::{Bench, BenchName, Cli};
use crate::guard::ScratchDir;
use crate::wait::{self, Interrupted};

/// What every bench uses.
struct Setup<'a> {
    /// The program that is measured.
    xtask: &'a Path,
    /// The program that it becomes for commands that speak etcd's API.
    console: &'a Path,
    /// The same for `browse`.
    browse: Option<&'a Path>,
    cx: &'a Context,
    workload: Workload,
    /// The programs of the other side.
    installed: Installed,
    scratch: ScratchDir,
}

pub(crate) fn run(args: &Bench, cli: &Cli, cx: &Context) -> Result<Exit> {
    let report = match measure(args, cli, cx) {
        Err(error) if error.is::<Interrupted>() => return Ok(Exit::INTERRUPTED),
        report => report?,
    };
    match args.answer.format {
        Format::Json => output::json(&report)?,
        Format::Text => output::answer_text(&table::text(&report))?,
    }
    let failed = report.benches.iter().any(|bench| bench.error.is_some());
    Ok(if failed { Exit::FAILURE } else { Exit::SUCCESS })
}

fn measure(args: &Bench, cli: &Cli, cx: &Context) -> Result<Report> {
    // Each bench once, in their own order; all of them, if none is named.
    let is_wanted = |name: &BenchName| args.names.is_empty() || args.names.contains(name);
    let names: Vec<BenchName> = BenchName::value_variants().iter().copied().filter(is_wanted).collect();
    wait::handle_ctrl_c()?;
    let machine = machine::machine();
    let setup = Setup {
        xtask: &cli.xtask,
        console: &cli.console,
        browse: cli.browse.as_deref(),
        cx,
        workload: Workload::new(args.quick, args.rounds),
        installed: Installed::look(cx)?,
        scratch: ScratchDir::create("etcd-bench-", &cx.workspace)?,
    };
    let benches = names.iter().map(|name| run_bench(*name, &setup)).collect::<Result<Vec<_>>>()?;
    let versions = setup.installed.versions(names.contains(&BenchName::Start));
    Ok(Report { schema: SCHEMA, machine, versions, quick: args.quick, benches })
}

/// Runs one bench. If it fails, the others run all the same; only Ctrl-C ends everything.
fn run_bench(name: BenchName, setup: &Setup<'_>) -> Result<BenchResult> {
    let rounds = setup.workload.rounds(name);
    let label = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    setup.cx.output.note(format_args!("measuring {label} …"));
    let (began, mut notes) = (Instant::now(), Notes::default());
    let measured = match name {
        BenchName::Start => start::measure(rounds, setup),
        BenchName::Cluster => cluster::measure(rounds, setup, &mut notes),
        BenchName::Read => read::measure(rounds, setup, &mut notes),
        #[cfg(target_os = "linux")]
        BenchName::Browse => browse::measure(rounds, setup),
        #[cfg(not(target_os = "linux"))]
        BenchName::Browse => {
            notes.add("`browse` is measured on Linux only");
            Ok(Vec::new())
        }
        BenchName::Delete => delete::measure(rounds, setup, &mut notes),
        BenchName::Watch => watch::measure(rounds, setup, &mut notes),
        BenchName::Isolation => isolation::measure(rounds, setup, &mut notes),
        BenchName::Store => store::measure(rounds, setup),
    };
    let (rows, error) = match measured {
        Ok(rows) => (rows, None),
        Err(error) => {
            wait::check_interrupted()?;
            (Vec::new(), Some(format!("{error:#}")))
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(BenchResult { name: label, rounds, seconds, notes: notes.0, rows, error })
}

/// What a reader of a bench's rows should know. Each note is printed once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    fn missing_etcdctl(&mut self, setup: &Setup<'_>) {
        if setup.installed.etcdctl.is_none() {
            self.add("etcdctl is not installed, so there is nothing to compare with");
        }
    }
}
