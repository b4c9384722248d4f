//! A range of revisions, as it is typed.

use std::str::FromStr;

const USAGE: &str = "write A..B, A.., ..B, or one revision, in numbers from 1 on";

/// Revisions from the first to the last, with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The first; 1 if it was left out.
    pub first: i64,
    /// The last; the largest number if it was left out.
    pub last: i64,
}

impl FromStr for Revisions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str, missing| if text.is_empty() { Ok(missing) } else { text.parse() };
        match (text, number(first, 1), number(last, i64::MAX)) {
            ("", ..) => Err(USAGE.to_owned()),
            (_, Ok(first @ 1..), Ok(last @ 1..)) if first > last => {
                Err(format!("the last revision comes before the first; {USAGE}"))
            }
            (_, Ok(first @ 1..), Ok(last @ 1..)) => Ok(Self { first, last }),
            _ => Err(USAGE.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_what_is_typed() {
        let parsed = |text: &str| text.parse::<Revisions>().ok().map(|revisions| (revisions.first, revisions.last));
        for (text, revisions) in [
            ("5..9", Some((5, 9))),
            ("5..", Some((5, i64::MAX))),
            ("..9", Some((1, 9))),
            ("7", Some((7, 7))),
            ("..", Some((1, i64::MAX))),
            ("9..5", None),
            ("", None),
            ("0..5", None),
            ("-1", None),
            ("a..b", None),
        ] {
            assert_eq!(parsed(text), revisions, "{text}");
        }
    }
}
