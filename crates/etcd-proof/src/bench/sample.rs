//! Repeated measurements of one thing: median, minimum, maximum. Three runs, some of them negative differences, are too
//! few for percentiles.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// What was measured a few times, in the row's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// How often it was measured.
    pub(super) runs: usize,
}

impl Sample {
    pub(super) fn of(mut values: Vec<f64>) -> Result<Self> {
        values.sort_by(f64::total_cmp);
        let (runs, middle) = (values.len(), values.len() / 2);
        let upper = values.get(middle).copied().context("nothing was measured")?;
        let median = match runs % 2 {
            0 => (upper + values.get(middle.saturating_sub(1)).copied().unwrap_or(upper)) / 2.0,
            _ => upper,
        };
        let (min, max) = (values.first().copied().unwrap_or(median), values.last().copied().unwrap_or(median));
        Ok(Self { median, min, max, runs })
    }
}

/// A figure with three digits at most: a few runs are no more precise.
pub(super) fn short(value: f64) -> String {
    let places = match value.abs() {
        0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        // Two significant digits.
        small => (1.0 - small.log10().floor()).clamp(0.0, 9.0) as usize,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let sample = Sample { median: 2.0, min: 1.0, max: 3.0, runs: 3 };
        assert_eq!(Sample::of(vec![3.0, 1.0, 2.0]).unwrap(), sample);
        assert_eq!(Sample::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert!(Sample::of(Vec::new()).is_err());
    }

    #[test]
    fn figures_are_short() {
        let figures = [0.0, 1234.5, 617.2, 34.04, 1.555, 0.056, 0.00041, -3.21].map(short);
        assert_eq!(figures, ["0", "1234", "617", "34.0", "1.55", "0.056", "0.00041", "-3.21"]);
    }
}
