//! What the benches found, as data. `--format json` prints a [`Report`] and `--from` reads one, so this is a format:
//! a field may be added under the same [`SCHEMA`]; one that goes, or means something else, raises it.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::sample::Sample;

/// The number of the format.
pub(super) const SCHEMA: u32 = 2;

/// All of one call of `bench`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// [`SCHEMA`].
    pub(super) schema: u32,
    pub(super) machine: Machine,
    pub(super) versions: Versions,
    /// Smaller sizes and fewer rounds than the targets speak of.
    pub(super) quick: bool,
    /// In the order in which they ran.
    pub(super) benches: Vec<Bench>,
}

/// Where it was measured. What the system does not tell is `null`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    /// `linux`, `macos` or `windows`.
    pub(super) os: String,
    /// `x86_64`, `aarch64`, …
    pub(super) arch: String,
    /// The processor's name.
    pub(super) processor: Option<String>,
    /// Processors that the benches may use.
    pub(super) cpus: usize,
    /// Memory, in MiB.
    pub(super) memory_mb: Option<u64>,
    /// Processes that wanted a processor in the minute before the first bench, on average: 0 on a quiet machine.
    pub(super) load: Option<f64>,
}

/// Who took part. What is not installed is `null`, and the benches that would have used it say so in their notes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Versions {
    pub(super) ours: String,
    /// Of the servers, on either side; `start` tries an older one, too.
    pub(super) etcd: Vec<String>,
    pub(super) etcdctl: Option<String>,
    pub(super) nextest: Option<String>,
    pub(super) pifpaf: Option<String>,
}

/// One bench.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bench {
    /// As it is named on the command line.
    pub(super) name: String,
    /// How often each side ran, in turn, where a row's `runs` says nothing else.
    pub(super) rounds: u32,
    /// What the whole bench took.
    pub(super) seconds: f64,
    /// What a reader of the rows should know: what is not installed, say.
    pub(super) notes: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Why it ended early; there are no rows then.
    pub(super) error: Option<String>,
}

/// One thing that was measured. Rows of one `what` and several sizes show how its cost grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) what: String,
    /// How much of it there was, where that matters.
    pub(super) size: Option<Size>,
    /// `s`, `ms` or `MB` (2^20 bytes), of `ours` and `other`.
    pub(super) unit: String,
    pub(super) ours: Sample,
    /// The other side, where there is one.
    pub(super) other: Option<Other>,
    /// Ours through the other's, of the medians.
    pub(super) ratio: Option<f64>,
    pub(super) target: Option<Target>,
    /// `null` without a target, and where the target speaks of another size.
    pub(super) met: Option<bool>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) count: u64,
    pub(super) of: Counted,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Counted {
    Keys,
    Events,
    Tests,
    Records,
}

impl Counted {
    pub(super) fn of(self, count: u64) -> Size {
        Size { count, of: self }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Events => "events",
            Self::Tests => "tests",
            Self::Records => "records",
        }
    }
}

/// The other side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Other {
    /// Who it is.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) sample: Sample,
}

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Target {
    /// Of what.
    pub(super) of: Judged,
    pub(super) at_most: f64,
}

/// What a target is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Judged {
    /// Our median.
    Ours,
    /// The ratio.
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

    /// Beside another side; without values it has none.
    pub(super) fn beside(self, name: &str, values: Vec<f64>) -> Result<Self> {
        if values.is_empty() {
            return Ok(self);
        }
        let other = Other { name: name.to_owned(), sample: Sample::of(values)? };
        // Nothing, and nothing against nothing, is no ratio.
        let ratio = Some(self.ours.median / other.sample.median).filter(|ratio| ratio.is_finite());
        Ok(Self { ratio, other: Some(other), ..self })
    }

    /// Our median may be so much at most.
    pub(super) fn at_most(self, at_most: f64) -> Self {
        let met = Some(self.ours.median <= at_most);
        Self { target: Some(Target { of: Judged::Ours, at_most }), met, ..self }
    }

    /// The ratio may be so much at most.
    pub(super) fn ratio_at_most(self, at_most: f64) -> Self {
        let met = self.ratio.map(|ratio| ratio <= at_most);
        Self { target: Some(Target { of: Judged::Ratio, at_most }), met, ..self }
    }

    /// Judges by its target only if this is what the target speaks of.
    pub(super) fn judged_if(self, applies: bool) -> Self {
        Self { met: self.met.filter(|_| applies), ..self }
    }
}

impl Report {
    /// Reads what `--format json` printed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }

        let Schema { schema } = serde_json::from_str(text)?;
        ensure!(schema == SCHEMA, "it has schema {schema}, and this program knows schema {SCHEMA}");
        Ok(serde_json::from_str(text)?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::read;
    use super::*;

    /// A report with something of everything.
    pub(in super::super) fn example() -> Report {
        let growing = |count, ours: f64, other: f64| {
            let row = Row::new(read::ALL, "s", vec![ours * 0.8, ours * 2.0, ours]).unwrap();
            row.size(Counted::Keys.of(count)).beside("etcdctl", vec![other]).unwrap()
        };
        let read = vec![
            growing(10_000, 0.05, 0.09),
            growing(100_000, 0.18, 0.6).at_most(4.0).judged_if(false),
            growing(1_000_000, 1.5, 5.9).at_most(4.0).judged_if(true),
            Row::new("its memory", "MB", vec![61.0]).unwrap().size(Counted::Keys.of(1_000_000)).at_most(60.0),
        ];
        let start = vec![
            Row::new("fresh start", "ms", vec![34.0, 30.0, 41.0]).unwrap(),
            Row::new("restart on its data", "ms", vec![36.0])
                .unwrap()
                .beside("plain etcd", vec![617.0])
                .unwrap()
                .ratio_at_most(0.2),
        ];
        let bench = |name: &str, rows, notes, error| Bench {
            name: name.to_owned(),
            rounds: 3,
            seconds: 12.5,
            notes,
            rows,
            error,
        };
        Report {
            schema: SCHEMA,
            machine: Machine {
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                processor: Some("Example 3000".to_owned()),
                cpus: 2,
                memory_mb: Some(7_900),
                load: Some(0.25),
            },
            versions: Versions {
                ours: "0.1.0".to_owned(),
                etcd: vec!["3.7.2".to_owned(), "3.5.27".to_owned()],
                etcdctl: Some("3.4.23".to_owned()),
                nextest: None,
                pifpaf: None,
            },
            quick: true,
            benches: vec![
                bench("start", start, vec!["pifpaf is not installed".to_owned()], None),
                bench("read", read, Vec::new(), None),
                bench("store", Vec::new(), Vec::new(), Some("there is no store".to_owned())),
            ],
        }
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let text = serde_json::to_string(&example()).unwrap();
        let back = serde_json::to_string(&Report::parse(&text).unwrap()).unwrap();
        assert_eq!(text, back);
        let newer = text.replacen("\"schema\":2", "\"schema\":3", 1);
        let error = Report::parse(&newer).unwrap_err().to_string();
        assert_eq!(error, "it has schema 3, and this program knows schema 2");
    }

    #[test]
    fn the_format_is_as_documented() {
        let json = serde_json::to_value(example()).unwrap();
        let row = json.pointer("/benches/1/rows/2").unwrap();
        let expected = serde_json::json!({
            "what": "`get --prefix`", "size": {"count": 1_000_000, "of": "keys"}, "unit": "s",
            "ours": {"median": 1.5, "min": 1.5 * 0.8, "max": 3.0, "runs": 3},
            "other": {"name": "etcdctl", "median": 5.9, "min": 5.9, "max": 5.9, "runs": 1},
            "ratio": 1.5 / 5.9, "target": {"of": "ours", "at_most": 4.0}, "met": true,
        });
        assert_eq!(row, &expected);
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["benches", "machine", "quick", "schema", "versions"]);
    }

    #[test]
    fn a_target_is_judged_only_where_it_applies() {
        let row = || Row::new("a", "s", vec![3.0]).unwrap();
        assert_eq!(row().met, None);
        assert_eq!(row().at_most(4.0).met, Some(true));
        assert_eq!(row().at_most(2.0).met, Some(false));
        assert_eq!(row().at_most(2.0).judged_if(false).met, None);
        assert_eq!(row().ratio_at_most(0.2).met, None, "there is no other side");
        assert_eq!(row().beside("b", vec![30.0]).unwrap().ratio_at_most(0.2).met, Some(true));
        assert_eq!(row().beside("b", vec![0.0]).unwrap().ratio, None);
        assert_eq!(row().beside("b", Vec::new()).unwrap().other, None);
    }
}
