//! The error of a test that waited for a key in vain.

use std::fmt;
use std::time::Duration;

use etcd_keys::Redaction;
use etcd_keys::text::Escaped;

/// A key was not in time as the test waited for it. `Debug` is as readable as `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct WaitTimeout {
    pub(crate) key: Vec<u8>,
    pub(crate) wanted: String,
    pub(crate) last: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
}

impl WaitTimeout {
    /// Shows no value that is hidden.
    pub(crate) fn redact(&mut self, prefix: &str, redaction: &Redaction) {
        if redaction.hides(&[prefix.as_bytes(), &self.key].concat()) {
            self.last.iter_mut().for_each(|value| *value = b"(hidden)".to_vec());
            if self.wanted.starts_with('`') {
                self.wanted = "as expected".to_owned();
            }
        }
    }
}

impl fmt::Display for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, wanted, last, timeout } = self;
        write!(f, "`{}` was not {wanted} within {} s: ", Escaped(key), timeout.as_secs_f32())?;
        match last {
            Some(value) => write!(f, "its value is `{}`", Escaped(value)),
            None => f.write_str("it is absent"),
        }
    }
}

impl fmt::Debug for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for WaitTimeout {}
