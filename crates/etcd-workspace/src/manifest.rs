//! A workspace's `Cargo.toml`, as text. Which settings it may have is `settings`' matter.

use serde::de::DeserializeOwned;

/// Reads a manifest as `T`.
///
/// # Errors
/// What is wrong with it, and in which line, on one line.
pub(crate) fn parse_manifest<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let number = before.map(|before| before.matches('\n').count());
        let line = number.and_then(|number| Some(format!(" at line {}: `{}`", number + 1, text.lines().nth(number)?)));
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
        for line in ["b = ", "b = \"x\"", "b c", "[b"] {
            let error = wrong(&format!("a = 1\n{line}\n"));
            assert!(!error.contains('\n') && error.ends_with(&format!(" at line 2: `{line}`")), "{error}");
        }
    }
}
