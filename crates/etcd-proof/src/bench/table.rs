//! A report for people: what, ours, the other side, ratio, target, met or not.

use comfy_table::{Table, presets};

use super::report::{BenchResult, Machine, Report, Row, Size, Target, TargetOf};
use super::sample::{Sample, short};

pub(super) fn text(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["what", "ours", "the other side", "ratio", "target", "met"]);
    table.add_rows(report.benches.iter().flat_map(|bench| &bench.rows).map(cells));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    let mut text = head(report);
    text.extend(lines.next());
    for bench in &report.benches {
        text.push_str(&title(bench));
        text.extend(lines.by_ref().take(bench.rows.len()));
        text.extend(bench.error.iter().map(|error| format!("  not measured: {error}\n")));
        text.extend(bench.notes.iter().map(|note| format!("  note: {note}\n")));
    }
    text
}

/// The machine, and the versions of the programs.
fn head(report: &Report) -> String {
    let Report { machine, versions, quick, .. } = report;
    let or_not = |version: &Option<String>| version.clone().unwrap_or_else(|| "not installed".to_owned());
    let mut text = format!(
        "{}\nours {}; etcd {}; etcdctl {}; nextest {}; pifpaf {}\n",
        described(machine),
        versions.ours,
        versions.etcd.join(" and "),
        or_not(&versions.etcdctl),
        or_not(&versions.nextest),
        or_not(&versions.pifpaf),
    );
    text.push_str("figures are medians, with minimum and maximum in brackets\n");
    if *quick {
        text.push_str("--quick: few rounds; targets for the full size are not checked\n");
    }
    text + "\n"
}

fn described(machine: &Machine) -> String {
    let Machine { os, arch, processor, cpus, memory_mb, load } = machine;
    let processor = processor.iter().map(|name| format!(" ({name})")).collect::<String>();
    let memory = memory_mb.iter().map(|mb| format!(", {:.1} GB of memory", *mb as f64 / 1024.0)).collect::<String>();
    let load = load.iter().map(|load| format!(", load {load} before")).collect::<String>();
    format!("{os} {arch}, {cpus} processors{processor}{memory}{load}")
}

fn title(bench: &BenchResult) -> String {
    let BenchResult { name, rounds, seconds, .. } = bench;
    let plural = if *rounds == 1 { "" } else { "s" };
    format!("{name}: {rounds} round{plural}, {seconds:.0} s\n")
}

fn cells(row: &Row) -> [String; 6] {
    let Row { what, size, unit, ours, other, ratio, target, met } = row;
    let size = size.map(|size| format!(", {}", counted(size))).unwrap_or_default();
    let other = other.as_ref().map(|other| format!("{}: {}", other.name, figure(&other.sample)));
    let met = match (target, met) {
        (_, Some(true)) => "met",
        (_, Some(false)) => "MISSED",
        (Some(_), None) => "not checked",
        (None, None) => "",
    };
    let target = target.map(|Target { of, at_most }| match of {
        TargetOf::Ours => format!("≤ {at_most} {unit}"),
        TargetOf::Ratio => format!("ratio ≤ {at_most}"),
    });
    [
        format!("  {what}{size}"),
        format!("{} {unit}", figure(ours)),
        other.unwrap_or_default(),
        ratio.map(short).unwrap_or_default(),
        target.unwrap_or_default(),
        met.to_owned(),
    ]
}

fn figure(sample: &Sample) -> String {
    let Sample { median, min, max, runs } = sample;
    let range = (*runs > 1).then(|| format!(" ({}–{})", short(*min), short(*max)));
    format!("{}{}", short(*median), range.unwrap_or_default())
}

/// `10k keys`, `1M keys`, `1 test`.
fn counted(Size { count, of }: Size) -> String {
    match count {
        1 => format!("1 {}", of.trim_end_matches('s')),
        _ if count % 1_000_000 == 0 => format!("{}M {of}", count / 1_000_000),
        _ if count % 1_000 == 0 => format!("{}k {of}", count / 1_000),
        _ => format!("{count} {of}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Versions;
    use super::*;

    #[test]
    fn everything_is_in_one_table() {
        let read = |count, ours: f64, other: f64| {
            let row = Row::new("`get --prefix`", "s", vec![ours * 0.8, ours * 2.0, ours]).unwrap();
            row.size(Size::keys(count)).beside("etcdctl", vec![other]).unwrap().at_most(4.0).checked_if(count > 100_000)
        };
        let restart = Row::new("restart on its data", "ms", vec![36.0]).unwrap();
        let start = vec![
            Row::new("fresh start", "ms", vec![34.0, 30.0, 41.0]).unwrap(),
            restart.beside("plain etcd", vec![617.0]).unwrap().ratio_at_most(0.2),
        ];
        let memory = Row::new("its memory", "MB", vec![61.0]).unwrap().size(Size::keys(1_000_000)).at_most(60.0);
        let read = vec![read(100_000, 0.18, 0.6), read(1_000_000, 1.5, 5.9), memory];
        let bench = |name: &str, rows, note: Option<&str>, error: Option<&str>| BenchResult {
            name: name.to_owned(),
            rounds: 3,
            seconds: 12.5,
            notes: note.map(str::to_owned).into_iter().collect(),
            rows,
            error: error.map(str::to_owned),
        };
        let report = Report {
            schema: 2,
            machine: Machine {
                os: "linux",
                arch: "x86_64",
                processor: Some("Example 3000".to_owned()),
                cpus: 2,
                memory_mb: Some(7_900),
                load: Some(0.25),
            },
            versions: Versions {
                ours: "0.1.0",
                etcd: vec!["3.7.2".to_owned(), "3.5.27".to_owned()],
                etcdctl: Some("3.4.23".to_owned()),
                nextest: None,
                pifpaf: None,
            },
            quick: true,
            benches: vec![
                bench("start", start, Some("pifpaf is not installed"), None),
                bench("read", read, None, None),
                bench("store", Vec::new(), None, Some("there is no store")),
            ],
        };
        let expected = "\
linux x86_64, 2 processors (Example 3000), 7.7 GB of memory, load 0.25 before
ours 0.1.0; etcd 3.7.2 and 3.5.27; etcdctl 3.4.23; nextest not installed; pifpaf not installed
figures are medians, with minimum and maximum in brackets
--quick: few rounds; targets for the full size are not checked

what                         ours                 the other side   ratio  target       met
start: 3 rounds, 12 s
  fresh start                34.0 (30.0–41.0) ms
  restart on its data        36.0 ms              plain etcd: 617  0.058  ratio ≤ 0.2  met
  note: pifpaf is not installed
read: 3 rounds, 12 s
  `get --prefix`, 100k keys  0.18 (0.14–0.36) s   etcdctl: 0.60    0.30   ≤ 4 s        not checked
  `get --prefix`, 1M keys    1.50 (1.20–3.00) s   etcdctl: 5.90    0.25   ≤ 4 s        met
  its memory, 1M keys        61.0 MB                                      ≤ 60 MB      MISSED
store: 3 rounds, 12 s
  not measured: there is no store
";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn counts_are_short() {
        let counts = [1, 999, 1_000, 10_001, 1_000_000, 1_500_000].map(|count| counted(Size { count, of: "tests" }));
        assert_eq!(counts, ["1 test", "999 tests", "1k tests", "10001 tests", "1M tests", "1500k tests"]);
    }
}
