//! `bench`: what the README promises, measured, in one table. Each bench is in the file of its name; what they find is
//! in `report`, and shown by `table` and `plot`.

mod by_hand;
mod delete;
mod effort;
mod isolation;
mod keyspace;
mod machine;
mod patience;
mod plain;
mod plot;
mod probe;
mod process;
mod read;
mod report;
mod sample;
mod scratch;
mod start;
mod store;
mod table;
mod watch;
mod workspace;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use etcd_xtask::{Context, Exit, Failure, Format, on_demand, output};

use self::effort::Effort;
use self::machine::Installed;
use self::patience::Interrupted;
pub(crate) use self::probe::run as probe;
use self::report::{Report, SCHEMA};
use self::scratch::Scratch;
use crate::cli::{Bench, BenchName, Cli};

/// What the benches have.
struct Subject<'a> {
    /// The program whose promises are measured.
    xtask: &'a Path,
    /// The one that it becomes for commands that speak etcd's API.
    console: PathBuf,
    cx: &'a Context,
    effort: Effort,
    /// The other side.
    installed: Installed,
    scratch: Scratch,
}

pub(crate) fn run(args: &Bench, cli: &Cli, cx: &Context) -> Result<Exit> {
    let names = names(args);
    if let Some(file) = &args.plot {
        can_be_plotted(file, args, &names)?;
    }
    let report = match &args.from {
        Some(file) => saved(file)?,
        None => match measure(args, &names, cli, cx) {
            Err(error) if error.is::<Interrupted>() => return Ok(Exit::INTERRUPTED),
            report => report?,
        },
    };
    // First: what was measured must not go with a picture that cannot be drawn.
    match args.answer.format {
        Format::Json => output::json(&report)?,
        Format::Text => output::answer_text(&table::text(&report))?,
    }
    if let Some(file) = &args.plot {
        let svg = plot::svg(&report)?;
        fs::write(file, svg).with_context(|| format!("cannot write `{}`", file.display()))?;
        cx.output.note(format_args!("plotted in `{}`", file.display()));
    }
    let failed = report.benches.iter().any(|bench| bench.error.is_some());
    Ok(if failed { Exit::FAILURE } else { Exit::SUCCESS })
}

/// Those that are asked for, each once; all, if none is.
fn names(args: &Bench) -> Vec<BenchName> {
    let wanted = |name: &BenchName| args.names.is_empty() || args.names.contains(name);
    BenchName::value_variants().iter().copied().filter(wanted).collect()
}

/// Before anything takes its time.
fn can_be_plotted(file: &Path, args: &Bench, names: &[BenchName]) -> Result<()> {
    let usage = |what: String, next| Err(Failure::with_exit(Exit::USAGE, what, next));
    if args.from.is_none() && !names.iter().any(|name| measures_sizes(*name)) {
        let next = "start, read, delete and isolation show how cost grows";
        return usage("there is nothing to plot in what is measured".to_owned(), next);
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if file.is_dir() || !dir.is_dir() {
        return usage(
            format!("`{}` cannot be written", file.display()),
            "`--plot` wants a file in a directory that exists",
        );
    }
    Ok(())
}

/// Whether a bench measures several sizes.
fn measures_sizes(name: BenchName) -> bool {
    matches!(name, BenchName::Start | BenchName::Read | BenchName::Delete | BenchName::Isolation)
}

fn saved(file: &Path) -> Result<Report> {
    let read = || Report::parse(&fs::read_to_string(file)?);
    read().with_context(|| format!("`{}` is no report of `bench --format json`", file.display()))
}

fn measure(args: &Bench, names: &[BenchName], cli: &Cli, cx: &Context) -> Result<Report> {
    patience::listen()?;
    let machine = machine::machine();
    let subject = Subject {
        xtask: &cli.xtask,
        console: match &cli.console {
            Some(program) => program.clone(),
            None => on_demand::program("etcd-console", cx)?,
        },
        cx,
        effort: Effort::new(args.quick, args.rounds),
        installed: Installed::look(cx)?,
        scratch: Scratch::open(&cx.workspace)?,
    };
    let mut benches = Vec::new();
    for name in names {
        benches.push(one(*name, &subject)?);
    }
    Ok(Report {
        schema: SCHEMA,
        machine,
        versions: subject.installed.versions(names.contains(&BenchName::Start)),
        quick: args.quick,
        benches,
    })
}

/// One bench. If it fails, the others are measured all the same; only Ctrl-C ends everything.
fn one(name: BenchName, subject: &Subject<'_>) -> Result<report::Bench> {
    let rounds = subject.effort.rounds(name);
    let label = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    subject.cx.output.note(format_args!("measuring {label} …"));
    let (began, mut notes) = (Instant::now(), Notes::default());
    let found = match name {
        BenchName::Start => start::measure(rounds, subject, &mut notes),
        BenchName::Read => read::measure(rounds, subject, &mut notes),
        BenchName::Delete => delete::measure(rounds, subject, &mut notes),
        BenchName::Watch => watch::measure(rounds, subject, &mut notes),
        BenchName::Isolation => isolation::measure(rounds, subject, &mut notes),
        BenchName::Store => store::measure(rounds, subject, &mut notes),
    };
    let (rows, error) = match found {
        Ok(rows) => (rows, None),
        Err(error) => {
            patience::interrupted()?;
            (Vec::new(), Some(format!("{error:#}")))
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(report::Bench { name: label, rounds, seconds, notes: notes.0, rows, error })
}

/// What a reader of a bench's rows should know; each said once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    fn missing_etcdctl(&mut self, subject: &Subject<'_>) {
        if subject.installed.etcdctl.is_none() {
            self.say("etcdctl is not installed: ours stands alone");
        }
    }
}
