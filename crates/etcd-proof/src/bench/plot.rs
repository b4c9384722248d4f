//! How cost grows, as a picture: which lines there are, in which panels. How they are drawn is in `plot/draw`.

mod draw;

use anyhow::{Result, ensure};

use super::report::{Report, Row};
use super::{delete, isolation, read, start};

/// The SVG of a report.
pub(super) fn svg(report: &Report) -> Result<String> {
    let panels: Vec<Panel> = PANELS.iter().filter_map(|plan| Panel::of(plan, report)).collect();
    ensure!(!panels.is_empty(), "the report has nothing of two sizes or more, so there is no growth to plot");
    draw::svg(&panels, &subtitle(report))
}

fn subtitle(report: &Report) -> String {
    let Report { machine, versions, quick, .. } = report;
    let quick = if *quick { ", quick" } else { "" };
    let etcd = versions.etcd.first().map(String::as_str).unwrap_or_default();
    let etcdctl = versions.etcdctl.iter().map(|version| format!(", etcdctl {version}")).collect::<String>();
    format!("medians on {} {} with {} processors; etcd {etcd}{etcdctl}{quick}", machine.os, machine.arch, machine.cpus)
}

/// One picture of what grows.
struct Plan {
    bench: &'static str,
    title: &'static str,
    /// What the lines are of, and what is said of it beside them.
    whats: &'static [(&'static str, &'static str)],
    x: &'static str,
}

const PANELS: [Plan; 4] = [
    Plan { bench: "start", title: "Restarting etcd", whats: &[(start::RESTART, "etcd-up")], x: "keys in its data" },
    Plan { bench: "read", title: "Reading every key below a prefix", whats: &[(read::ALL, "xtask get")], x: "keys" },
    Plan {
        bench: "delete",
        title: "Deleting them, and how long others wait",
        whats: &[(delete::ALL, "xtask del"), (delete::WAIT, "others wait")],
        x: "keys",
    },
    Plan {
        bench: "isolation",
        title: "Tests, one after the other",
        whats: &[(isolation::TESTS, "sandboxes")],
        x: "tests",
    },
];

/// A plan with its lines.
struct Panel {
    title: &'static str,
    x: &'static str,
    lines: Vec<Line>,
}

/// One thing at several sizes.
struct Line {
    label: String,
    side: Side,
    /// Of what stands beside the panel's first thing.
    dashed: bool,
    /// By size.
    points: Vec<Point>,
}

/// A size and seconds.
type Point = (f64, f64);

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Other,
    /// Another other, where there are two.
    Third,
}

impl Panel {
    fn of(plan: &Plan, report: &Report) -> Option<Self> {
        let bench = report.benches.iter().find(|bench| bench.name == plan.bench)?;
        let mut lines = Vec::new();
        for (number, (what, label)) in plan.whats.iter().enumerate() {
            let rows: Vec<&Row> = bench.rows.iter().filter(|row| row.what == *what && row.size.is_some()).collect();
            lines.extend(lines_of(&rows, label, number > 0));
        }
        // One point is no growth.
        lines.retain(|line| line.points.len() > 1);
        (!lines.is_empty()).then_some(Self { title: plan.title, x: plan.x, lines })
    }
}

/// Our line, and one for each other side.
fn lines_of(rows: &[&Row], label: &str, dashed: bool) -> Vec<Line> {
    let points = |of: &dyn Fn(&Row) -> Option<f64>| {
        let point = |row: &&Row| Some((row.size?.count as f64, seconds(of(row)?, &row.unit)?));
        let mut points: Vec<Point> = rows.iter().filter_map(point).collect();
        points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        // Ours stands once beside each other side.
        points.dedup_by_key(|(size, _)| *size);
        points
    };
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().filter_map(|row| Some(row.other.as_ref()?.name.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let ours = Line { label: label.to_owned(), side: Side::Ours, dashed, points: points(&|row| Some(row.ours.median)) };
    let others = names.iter().zip([Side::Other, Side::Third]).map(|(name, side)| {
        let of = |row: &Row| Some(row.other.as_ref().filter(|other| other.name == *name)?.sample.median);
        let label = if dashed { format!("{label}: {name}") } else { (*name).to_owned() };
        Line { label, side, dashed, points: points(&of) }
    });
    std::iter::once(ours).chain(others).collect()
}

/// What a logarithmic scale can show; `None`: it is no time, or none at all.
fn seconds(value: f64, unit: &str) -> Option<f64> {
    let seconds = match unit {
        "s" => value,
        "ms" => value / 1e3,
        _ => return None,
    };
    (seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Counted;
    use crate::bench::report::tests::example;

    #[test]
    fn what_was_measured_at_several_sizes_is_drawn() {
        let svg = svg(&example()).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in
            ["Reading every key below a prefix", "xtask get", "etcdctl", "10k", "1M", "0.1 s", "prefers-color-scheme"]
        {
            assert!(svg.contains(text), "`{text}` is missing: {svg}");
        }
        assert!(!svg.contains("Restarting"), "nothing of that grows here");
    }

    #[test]
    fn lines_are_of_each_side_and_in_order() {
        let row = |count, other: &str| {
            let row = Row::new(isolation::TESTS, "ms", vec![count as f64]).unwrap().size(Counted::Tests.of(count));
            row.beside(other, vec![1e3]).unwrap()
        };
        let rows = [row(10, "a"), row(1, "a"), row(1, "b"), row(10, "b")];
        let lines = lines_of(&rows.iter().collect::<Vec<_>>(), "ours", false);
        let seen: Vec<_> = lines.iter().map(|line| (line.label.as_str(), line.side, line.points.as_slice())).collect();
        let expected: [(&str, Side, &[Point]); 3] = [
            ("ours", Side::Ours, &[(1.0, 0.001), (10.0, 0.01)]),
            ("a", Side::Other, &[(1.0, 1.0), (10.0, 1.0)]),
            ("b", Side::Third, &[(1.0, 1.0), (10.0, 1.0)]),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_report_without_growth_is_no_picture() {
        let mut report = example();
        report.benches.retain(|bench| bench.name != "read");
        assert!(svg(&report).unwrap_err().to_string().contains("no growth"));
    }
}
