//! Keys and values as text. Any bytes can be shown, without control characters for a terminal, and the text can be parsed
//! back. `\n`, `\t`, `\r`, `\0`, `\\` and `\xNN` stand for bytes; every other character stands for itself.

use std::fmt;

/// Shows bytes as text that [`parse`] turns back into the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\0' => f.write_str("\\0")?,
                    c if is_invisible(c) => bytes(f, c.encode_utf8(&mut [0; 4]).as_bytes())?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            bytes(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Control characters, and characters that reorder or hide their neighbours.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{10ffff}')
}

/// A text with a backslash that does not begin an escape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{escape}` is not a valid escape: use \\n, \\t, \\r, \\0, \\\\ or \\xNN")]
pub struct InvalidEscape {
    escape: String,
}

/// The bytes that an escaped text stands for.
///
/// # Errors
/// If a backslash does not begin an escape.
pub fn parse(text: &str) -> Result<Vec<u8>, InvalidEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let mut chars = escape.chars();
        let byte = match chars.next() {
            Some('n') => Some(b'\n'),
            Some('t') => Some(b'\t'),
            Some('r') => Some(b'\r'),
            Some('0') => Some(b'\0'),
            Some('\\') => Some(b'\\'),
            Some('x') => chars.next().zip(chars.next()).and_then(|(high, low)| {
                Some(u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).unwrap_or_default())
            }),
            _ => None,
        };
        match byte {
            Some(byte) => bytes.push(byte),
            None => return Err(InvalidEscape { escape: "\\".chars().chain(escape.chars().take(3)).collect() }),
        }
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(Escaped(b"/a b/\xc3\xbc").to_string(), "/a b/ü");
        assert_eq!(Escaped(b"a\n\x1b[31m\\\0\xff").to_string(), r"a\n\x1b[31m\\\0\xff");
        assert_eq!(Escaped("\u{202e}x".as_bytes()).to_string(), r"\xe2\x80\xaex");
    }

    #[test]
    fn invalid_escapes_are_refused() {
        for text in [r"\", r"a\q", r"\x1", r"\xzz", r"\x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn escaped_bytes_parse_back(bytes: Vec<u8>) {
            let text = Escaped(&bytes).to_string();
            prop_assert_eq!(parse(&text).unwrap(), bytes);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
