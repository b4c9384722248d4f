//! SHA-256 sums: as a value, of a file, and of bytes while they pass by.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 sum; as text, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

/// A text that is no SHA-256 sum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256 sum: it must be 64 hexadecimal digits")]
pub struct NotASha256 {
    /// The text.
    pub text: String,
}

impl Sha256 {
    /// The sum of a file's content.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        copy_hashed(&mut File::open(path)?, &mut io::sink()).map(|(_, sum)| sum)
    }

    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Sums up bytes as they come.
pub(crate) struct Hasher(hmac_sha256::Hash);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(hmac_sha256::Hash::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(self.0.finalize())
    }
}

/// Copies all of `from`, and tells how many bytes these were and their sum: what is checked is what was written.
pub(crate) fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(u64, Sha256)> {
    let (mut hasher, mut copied) = (Hasher::new(), 0_u64);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((copied, hasher.finish())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        hasher.update(piece);
        to.write_all(piece)?;
        copied = copied.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

impl FromStr for Sha256 {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, NotASha256> {
        let invalid = || NotASha256 { text: text.to_owned() };
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut sum = [0; 32];
        for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| invalid())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| invalid())?;
        }
        Ok(Self(sum))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = NotASha256;

    fn try_from(text: String) -> Result<Self, NotASha256> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(sum: Sha256) -> Self {
        sum.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn sums_are_those_of_the_standard() {
        assert_eq!(Sha256::of_bytes(b"").to_string(), EMPTY);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of_bytes(b"abc").to_string(), abc);
    }

    #[test]
    fn copying_counts_writes_and_sums_the_same_bytes() {
        let content = vec![7_u8; 200_000];
        let mut copy = Vec::new();
        let (count, sum) = copy_hashed(&mut content.as_slice(), &mut copy).unwrap();
        assert_eq!((count, sum), (200_000, Sha256::of_bytes(&content)));
        assert_eq!(copy, content);
    }

    #[test]
    fn what_is_no_sum_is_refused() {
        let short = EMPTY.trim_start_matches('e');
        for text in [
            "",
            "e3b0",
            short,
            &format!("{EMPTY}0"),
            &EMPTY.replace('e', "g"),
            &format!(" {short}"),
            &format!("+{short}"),
        ] {
            assert!(text.parse::<Sha256>().is_err(), "{text:?}");
        }
        assert!("é".repeat(32).parse::<Sha256>().is_err());
    }

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 32]) {
            let sum = Sha256(bytes);
            prop_assert_eq!(sum.to_string().parse::<Sha256>(), Ok(sum));
            prop_assert_eq!(sum.to_string().to_uppercase().parse::<Sha256>(), Ok(sum));
        }

        #[test]
        fn any_text_is_a_sum_or_an_error(text: String) {
            let _ = text.parse::<Sha256>();
        }
    }
}
