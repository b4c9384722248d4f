//! Run ids: `20261123T113433Z-<32 hexadecimal digits>`. The time is for people; the 128 random bits make it
//! unique. Nothing is ever decided by the time.

use std::time::SystemTime;

use anyhow::{Context as _, Result};

pub(crate) fn fresh() -> Result<String> {
    let random = etcd_local::random_hex().context("the system has no random bits")?;
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time: String = time.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    Ok(format!("{time}-{random}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_unique_and_one_key_segment() {
        let (a, b) = (super::fresh().unwrap(), super::fresh().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), "20261123T113433Z-".len() + 32);
        assert!(a.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{a}");
    }
}
