//! Repeated measurements of one thing: median, minimum, maximum. No other statistics: few runs carry no more.

use std::fmt;

use anyhow::{Context as _, Result};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Sample {
    pub(super) fn of(mut values: Vec<f64>) -> Result<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = values.get(middle).copied().context("nothing was measured")?;
        let median = match values.len() % 2 {
            0 => (upper + values.get(middle.saturating_sub(1)).copied().unwrap_or(upper)) / 2.0,
            _ => upper,
        };
        let (min, max) = (values.first().copied().unwrap_or(median), values.last().copied().unwrap_or(median));
        Ok(Self { median, min, max })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Three digits say all that a few runs know.
        let places = if self.median < 10.0 { 2 } else { 0 };
        let Self { median, min, max } = self;
        write!(f, "{median:.places$} ({min:.places$}–{max:.places$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Sample::of(vec![3.0, 1.0, 2.0]).unwrap(), Sample { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Sample::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert!(Sample::of(Vec::new()).is_err());
    }
}
