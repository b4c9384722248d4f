//! The pinned SHA-256 sums, from `pins.tsv` beside this file. Never says yes to what is not listed there.

use std::str::FromStr;

use semver::Version;

use super::platform::Platform;
use super::{Sha256, Source, Tool};

const TEXT: &str = include_str!("pins.tsv");

/// What a sum is the sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// A program's file inside its crate.
    Binary(Tool),
    /// The `include/` tree of a protoc crate.
    ProtocInclude,
    /// A release archive of etcd.
    Archive,
}

impl Pinned {
    /// What vouches for a tool from this source; nothing here does for what Go builds, its checksum database does.
    pub(crate) fn of(source: Source, tool: Tool) -> Option<Self> {
        match (source, tool) {
            (Source::Registry, tool) => Some(Self::Binary(tool)),
            (Source::Release, Tool::Etcd) => Some(Self::Archive),
            (Source::Release | Source::GoSource, _) => None,
        }
    }

    fn tool(self) -> Tool {
        match self {
            Self::Binary(tool) => tool,
            Self::ProtocInclude => Tool::Protoc,
            Self::Archive => Tool::Etcd,
        }
    }
}

impl FromStr for Pinned {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "etcd" => Ok(Self::Binary(Tool::Etcd)),
            "protoc" => Ok(Self::Binary(Tool::Protoc)),
            "protoc-include" => Ok(Self::ProtocInclude),
            "archive" => Ok(Self::Archive),
            _ => Err(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pin<'a> {
    what: Pinned,
    version: Version,
    platform: &'a str,
    sha256: Sha256,
}

/// The sum of one file, if it is pinned.
pub(crate) fn find(what: Pinned, version: &Version, platform: Platform) -> Option<Sha256> {
    let platform = platform.name(what.tool());
    pins(TEXT).find(|pin| pin.what == what && pin.version == *version && pin.platform == platform).map(|pin| pin.sha256)
}

/// The versions that are pinned for a platform, lowest first.
pub(crate) fn versions(what: Pinned, platform: Platform) -> Vec<Version> {
    let platform = platform.name(what.tool());
    let mut versions: Vec<Version> =
        pins(TEXT).filter(|pin| pin.what == what && pin.platform == platform).map(|pin| pin.version).collect();
    versions.sort();
    versions
}

/// A line that does not parse pins nothing; a test sees to it that there is none.
fn pins(text: &str) -> impl Iterator<Item = Pin<'_>> {
    lines(text).filter_map(parse)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty())
}

fn parse(line: &str) -> Option<Pin<'_>> {
    let mut columns = line.split('\t');
    let pin = Pin {
        what: columns.next()?.parse().ok()?,
        version: Version::parse(columns.next()?).ok()?,
        platform: columns.next()?,
        sha256: columns.next()?.parse().ok()?,
    };
    let origin = columns.next()?;
    (!origin.is_empty() && columns.next().is_none()).then_some(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLATFORMS: [&str; 7] =
        ["linux-amd64", "linux-arm64", "linux-ppc64le", "linux-s390x", "darwin-amd64", "darwin-arm64", "windows-amd64"];

    #[test]
    fn every_line_parses_and_pins_one_file_of_a_known_platform() {
        let mut seen = Vec::new();
        for line in lines(TEXT) {
            let pin = parse(line).unwrap_or_else(|| panic!("{line}"));
            let known =
                PLATFORMS.iter().any(|name| Platform::named(name).unwrap().name(pin.what.tool()) == pin.platform);
            assert!(known, "{line}");
            let key = (pin.what, pin.version, pin.platform);
            assert!(!seen.contains(&key), "twice: {line}");
            seen.push(key);
        }
        assert_eq!(seen.len(), 245);
    }

    #[test]
    fn every_platform_has_the_default_version_and_a_whole_protoc() {
        for name in PLATFORMS {
            let platform = Platform::named(name).unwrap();
            let pinned = |what, version: &Version| find(what, version, platform).is_some();
            assert!(pinned(Pinned::Binary(Tool::Etcd), &Version::new(3, 7, 2)), "{name}");
            for version in versions(Pinned::Binary(Tool::Protoc), platform) {
                assert!(pinned(Pinned::ProtocInclude, &version), "{name} {version}");
            }
        }
    }

    #[test]
    fn what_is_not_listed_is_not_pinned() {
        let linux = Platform::named("linux-amd64").unwrap();
        for version in ["3.7.3", "3.7.2-rc.1", "3.7.2+build", "9.9.9"] {
            assert_eq!(find(Pinned::Binary(Tool::Etcd), &Version::parse(version).unwrap(), linux), None, "{version}");
        }
        assert_eq!(find(Pinned::Archive, &Version::new(3, 7, 2), linux), None);
    }

    #[test]
    fn versions_come_in_order() {
        let found = versions(Pinned::Archive, Platform::named("linux-amd64").unwrap());
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
        assert!(found.contains(&Version::new(3, 5, 6)) && found.contains(&Version::new(3, 6, 14)));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "\\PC*(\t\\PC*){0,6}") {
            let _ = parse(&line);
        }

        #[test]
        fn a_line_with_one_character_less_pins_nothing_or_something_else(
            index in 0_usize..245,
            at in any::<prop::sample::Index>(),
        ) {
            let line = lines(TEXT).nth(index).unwrap();
            let mut shorter = line.to_owned();
            shorter.remove(at.index(line.find('\t').unwrap() + 1));
            prop_assert_ne!(parse(&shorter), parse(line));
        }
    }
}
