//! Which version to install from where, decided before anything is touched: a pure function of the request, the pins
//! and what the machine offers.

use semver::Version;

use super::InstallError;
use crate::pins::{self, Pinned};
use crate::platform::{Platform, offers};
use crate::{Route, Sha256, Source, Tool, Wanted};

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) version: Version,
    pub(super) source: Source,
    /// What the binary (registry, Go) or the archive (release) must have. Without it only what Go builds is taken.
    pub(super) sum: Option<Sha256>,
}

/// What is asked for, and what this machine offers.
pub(super) struct Request<'a> {
    pub(super) tool: Tool,
    pub(super) wanted: &'a Wanted,
    pub(super) route: Route,
    /// The caller's own sum. It replaces the pin.
    pub(super) given: Option<Sha256>,
    pub(super) platform: Platform,
    pub(super) offline: bool,
    pub(super) has_go: bool,
}

/// From this release on etcd's parts are Go modules of their own, with versions that Go can fetch.
const FIRST_GO_MODULE: Version = Version::new(3, 5, 0);
const ORDER: [Source; 3] = [Source::Registry, Source::Release, Source::GoSource];

impl Request<'_> {
    /// What to try, best first. Never empty.
    pub(super) fn plan(&self) -> Result<Vec<Attempt>, InstallError> {
        if let Wanted::At(path) = self.wanted {
            return Err(InstallError::NotAVersion { path: path.clone() });
        }
        if let Route::Only(source) = self.route
            && !offers(source, self.tool)
        {
            return Err(InstallError::NotOffered { tool: self.tool, origin: source });
        }
        let attempts: Vec<Attempt> =
            self.candidates().into_iter().flat_map(|version| self.attempts(&version)).collect();
        if attempts.is_empty() { Err(self.unknown()) } else { Ok(attempts) }
    }

    /// The versions to try: the only one that will do, else the highest that is pinned, and after it the highest that
    /// the registry has, which reaches machines that the release archives do not.
    fn candidates(&self) -> Vec<Version> {
        if let Some(version) = self.wanted.only_version() {
            return vec![version];
        }
        let highest = |sources: &[Source]| {
            let known = sources.iter().flat_map(|source| self.pinned(*source));
            known.filter(|version| self.wanted.accepts(version)).max()
        };
        let mut versions: Vec<Version> =
            highest(&self.sources()).into_iter().chain(highest(&[Source::Registry])).collect();
        versions.dedup();
        versions
    }

    fn attempts(&self, version: &Version) -> Vec<Attempt> {
        let sources = self.sources().into_iter().filter(|source| self.is_worth_trying(*source, version));
        sources.map(|source| Attempt { version: version.clone(), source, sum: self.sum(source, version) }).collect()
    }

    fn sources(&self) -> Vec<Source> {
        match self.route {
            Route::Only(source) => vec![source],
            Route::Auto | Route::Path => ORDER
                .into_iter()
                .filter(|source| offers(*source, self.tool) && (!self.offline || *source == Source::Registry))
                .collect(),
        }
    }

    /// A source that the caller named is always tried, if only for its error.
    fn is_worth_trying(&self, source: Source, version: &Version) -> bool {
        let pin = self.pin(source, version);
        match (self.route, source) {
            (Route::Only(_), Source::Registry | Source::Release) => pin.is_some() || self.given.is_some(),
            (Route::Only(_), Source::GoSource) => true,
            // The caller's sum may be the archive's or the binary's: it is the binary's only if we know it as such.
            (_, Source::Registry) => pin.is_some() && self.given.is_none_or(|given| Some(given) == pin),
            (_, Source::Release) => pin.is_some() || self.given.is_some(),
            (_, Source::GoSource) => {
                let pinned = self.known().contains(version);
                self.given.is_none() && *version >= FIRST_GO_MODULE && (self.has_go || pinned)
            }
        }
    }

    fn sum(&self, source: Source, version: &Version) -> Option<Sha256> {
        self.given.or_else(|| self.pin(source, version))
    }

    fn pin(&self, source: Source, version: &Version) -> Option<Sha256> {
        pins::find(Pinned::of(source, self.tool)?, version, self.platform)
    }

    fn pinned(&self, source: Source) -> Vec<Version> {
        Pinned::of(source, self.tool).map(|what| pins::versions(what, self.platform)).unwrap_or_default()
    }

    /// All pinned versions, lowest first.
    fn known(&self) -> Vec<Version> {
        let mut known: Vec<Version> = ORDER.iter().flat_map(|source| self.pinned(*source)).collect();
        known.sort();
        known.dedup();
        known
    }

    /// Why there is nothing to try.
    fn unknown(&self) -> InstallError {
        let (tool, wanted, requested) = (self.tool, self.wanted.clone(), self.sources());
        let has = |source: &Source| self.pinned(*source).iter().any(|version| wanted.accepts(version));
        let origin = ORDER.into_iter().find(|source| !requested.contains(source) && has(source));
        if let (Some(origin), Some(&requested)) = (origin, requested.first()) {
            let offline = self.route == Route::Auto;
            return InstallError::OtherSource { tool, wanted, requested, origin, offline };
        }
        let (platform, nearest) = (self.platform.name(tool), nearest(&self.known(), self.wanted));
        InstallError::Unknown { tool, wanted, platform, nearest }
    }
}

/// The two known versions on either side of the wanted one; the four highest where it names none.
fn nearest(known: &[Version], wanted: &Wanted) -> Vec<Version> {
    let Some(version) = wanted.only_version() else {
        return known.iter().rev().take(4).rev().cloned().collect();
    };
    let (below, above): (Vec<&Version>, Vec<&Version>) = known.iter().partition(|known| **known < version);
    let below = below.iter().rev().take(2).rev();
    below.chain(above.iter().take(2)).map(|version| (*version).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(wanted: &Wanted) -> Request<'_> {
        let platform = Platform::named("linux-amd64").unwrap();
        let (tool, route) = (Tool::Etcd, Route::Auto);
        Request { tool, wanted, route, given: None, platform, offline: false, has_go: false }
    }

    fn steps(plan: &[Attempt]) -> Vec<String> {
        plan.iter().map(|attempt| format!("{} {:?}", attempt.version, attempt.source)).collect()
    }

    fn planned(text: &str, change: impl FnOnce(&mut Request<'_>)) -> Vec<String> {
        let wanted = text.parse().unwrap();
        let mut request = request(&wanted);
        change(&mut request);
        steps(&request.plan().unwrap())
    }

    fn refused(text: &str, change: impl FnOnce(&mut Request<'_>)) -> InstallError {
        let wanted = text.parse().unwrap();
        let mut request = request(&wanted);
        change(&mut request);
        request.plan().unwrap_err()
    }

    fn some_sum() -> Option<Sha256> {
        Some(Sha256::of_bytes(b"the caller's"))
    }

    #[test]
    fn a_version_comes_from_every_source_that_vouches_for_it() {
        assert_eq!(planned("3.7.2", |_| ()), ["3.7.2 Registry", "3.7.2 GoSource"]);
        assert_eq!(planned("3.6.4", |_| ()), ["3.6.4 Registry", "3.6.4 Release", "3.6.4 GoSource"]);
        assert_eq!(planned("=3.6.14", |_| ()), ["3.6.14 Release", "3.6.14 GoSource"]);
    }

    #[test]
    fn a_requirement_takes_the_highest_then_what_the_registry_has() {
        assert_eq!(planned("^3.6", |_| ())[0], "3.7.2 Registry");
        let lower = planned("~3.6", |_| ());
        assert_eq!(lower[0], "3.6.14 Release");
        assert!(lower.contains(&"3.6.7 Registry".to_owned()), "{lower:?}");
        assert_eq!(planned("~3.6", |request| request.offline = true), ["3.6.7 Registry"]);
        assert_eq!(planned("~3.6", |request| request.route = Route::Only(Source::Registry)), ["3.6.7 Registry"]);
    }

    #[test]
    fn an_unknown_version_needs_go_or_a_sum() {
        assert_eq!(planned("3.9.9", |request| request.has_go = true), ["3.9.9 GoSource"]);
        assert_eq!(planned("3.9.9", |request| request.given = some_sum()), ["3.9.9 Release"]);
        let error = refused("3.6.99", |_| ()).to_string();
        assert!(error.contains("3.6.13, 3.6.14, 3.7.0, 3.7.1"), "{error}");
        assert!(matches!(refused("3.4.23", |request| request.has_go = true), InstallError::Unknown { .. }));
        assert!(matches!(refused("^4", |request| request.has_go = true), InstallError::Unknown { .. }));
        assert!(matches!(refused("3.9.9", |request| request.offline = true), InstallError::Unknown { .. }));
    }

    #[test]
    fn what_another_source_has_is_known() {
        let from = |source| move |request: &mut Request<'_>| request.route = Route::Only(source);
        for text in ["3.6.6", "=3.6.6", ">=3.6.8, <3.7"] {
            let error = refused(text, from(Source::Registry)).to_string();
            assert_eq!(
                error,
                format!("etcd `{}` does not come from the Cargo registry, but from the release archive", text)
            );
            let error = refused(text, |request| request.offline = true).to_string();
            assert!(error.ends_with("but from the release archive, which needs the network"), "{error}");
        }
        let error = refused("^3.7", from(Source::Release)).to_string();
        assert!(error.ends_with("does not come from the release archive, but from the Cargo registry"), "{error}");
        assert!(matches!(refused("3.6.99", from(Source::Registry)), InstallError::Unknown { .. }));
    }

    #[test]
    fn the_callers_sum_replaces_the_pin() {
        let wanted = "3.6.4".parse().unwrap();
        let pinned = request(&wanted).plan().unwrap()[0].sum;
        assert_eq!(planned("3.6.4", |request| request.given = some_sum()), ["3.6.4 Release"]);
        assert_eq!(planned("3.6.4", |request| request.given = pinned)[0], "3.6.4 Registry");
        let mut only = request(&wanted);
        (only.route, only.given) = (Route::Only(Source::Registry), some_sum());
        assert_eq!(only.plan().unwrap()[0].sum, some_sum());
    }

    #[test]
    fn nothing_is_planned_without_a_sum_except_from_go() {
        for text in ["3.7.2", "3.6.14", "^3.5", "~3.5", "*", "3.9.9"] {
            let wanted = text.parse().unwrap();
            for route in [Route::Auto, Route::Only(Source::Registry), Route::Only(Source::Release)] {
                let mut request = request(&wanted);
                (request.route, request.has_go) = (route, true);
                for attempt in request.plan().unwrap_or_default() {
                    assert_eq!(attempt.sum.is_none(), attempt.source == Source::GoSource, "{text} {attempt:?}");
                }
            }
        }
    }

    #[test]
    fn protoc_is_only_in_the_registry() {
        assert_eq!(planned("*", |request| request.tool = Tool::Protoc), ["3.3.0 Registry"]);
        let from_release = |request: &mut Request<'_>| {
            (request.tool, request.route) = (Tool::Protoc, Route::Only(Source::Release));
        };
        assert!(matches!(refused("3.3.0", from_release), InstallError::NotOffered { .. }));
    }

    #[test]
    fn a_path_cannot_be_installed() {
        assert!(matches!(refused("./etcd", |_| ()), InstallError::NotAVersion { .. }));
    }
}
