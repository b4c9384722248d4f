//! What the benches found, as data. `--format json` prints a [`Report`], so this is a format: a field may be added under
//! the same [`SCHEMA`]; a field that goes or changes its meaning raises it.

use anyhow::Result;
use serde::Serialize;

use super::sample::Sample;

/// The version of the format.
pub(super) const SCHEMA: u32 = 2;

/// The results of one call of `bench`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// [`SCHEMA`].
    pub(super) schema: u32,
    pub(super) machine: Machine,
    pub(super) versions: Versions,
    /// Smaller sizes and fewer rounds than the targets name.
    pub(super) quick: bool,
    /// In the order in which they ran.
    pub(super) benches: Vec<BenchResult>,
}

/// The machine. What the system does not report is `null`.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    /// `linux`, `macos` or `windows`.
    pub(super) os: &'static str,
    /// `x86_64`, `aarch64`, …
    pub(super) arch: &'static str,
    /// The processor's name.
    pub(super) processor: Option<String>,
    /// Processors that the benches may use.
    pub(super) cpus: usize,
    /// Memory, in MiB.
    pub(super) memory_mb: Option<u64>,
    /// The load average of the minute before the first bench: 0 on a quiet machine.
    pub(super) load: Option<f64>,
}

/// The versions of the programs. What is not installed is `null`; the benches that need it say so in their notes.
#[derive(Debug, Serialize)]
pub(super) struct Versions {
    pub(super) ours: &'static str,
    /// Of the servers, on either side; `start` measures an older one, too.
    pub(super) etcd: Vec<String>,
    pub(super) etcdctl: Option<String>,
    pub(super) nextest: Option<String>,
    pub(super) pifpaf: Option<String>,
}

/// What one bench found.
#[derive(Debug, Serialize)]
pub(super) struct BenchResult {
    /// As on the command line.
    pub(super) name: String,
    /// How often each side ran, in turn, unless a row's `runs` has another number.
    pub(super) rounds: u32,
    /// How long the whole bench took.
    pub(super) seconds: f64,
    /// What a reader of the rows should know: what is not installed, for example.
    pub(super) notes: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Why the bench failed. A bench that failed has no rows.
    pub(super) error: Option<String>,
}

/// One measurement. Rows with the same `what` and several sizes show how the cost grows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    /// The number of keys, events, tests or records, where that matters.
    pub(super) size: Option<Size>,
    /// `s`, `ms`, `%` or `MB` (2^20 bytes), of `ours` and `other`.
    pub(super) unit: String,
    pub(super) ours: Sample,
    /// The other side, where there is one.
    pub(super) other: Option<Other>,
    /// Our median divided by the other side's.
    pub(super) ratio: Option<f64>,
    pub(super) target: Option<Target>,
    /// Whether the target is met; `null` without a target, and where the target is for another size.
    pub(super) met: Option<bool>,
}

/// A count of `keys`, `events`, `tests` or `records`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Size {
    pub(super) count: u64,
    pub(super) of: &'static str,
}

impl Size {
    pub(super) fn keys(count: u64) -> Self {
        Self { count, of: "keys" }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Other {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) sample: Sample,
}

/// The promised limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) of: TargetOf,
    pub(super) at_most: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TargetOf {
    /// Our median.
    Ours,
    Ratio,
}

impl Row {
    /// A row of one side, without a target.
    pub(super) fn new(what: impl Into<String>, unit: &str, ours: Vec<f64>) -> Result<Self> {
        let (what, unit, ours) = (what.into(), unit.to_owned(), Sample::of(ours)?);
        Ok(Self { what, size: None, unit, ours, other: None, ratio: None, target: None, met: None })
    }

    pub(super) fn size(self, size: Size) -> Self {
        Self { size: Some(size), ..self }
    }

    /// Adds the other side, if it was measured.
    pub(super) fn beside(self, name: &'static str, values: Vec<f64>) -> Result<Self> {
        if values.is_empty() {
            return Ok(self);
        }
        let other = Other { name, sample: Sample::of(values)? };
        // Division by zero gives no ratio.
        let ratio = Some(self.ours.median / other.sample.median).filter(|ratio| ratio.is_finite());
        Ok(Self { ratio, other: Some(other), ..self })
    }

    /// Sets a target for our median.
    pub(super) fn at_most(self, at_most: f64) -> Self {
        let met = Some(self.ours.median <= at_most);
        Self { target: Some(Target { of: TargetOf::Ours, at_most }), met, ..self }
    }

    /// Sets a target for the ratio.
    pub(super) fn ratio_at_most(self, at_most: f64) -> Self {
        let met = self.ratio.map(|ratio| ratio <= at_most);
        Self { target: Some(Target { of: TargetOf::Ratio, at_most }), met, ..self }
    }

    /// Keeps the answer to "is the target met?" only if the target is for this case.
    pub(super) fn checked_if(self, applies: bool) -> Self {
        Self { met: self.met.filter(|_| applies), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_as_documented() {
        let row = Row::new("`get --prefix`", "s", vec![1.0, 3.0, 1.5]).unwrap().size(Size::keys(1_000_000));
        let row = row.beside("etcdctl", vec![6.0]).unwrap().at_most(4.0);
        let expected = serde_json::json!({
            "what": "`get --prefix`", "size": {"count": 1_000_000, "of": "keys"}, "unit": "s",
            "ours": {"median": 1.5, "min": 1.0, "max": 3.0, "runs": 3},
            "other": {"name": "etcdctl", "median": 6.0, "min": 6.0, "max": 6.0, "runs": 1},
            "ratio": 0.25, "target": {"of": "ours", "at_most": 4.0}, "met": true,
        });
        assert_eq!(serde_json::to_value(row).unwrap(), expected);
    }

    #[test]
    fn a_target_is_checked_only_where_it_applies() {
        let row = || Row::new("a", "s", vec![3.0]).unwrap();
        assert_eq!(row().met, None);
        assert_eq!(row().at_most(4.0).met, Some(true));
        assert_eq!(row().at_most(2.0).met, Some(false));
        assert_eq!(row().at_most(2.0).checked_if(false).met, None);
        assert_eq!(row().ratio_at_most(0.2).met, None, "there is no other side");
        assert_eq!(row().beside("b", vec![30.0]).unwrap().ratio_at_most(0.2).met, Some(true));
        assert_eq!(row().beside("b", vec![0.0]).unwrap().ratio, None);
        assert_eq!(row().beside("b", Vec::new()).unwrap().other, None);
    }
}
