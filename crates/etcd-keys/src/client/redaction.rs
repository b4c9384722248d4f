//! Which keys have values that nobody should read in a log: passwords, tokens.

use std::sync::Arc;

use wildmatch::WildMatch;

/// Shown in the place of a value.
const HIDDEN: &[u8] = b"(hidden)";
/// Shown in the place of the other value, where a hidden value has changed.
const CHANGED: &[u8] = b"(hidden, another value)";

/// Patterns of keys whose values are not shown. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Redaction(Arc<[WildMatch]>);

impl Redaction {
    /// Patterns of full names: `*` stands for any characters, `?` for one.
    #[must_use]
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(patterns.into_iter().map(WildMatch::new).collect())
    }

    /// Whether the value of a key is not to be shown, by the key's full name.
    #[must_use]
    pub fn hides(&self, key: &[u8]) -> bool {
        !self.0.is_empty() && {
            let key = String::from_utf8_lossy(key);
            self.0.iter().any(|pattern| pattern.matches(&key))
        }
    }

    /// What to show of the values before and after a change of this key.
    #[must_use]
    pub fn shown<'a>(
        &self,
        key: &[u8],
        before: Option<&'a [u8]>,
        after: Option<&'a [u8]>,
    ) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        if !self.hides(key) {
            return (before, after);
        }
        let is_other = before.is_some() && before != after;
        (before.map(|_| HIDDEN), after.map(|_| if is_other { CHANGED } else { HIDDEN }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_matching_keys_are_hidden_and_changes_still_show() {
        let redaction = Redaction::new(["*/password", "/a/secret/*"]);
        for (key, hidden) in [
            ("/a/password", true),
            ("/a/secret/x/y", true),
            ("/a/password/more", false),
            ("/a/secrets", false),
            ("/a\u{fffd}/password", true),
        ] {
            assert_eq!(redaction.hides(key.as_bytes()), hidden, "{key}");
        }
        assert!(redaction.hides(b"\xff/password"));
        assert!(!Redaction::default().hides(b"/a/password"));
        let shown = |before, after| redaction.shown(b"/a/password", before, after);
        let (one, other) = (Some(&b"one"[..]), Some(&b"other"[..]));
        assert_eq!(shown(one, one), (Some(HIDDEN), Some(HIDDEN)));
        assert_eq!(shown(one, other), (Some(HIDDEN), Some(CHANGED)));
        assert_eq!(shown(None, one), (None, Some(HIDDEN)));
        assert_eq!(shown(one, None), (Some(HIDDEN), None));
        assert_eq!(redaction.shown(b"/a/b", one, other), (one, other));
    }
}
