//! What a caller asks for: which etcd, and by which route. Only values; nothing here looks at the machine.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use semver::{Op, Version, VersionReq};

use super::Source;

/// Which etcd is wanted.
///
/// As text: `3.6.5`, or `v3.6.5`, is that version and no other, `3.6` any 3.6, which is what people mean by it; `^3.6`,
/// `=3.7.2` and `>=3.5, <3.7` are requirements as Cargo writes them, and whatever holds a path separator, or starts with
/// `.` or `~`, is a path (save `~3.6`, a requirement).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any version that satisfies a requirement; where there is none, any etcd from 3.4 on will do.
    Matching(VersionReq),
    /// This version; never another one instead.
    Exactly(Version),
    /// This file, or the etcd in this directory, of whatever version. `~/` is the home directory.
    At(PathBuf),
}

/// A text that names no etcd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version (`3.7.2`, `3.6`), a version requirement (`^3.6`) or a path (`./etcd`)")]
pub struct NotWanted {
    /// The text.
    pub text: String,
}

impl Wanted {
    /// Whether a version is what is wanted. A prerelease is only where the requirement names it; build metadata is ignored.
    #[must_use]
    pub fn accepts(&self, version: &Version) -> bool {
        match self {
            Self::Matching(requirement) => requirement.matches(version),
            Self::Exactly(wanted) => wanted.cmp_precedence(version).is_eq(),
            Self::At(_) => true,
        }
    }

    /// The single version that can satisfy this, if there is only one: of `3.7.2` and `=3.7.2`.
    pub(crate) fn only_version(&self) -> Option<Version> {
        match self {
            Self::Exactly(version) => Some(version.clone()),
            Self::At(_) => None,
            Self::Matching(requirement) => match requirement.comparators.as_slice() {
                [exact] if exact.op == Op::Exact => Some(Version {
                    major: exact.major,
                    minor: exact.minor?,
                    patch: exact.patch?,
                    pre: exact.pre.clone(),
                    build: semver::BuildMetadata::EMPTY,
                }),
                _ => None,
            },
        }
    }
}

impl FromStr for Wanted {
    type Err = NotWanted;

    fn from_str(text: &str) -> Result<Self, NotWanted> {
        if is_path(text) {
            return Ok(Self::At(PathBuf::from(text)));
        }
        // As etcd's own releases are called.
        let plain =
            text.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(text);
        if let Ok(version) = Version::parse(plain) {
            return Ok(Self::Exactly(version));
        }
        // Cargo would take a later minor version for `3.6`, too. To etcd's data that is a step without a way back.
        let requirement =
            if is_partial(plain) { VersionReq::parse(&format!("~{plain}")) } else { VersionReq::parse(text) };
        match requirement {
            Ok(requirement) => Ok(Self::Matching(requirement)),
            Err(_) => Err(NotWanted { text: text.to_owned() }),
        }
    }
}

/// `3.6` or `3`.
fn is_partial(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
}

/// A tilde before a digit is Cargo's operator, any other one is a home directory.
fn is_path(text: &str) -> bool {
    let home = text.strip_prefix('~').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
    home || text.starts_with('.') || text.contains(['/', '\\'])
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matching(requirement) => write!(f, "{requirement}"),
            Self::Exactly(version) => write!(f, "{version}"),
            Self::At(path) => write!(f, "{}", path.display()),
        }
    }
}

/// By which route an installation may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The sources in order, registry first, until one delivers.
    #[default]
    Auto,
    /// No installation: the one that PATH finds.
    Path,
    /// This source and no other.
    Only(Source),
}

/// A text that names no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one of `auto`, `path`, `registry`, `release` and `source`")]
pub struct NotARoute {
    /// The text.
    pub text: String,
}

impl FromStr for Route {
    type Err = NotARoute;

    fn from_str(text: &str) -> Result<Self, NotARoute> {
        match text {
            "auto" => Ok(Self::Auto),
            "path" => Ok(Self::Path),
            "registry" => Ok(Self::Only(Source::Registry)),
            "release" => Ok(Self::Only(Source::Release)),
            "source" => Ok(Self::Only(Source::GoSource)),
            _ => Err(NotARoute { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(text: &str) -> Wanted {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn three_numbers_are_one_version() {
        assert_eq!(wanted("3.6.5"), Wanted::Exactly(Version::new(3, 6, 5)));
        assert_eq!(wanted("3.7.0-rc.1").to_string(), "3.7.0-rc.1");
        assert_eq!((wanted("v3.5.27"), wanted("v3.6")), (wanted("3.5.27"), wanted("~3.6")));
    }

    #[test]
    fn everything_that_cargo_takes_is_a_requirement() {
        for text in ["^3.6", "=3.7.2", "3.6", "3", ">=3.5, <3.7", "*", "~3.6", "~3.6.1", "3.6.*"] {
            assert!(matches!(wanted(text), Wanted::Matching(_)), "{text}");
        }
    }

    #[test]
    fn two_numbers_are_a_minor_version() {
        assert_eq!(wanted("3.6"), wanted("~3.6"));
        let accepts = |text, version: &str| wanted(text).accepts(&version.parse().unwrap());
        assert!(accepts("3.6", "3.6.0") && accepts("3.6", "3.6.99") && accepts("3", "3.9.1"));
        assert!(!accepts("3.6", "3.7.2") && !accepts("3.6", "3.5.27") && !accepts("3", "4.0.0"));
    }

    #[test]
    fn whatever_looks_like_a_path_is_one() {
        for text in
            ["./etcd", ".", "..", "~/bin/etcd", "~", "/usr/bin/etcd", r"C:\etcd\etcd.exe", "bin/etcd", "3.6/etcd"]
        {
            assert_eq!(wanted(text), Wanted::At(PathBuf::from(text)));
        }
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for text in
            ["", "etcd", "v", "vv3.6.5", "v^3.6", "v3.6.*", "latest", "3.6.5.1", "3..5", "=", "3.6 3.7", "03.6.5"]
        {
            let error = text.parse::<Wanted>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not a version")), "{error}");
        }
    }

    #[test]
    fn a_prerelease_satisfies_only_who_names_it() {
        let candidate = Version::parse("3.7.2-rc.1").unwrap();
        for text in ["=3.7.2", "^3.6", "*", "3.7.2", ">=3.4"] {
            assert!(!wanted(text).accepts(&candidate), "{text}");
        }
        for text in ["=3.7.2-rc.1", "3.7.2-rc.1"] {
            assert!(wanted(text).accepts(&candidate), "{text}");
        }
        assert!(wanted("3.7.2").accepts(&Version::parse("3.7.2+distro").unwrap()));
    }

    #[test]
    fn only_an_exact_requirement_names_one_version() {
        let only = |text| wanted(text).only_version().map(|version| version.to_string());
        assert_eq!(only("=3.7.2").as_deref(), Some("3.7.2"));
        assert_eq!(only("3.7.2-rc.1").as_deref(), Some("3.7.2-rc.1"));
        for text in ["^3.7.2", "=3.7", "=3.7.2, <4", "./etcd"] {
            assert_eq!(only(text), None, "{text}");
        }
    }

    #[test]
    fn routes_have_five_names() {
        assert_eq!("source".parse(), Ok(Route::Only(Source::GoSource)));
        for text in ["", "Auto", "github"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC*") {
            if let Ok(wanted) = text.parse::<Wanted>() {
                prop_assert_eq!(matches!(wanted, Wanted::At(_)), is_path(&text));
            }
        }

        #[test]
        fn every_version_is_taken_as_itself_and_accepts_only_itself(
            parts in [0_u64..100, 0..100, 0..100],
            other in [0_u64..100, 0..100, 0..100],
        ) {
            let [version, other] = [parts, other].map(|[major, minor, patch]| Version::new(major, minor, patch));
            let wanted: Wanted = version.to_string().parse().unwrap();
            prop_assert_eq!(&wanted, &Wanted::Exactly(version.clone()));
            prop_assert_eq!(wanted.accepts(&other), version == other);
            prop_assert_eq!(Wanted::Matching(format!("={version}").parse().unwrap()).only_version(), Some(version));
        }
    }
}
