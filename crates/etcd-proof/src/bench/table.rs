//! A report for people: what, ours, the other side, ratio, target, met or not.

use super::report::{Bench, Judged, Machine, Report, Row, Size, Target};
use super::sample::{Sample, short};

/// Columns of the table.
const COLUMNS: usize = 6;
type Line = [String; COLUMNS];

const HEAD: [&str; COLUMNS] = ["what", "ours", "the other side", "ratio", "target", "met"];

pub(super) fn text(report: &Report) -> String {
    let rows: Vec<Vec<Line>> = report.benches.iter().map(|bench| bench.rows.iter().map(line).collect()).collect();
    let head = HEAD.map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().flatten().chain([&head]).filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = top(report);
    text.push_str(&aligned(&head, &widths));
    for (bench, rows) in report.benches.iter().zip(&rows) {
        text.push_str(&title(bench));
        rows.iter().for_each(|row| text.push_str(&aligned(row, &widths)));
        bench.error.iter().for_each(|error| text.push_str(&format!("  not measured: {error}\n")));
        bench.notes.iter().for_each(|note| text.push_str(&format!("  note: {note}\n")));
    }
    text
}

/// The machine, and who took part.
fn top(report: &Report) -> String {
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
    text.push_str("figures are medians, with the least and the greatest in brackets\n");
    if *quick {
        text.push_str("--quick: few rounds; where the size is not the one that a target speaks of, it is not judged\n");
    }
    text.push('\n');
    text
}

fn described(machine: &Machine) -> String {
    let Machine { os, arch, processor, cpus, memory_mb, load } = machine;
    let mut text = format!("{os} {arch}, {cpus} processors");
    processor.iter().for_each(|name| text.push_str(&format!(" ({name})")));
    memory_mb.iter().for_each(|mb| text.push_str(&format!(", {:.1} GB of memory", *mb as f64 / 1024.0)));
    load.iter().for_each(|load| text.push_str(&format!(", load {load} before")));
    text
}

fn title(bench: &Bench) -> String {
    let Bench { name, rounds, seconds, .. } = bench;
    let rounds = if *rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
    format!("{name}: {rounds}, {seconds:.0} s\n")
}

fn line(row: &Row) -> Line {
    let Row { what, size, unit, ours, other, ratio, target, met } = row;
    let what = match size {
        Some(size) => format!("  {what}, {}", counted(*size)),
        None => format!("  {what}"),
    };
    let other = other.as_ref().map(|other| format!("{}: {}", other.name, figure(&other.sample)));
    let verdict = match (target, met) {
        (_, Some(true)) => "met",
        (_, Some(false)) => "MISSED",
        (Some(_), None) => "not judged",
        (None, None) => "",
    };
    let target = target.map(|target| promised(target, unit));
    [
        what,
        format!("{} {unit}", figure(ours)),
        other.unwrap_or_default(),
        ratio.map(short).unwrap_or_default(),
        target.unwrap_or_default(),
        verdict.to_owned(),
    ]
}

fn promised(target: Target, unit: &str) -> String {
    match target.of {
        Judged::Ours => format!("≤ {} {unit}", target.at_most),
        Judged::Ratio => format!("ratio ≤ {}", target.at_most),
    }
}

fn figure(sample: &Sample) -> String {
    let Sample { median, min, max, runs } = sample;
    let range = (*runs > 1).then(|| format!(" ({}–{})", short(*min), short(*max)));
    format!("{}{}", short(*median), range.unwrap_or_default())
}

/// `10k keys`.
fn counted(Size { count, of }: Size) -> String {
    let name = if count == 1 { of.name().trim_end_matches('s') } else { of.name() };
    format!("{} {name}", rounded(count))
}

/// Whole thousands as `k`, whole millions as `M`.
pub(super) fn rounded(count: u64) -> String {
    match count {
        0 => "0".to_owned(),
        millions if millions % 1_000_000 == 0 => format!("{}M", millions / 1_000_000),
        thousands if thousands % 1_000 == 0 => format!("{}k", thousands / 1_000),
        other => other.to_string(),
    }
}

/// Cells in their columns.
fn aligned(line: &Line, widths: &[usize; COLUMNS]) -> String {
    let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    let mut text = cells.collect::<Vec<_>>().join("  ");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    #[test]
    fn everything_is_in_one_table() {
        let expected = "\
linux x86_64, 2 processors (Example 3000), 7.7 GB of memory, load 0.25 before
ours 0.1.0; etcd 3.7.2 and 3.5.27; etcdctl 3.4.23; nextest not installed; pifpaf not installed
figures are medians, with the least and the greatest in brackets
--quick: few rounds; where the size is not the one that a target speaks of, it is not judged

what                         ours                  the other side   ratio  target       met
start: 3 rounds, 12 s
  fresh start                34.0 (30.0–41.0) ms
  restart on its data        36.0 ms               plain etcd: 617  0.058  ratio ≤ 0.2  met
  note: pifpaf is not installed
read: 3 rounds, 12 s
  `get --prefix`, 10k keys   0.050 (0.040–0.10) s  etcdctl: 0.090   0.56
  `get --prefix`, 100k keys  0.18 (0.14–0.36) s    etcdctl: 0.60    0.30   ≤ 4 s        not judged
  `get --prefix`, 1M keys    1.50 (1.20–3.00) s    etcdctl: 5.90    0.25   ≤ 4 s        met
  its memory, 1M keys        61.0 MB                                       ≤ 60 MB      MISSED
store: 3 rounds, 12 s
  not measured: there is no store
";
        assert_eq!(text(&example()), expected);
    }

    #[test]
    fn counts_are_short() {
        let counts = [0, 1, 999, 1_000, 10_001, 300_000, 1_000_000, 1_500_000].map(rounded);
        assert_eq!(counts, ["0", "1", "999", "1k", "10001", "300k", "1M", "1500k"]);
        assert_eq!(counted(crate::bench::report::Counted::Tests.of(1)), "1 test");
    }
}
