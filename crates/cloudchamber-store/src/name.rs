//! Names of things: checked, and in one spelling. What is not a name never becomes part of a key.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 128;

/// The name of a rack, a user, a blade: one segment of a key. Upper and lower case are the same; the spelling here is
/// lower case.
///
/// ```
/// use cloudchamber_store::Name;
///
/// let name = Name::new("Rack-7")?;
/// assert_eq!(name, Name::new("rack-7")?);
/// assert_eq!(name.as_str(), "rack-7");
/// assert!(Name::new("rack/7").is_err());
/// # Ok::<(), cloudchamber_store::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// What is no name, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("a name is empty")]
    Empty,
    /// Longer than [`LONGEST_NAME`].
    #[error("the name `{}…` has {length} bytes, and {LONGEST_NAME} are the most", .start.escape_debug())]
    TooLong {
        /// Its beginning.
        start: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A character that names do not have, or not at the beginning.
    #[error(
        "`{}` is no name: it begins with a letter or digit of ASCII, and goes on with those and `-`, `_`, `.`, `@`",
        .0.escape_debug()
    )]
    Characters(String),
}

impl Name {
    /// The name in its one spelling.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > LONGEST_NAME {
            return Err(NameError::TooLong { start: name.chars().take(16).collect(), length: name.len() });
        }
        if !is_name(name, |byte| byte.is_ascii_alphabetic()) {
            return Err(NameError::Characters(name.to_owned()));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters of names: letters and digits anywhere, these not at the beginning.
fn is_name(text: &str, is_letter: impl Fn(u8) -> bool) -> bool {
    let letter_or_digit = |byte: u8| is_letter(byte) || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    bytes.next().is_some_and(letter_or_digit)
        && bytes.all(|byte| letter_or_digit(byte) || matches!(byte, b'-' | b'_' | b'.' | b'@'))
}

/// Whether it is a name in the one spelling that keys have.
pub(crate) fn is_normal(text: &str) -> bool {
    text.len() <= LONGEST_NAME && is_name(text, |byte| byte.is_ascii_lowercase())
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for (name, why) in [
            ("", "a name is empty"),
            (".", "`.` is no name"),
            ("..", "begins with a letter or digit"),
            ("-x", "begins with"),
            ("a/b", "`a/b` is no name"),
            ("a b", "is no name"),
            ("a\n", r"`a\n` is no name"),
            ("Rück", "is no name"),
            ("K\u{212a}", "is no name"), // the Kelvin sign, whose lower case is `k`
        ] {
            let error = Name::new(name).unwrap_err().to_string();
            assert!(error.contains(why), "{name:?}: {error}");
        }
        assert!(Name::new("a".repeat(LONGEST_NAME)).is_ok());
        let error = Name::new("a".repeat(LONGEST_NAME + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the name `aaaaaaaaaaaaaaaa…` has 129 bytes, and 128 are the most");
    }

    proptest! {
        #[test]
        fn a_name_has_one_spelling(text in "[a-zA-Z0-9._@/ -]{0,8}") {
            if let Ok(name) = Name::new(&text) {
                prop_assert!(is_normal(name.as_str()));
                prop_assert_eq!(Name::new(name.as_str()).unwrap(), name.clone());
                prop_assert_eq!(Name::new(text.to_uppercase()).unwrap(), name);
            } else {
                prop_assert!(!is_normal(&text));
            }
        }
    }
}
