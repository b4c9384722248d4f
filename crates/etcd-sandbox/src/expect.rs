//! Compares the keys under a prefix with the expected keys, and says how they differ.

use std::collections::BTreeMap;
use std::fmt;

use etcd_keys::Redaction;
use etcd_keys::text::Escaped;

/// Keys and their values.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// How keys differ from those that were expected. `Debug` is as readable as `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    prefix: String,
    lines: Vec<Line>,
    same: usize,
}

#[derive(Clone, PartialEq, Eq)]
enum Line {
    Missing(Vec<u8>, Vec<u8>),
    Unexpected(Vec<u8>, Vec<u8>),
    Changed { key: Vec<u8>, expected: Vec<u8>, found: Vec<u8> },
}

impl Difference {
    /// `None`: the keys are the same. `redaction` says which values are not to be shown.
    pub(crate) fn between(
        prefix: &str,
        expected: &Contents,
        found: &Contents,
        redaction: impl FnOnce() -> Redaction,
    ) -> Option<Self> {
        let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
        let mut lines = Vec::new();
        let mut same = 0;
        for key in keys {
            match (expected.get(key), found.get(key)) {
                (Some(expected), None) => lines.push(Line::Missing(key.clone(), expected.clone())),
                (None, Some(found)) => lines.push(Line::Unexpected(key.clone(), found.clone())),
                (Some(expected), Some(found)) if expected != found => {
                    lines.push(Line::Changed { key: key.clone(), expected: expected.clone(), found: found.clone() })
                }
                _ => same += 1,
            }
        }
        if !lines.is_empty() {
            let redaction = redaction();
            lines.iter_mut().for_each(|line| line.redact(prefix, &redaction));
        }
        lines.sort_by(|one, other| one.key().cmp(other.key()));
        (!lines.is_empty()).then(|| Self { prefix: prefix.to_owned(), lines, same })
    }
}

impl Line {
    /// Shows no value that is hidden.
    fn redact(&mut self, prefix: &str, redaction: &Redaction) {
        let full = [prefix.as_bytes(), self.key()].concat();
        let owned = |value: Option<&[u8]>| value.unwrap_or_default().to_vec();
        match self {
            Self::Missing(_, value) | Self::Unexpected(_, value) => {
                *value = owned(redaction.shown(&full, None, Some(value)).1);
            }
            Self::Changed { expected, found, .. } => {
                let (shown_expected, shown_found) = redaction.shown(&full, Some(expected), Some(found));
                (*expected, *found) = (owned(shown_expected), owned(shown_found));
            }
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Missing(key, _) | Self::Unexpected(key, _) | Self::Changed { key, .. } => key,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keys under `{}` are not those expected {}", self.prefix, self.lines())
    }
}

impl Difference {
    /// The lines that differ, without the prefix.
    pub(crate) fn lines(&self) -> impl fmt::Display {
        Lines(self)
    }
}

struct Lines<'a>(&'a Difference);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { lines, same, .. } = self.0;
        f.write_str("(- missing, + unexpected, ~ changed):")?;
        for line in lines {
            match line {
                Line::Missing(key, value) => write!(f, "\n  - {} = {}", Escaped(key), Escaped(value))?,
                Line::Unexpected(key, value) => write!(f, "\n  + {} = {}", Escaped(key), Escaped(value))?,
                Line::Changed { key, expected, found } => {
                    write!(f, "\n  ~ {} = {}, not {}", Escaped(key), Escaped(found), Escaped(expected))?;
                }
            }
        }
        if *same > 0 { write!(f, "\n    {same} as expected") } else { Ok(()) }
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Difference {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_what_to_look_at() {
        let contents = |pairs: &[(&str, &str)]| -> Contents {
            pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
        };
        let expected = contents(&[("a", "1"), ("b", "2"), ("d", "4"), ("e", "5")]);
        let found = contents(&[("a", "1"), ("b", "3"), ("c\n", "\u{1}"), ("e", "6")]);
        let difference = Difference::between("/t/", &expected, &found, || Redaction::new(["/t/e"])).unwrap();
        assert_eq!(
            difference.to_string(),
            "the keys under `/t/` are not those expected (- missing, + unexpected, ~ changed):\n  \
             ~ b = 3, not 2\n  + c\\n = \\x01\n  - d = 4\n  ~ e = (hidden, another value), not (hidden)\n    1 as expected"
        );
        assert_eq!(Difference::between("/t/", &expected, &expected, Redaction::default), None);
    }
}
