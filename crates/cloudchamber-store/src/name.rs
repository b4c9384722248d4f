//! Names of items: checked, and in one spelling. A text that is not a valid name never becomes part of a key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The longest name, in bytes.
pub const MAX_NAME_LEN: usize = 128;

/// The name of a rack, a user, a blade: one segment of a key. Upper and lower case are the same; a `Name` has lower
/// case.
///
/// ```
/// use cloudchamber_store::Name;
///
/// let name = Name::new("Rack-7")?;
/// assert_eq!(name, "rack-7".parse()?);
/// assert_eq!(name.as_str(), "rack-7");
/// assert!(Name::new("rack/7").is_err());
/// # Ok::<(), cloudchamber_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name in lower case.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`].
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        normalize(name).map(Self).map_err(|reason| invalid(name, "name", reason))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name in lower case, or the rule that it breaks.
pub(crate) fn normalize(name: &str) -> Result<String, String> {
    if name.is_empty() {
        Err("a name must not be empty".to_owned())
    } else if name.len() > MAX_NAME_LEN {
        Err(format!("a name has at most {MAX_NAME_LEN} bytes, and this name has {}", name.len()))
    } else if !is_name(name, |byte| byte.is_ascii_alphabetic()) {
        Err("a name begins with an ASCII letter or digit, and continues with letters, digits, `-`, `_`, `.` and `@`"
            .to_owned())
    } else {
        Ok(name.to_ascii_lowercase())
    }
}

/// The error for a text that is not a valid name, key, prefix or root, as `what` says.
pub(crate) fn invalid(text: &str, what: &str, reason: String) -> Error {
    let shown: String = text.chars().take(MAX_NAME_LEN).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    let operation = format_args!("use `{}{rest}` as a {what}", shown.escape_debug());
    Error::new(operation, ErrorKind::InvalidName { reason })
}

/// Whether all characters are those of names. Only letters and digits are allowed as the first.
fn is_name(text: &str, is_letter: impl Fn(u8) -> bool) -> bool {
    let letter_or_digit = |byte: u8| is_letter(byte) || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    bytes.next().is_some_and(letter_or_digit)
        && bytes.all(|byte| letter_or_digit(byte) || matches!(byte, b'-' | b'_' | b'.' | b'@'))
}

/// Whether a text is a valid name in lower case.
pub(crate) fn is_normal(text: &str) -> bool {
    text.len() <= MAX_NAME_LEN && is_name(text, |byte| byte.is_ascii_lowercase())
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_invalid_name_is_refused_with_the_rule_that_it_breaks() {
        let characters = "a name begins with an ASCII letter or digit";
        // The last is the Kelvin sign, whose lower case is `k`.
        for name in [".", "..", "-x", "a/b", "a b", "Rück", "K\u{212a}"] {
            let error = Name::new(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot use `{name}` as a name: {characters}")), "{error}");
        }
        assert_eq!(Name::new("").unwrap_err().to_string(), "cannot use `` as a name: a name must not be empty");
        assert!(Name::new("a\n").unwrap_err().to_string().starts_with(r"cannot use `a\n` as a name: "));
        assert!(Name::new("a".repeat(MAX_NAME_LEN)).is_ok());
        let error = Name::new("a".repeat(MAX_NAME_LEN + 1)).unwrap_err().to_string();
        assert!(error.ends_with("aaa…` as a name: a name has at most 128 bytes, and this name has 129"), "{error}");
    }

    proptest! {
        #[test]
        fn a_name_has_one_spelling(text in "[a-zA-Z0-9._@/ -]{0,8}") {
            if let Ok(name) = Name::new(&text) {
                prop_assert!(is_normal(name.as_str()));
                prop_assert_eq!(&name.to_string().parse::<Name>().unwrap(), &name);
                let json = serde_json::to_string(&name).unwrap();
                prop_assert_eq!(&json, &format!("\"{name}\""));
                prop_assert_eq!(&serde_json::from_str::<Name>(&json).unwrap(), &name);
                prop_assert_eq!(Name::new(text.to_uppercase()).unwrap(), name);
            } else {
                prop_assert!(!is_normal(&text));
                let message = serde_json::from_value::<Name>(text.as_str().into()).unwrap_err().to_string();
                prop_assert!(message.starts_with(&format!("cannot use `{text}` as a name: ")), "{}", message);
            }
        }
    }
}
