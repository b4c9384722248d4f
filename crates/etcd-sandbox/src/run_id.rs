//! Run ids: `20261123T113433Z-<32 hexadecimal digits>`. The time is for people, and nothing is decided by it. The 128
//! random bits make an id unique.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The id of a run, and the segment of its keys below the test root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

/// The digits of the random part.
const RANDOM: usize = 32;
/// The characters of the time part.
const TIME: usize = "20261123T113433Z".len();

/// The beginning of the name of a fenced run's user.
const FENCE_USER: &str = "test-run-";

impl RunId {
    /// A new id.
    ///
    /// # Errors
    /// If the system has no random bits.
    pub fn fresh() -> io::Result<Self> {
        Ok(Self(format!("{}-{}", time_part(crate::host::now()), random_hex::<16>()?)))
    }

    /// Whether the id is of a second before this time, by the clock of the host that made it. For people: that clock may have
    /// been wrong.
    #[must_use]
    pub fn is_before(&self, time: SystemTime) -> bool {
        self.0 < time_part(time)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the user of etcd, and of the role, that the run has if it is fenced.
    pub(crate) fn fence_user(&self) -> String {
        format!("{FENCE_USER}{self}")
    }
}

/// A time as an id has it.
fn time_part(time: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(time.max(UNIX_EPOCH)).to_string();
    time.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Whether this looks like the user of a fenced run. For hints only.
pub(crate) fn is_fence_user(name: &str) -> bool {
    name.starts_with(FENCE_USER)
}

/// `BYTES` random bytes, in hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a run id: a run id is like `20261123T113433Z-` and 32 hexadecimal digits", .0.escape_debug())]
pub struct RunIdError(String);

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let refuse = || RunIdError(text.chars().take(100).collect());
        let (time, random) = text.split_once('-').ok_or_else(refuse)?;
        // Digits where `TIME`'s example has digits.
        let is_time = time.len() == TIME
            && time.bytes().zip("dddddddd\x54dddddd\x5a".bytes()).all(|(byte, form)| match form {
                b'd' => byte.is_ascii_digit(),
                letter => byte == letter,
            });
        let is_random = random.len() == RANDOM && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_time && is_random { Ok(Self(text.to_owned())) } else { Err(refuse()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_unique_and_read_back() {
        let (a, b) = (RunId::fresh().unwrap(), RunId::fresh().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse(), Ok(a.clone()));
    }

    #[test]
    fn the_time_of_an_id_is_compared_by_seconds() {
        let id: RunId = format!("20260101T000010Z-{}", "0".repeat(RANDOM)).parse().unwrap();
        let at = |text: &str| humantime::parse_rfc3339(text).unwrap();
        assert!(!id.is_before(at("2026-01-01T00:00:10.9Z")) && id.is_before(at("2026-01-01T00:00:11Z")));
        assert!(!id.is_before(UNIX_EPOCH - std::time::Duration::from_secs(1)));
    }

    #[test]
    fn text_that_leads_elsewhere_is_not_an_id() {
        let good = RunId::fresh().unwrap();
        for text in ["", ".", "..", "/", "Standard", "2021-07-09T15:36:29.123456789-07:00", ".runs"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        for text in [format!("{good}/"), format!("/{good}"), format!("../{good}"), good.as_str().to_uppercase()] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_one_segment(at in any::<prop::sample::Index>(), by in "[ -~]") {
            // Random text is hardly ever an id: one character of an id is replaced.
            let mut text = RunId::fresh().unwrap().as_str().to_owned();
            let at = at.index(text.len());
            text.replace_range(at..=at, &by);
            if let Ok(id) = text.parse::<RunId>() {
                prop_assert!(id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            }
        }
    }
}
