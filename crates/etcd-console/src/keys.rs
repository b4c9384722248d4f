//! Turns the keys on the command line into key ranges.

use anyhow::Result;
use etcd_keys::{KeyRange, text};

use crate::cli::Keys;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// The range that the arguments mean.
///
/// # Errors
/// For a key with an invalid escape, an empty key, or an empty range.
pub(crate) fn range(keys: &Keys) -> Result<KeyRange> {
    let key = bytes(&keys.key)?;
    let range = match (&keys.range_end, keys.prefix, keys.from_key) {
        (Some(end), _, _) => KeyRange::between(key, bytes(end)?),
        (None, true, _) => KeyRange::prefix(key),
        (None, _, true) => KeyRange::from_key(key),
        (None, false, false) if key.is_empty() => {
            return Err(usage("the key is empty", "`\"\" --prefix` means all keys"));
        }
        (None, false, false) => KeyRange::key(key),
    };
    if range.is_empty() {
        let next = "RANGE_END must come after KEY in byte order; it is not part of the range";
        return Err(usage(format!("the range {range} ends before it starts"), next));
    }
    Ok(range)
}

/// The range that the arguments mean; without arguments, all keys below the product's root.
///
/// # Errors
/// The errors of [`range`]; without arguments, if Cargo.toml names no root.
pub(crate) fn range_or_root(keys: Option<&Keys>, cx: &Context) -> Result<KeyRange> {
    match keys {
        Some(keys) => range(keys),
        None => Ok(KeyRange::prefix(format!("{}/", cx.root()?))),
    }
}

/// The bytes of a key that was typed or pasted.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    text::parse(text).map_err(|error| usage(error.to_string(), "write a backslash in a key as `\\\\`"))
}

fn usage(what: impl Into<String>, next: &str) -> anyhow::Error {
    Failure { exit: Exit::Usage, what: what.into(), next: next.to_owned() }.into()
}
