//! The value of `--etcd` for `run` and `test`: one etcd, or a list of etcds separated by commas. Parses text; starts nothing.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use etcd_local::binary::{NotWanted, Wanted};

/// The etcds to use, one after the other. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Versions(Vec<Wanted>);

impl Versions {
    pub(crate) fn as_slice(&self) -> &[Wanted] {
        &self.0
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Versions {
    type Err = NotWanted;

    fn from_str(text: &str) -> Result<Self, NotWanted> {
        // The comma of `>=3.5, <3.7` belongs to one requirement.
        let is_range = text.split(',').any(|part| part.trim_start().starts_with(['<', '>']));
        if is_range || !text.contains(',') || Path::new(text).exists() {
            return Ok(Self(vec![text.parse()?]));
        }
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_versions_but_not_the_bounds_of_one_requirement() {
        for (text, wanted) in [
            ("3.6", &["3.6"][..]),
            ("3.5,3.6, 3.7.2", &["3.5", "3.6", "3.7.2"]),
            ("~3.5,./etcd", &["~3.5", "./etcd"]),
            (">=3.5, <3.7", &[">=3.5, <3.7"]),
            ("^3.5,<3.6.2", &["^3.5,<3.6.2"]),
        ] {
            let wanted: Vec<Wanted> = wanted.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(text.parse::<Versions>().unwrap().as_slice(), wanted, "{text}");
        }
        for (text, named) in [("3.5,", "``"), ("3.5,latest,3.7", "`latest`")] {
            assert!(text.parse::<Versions>().unwrap_err().to_string().starts_with(named), "{text}");
        }
    }

    #[test]
    fn a_path_that_exists_may_have_a_comma() {
        let dir = tempfile::Builder::new().prefix("a,b").tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(path.parse::<Versions>().unwrap().as_slice(), [Wanted::At(dir.path().to_owned())]);
    }
}
