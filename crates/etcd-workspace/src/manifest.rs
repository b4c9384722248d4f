//! A workspace's `Cargo.toml`, as text. Which settings it may have is its readers' matter.

use serde::de::DeserializeOwned;

/// Reads a manifest as `T`.
///
/// # Errors
/// What is wrong with it, and in which line, on one line.
pub fn parse_manifest<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!(" at line {}", before.matches('\n').count() + 1));
        format!("{}{}", error.message().replace('\n', ", "), line.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_date_anywhere_does_no_harm() {
        #[derive(serde::Deserialize)]
        struct Manifest {
            root: String,
        }
        let manifest: Manifest = parse_manifest("root = \"/a\"\n[other]\nsince = 2024-01-01\n").unwrap();
        assert_eq!(manifest.root, "/a");
    }

    #[test]
    fn an_error_is_one_line_and_says_where() {
        let wrong = |text: &str| parse_manifest::<BTreeMap<String, u8>>(text).unwrap_err();
        for text in ["a = 1\nb = ", "a = 1\nb = \"x\"", "a = 1\nb c", "a = 1\n[b\n"] {
            let error = wrong(text);
            assert!(!error.contains('\n') && error.ends_with(" at line 2"), "{error}");
        }
    }
}
