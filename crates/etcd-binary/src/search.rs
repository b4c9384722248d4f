//! Finding an etcd that is already there, in the order that the documentation gives, and installing one where there is
//! none. Never takes one that does not satisfy, except where the caller allows it and is told so.

use std::path::{Path, PathBuf};

use semver::Version;

use super::cache::CacheError;
use super::install::{InstallError, with_causes};
use super::version::{VersionError, version_of};
use super::{Binaries, Binary, Origin, Route, Tool, Wanted};
use crate::command::{all_on_path, on_path};
use crate::file;
use crate::reporter::Event;

/// The oldest etcd that is used where the wanted version cannot be had: the oldest whose API this workspace speaks.
const OLDEST: Version = Version::new(3, 4, 0);

/// Names the user's own etcd.
const VARIABLE: &str = "ETCDBINPATH";

/// Why there is no etcd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// What the caller or `ETCDBINPATH` names is not an etcd.
    #[error("{named_by} does not name a working etcd")]
    Given {
        /// Who named it.
        named_by: &'static str,
        /// What it names, and what is wrong with it.
        source: VersionError,
    },
    /// None was found that satisfies, and none could be installed.
    #[error("no etcd satisfies `{wanted}`{}", seen(found))]
    Nothing {
        /// What was wanted.
        wanted: Wanted,
        /// Those that were found and do not satisfy, one line each.
        found: Vec<String>,
        /// Why none could be installed.
        source: Box<InstallError>,
    },
    /// The cache cannot be used, or what it holds was changed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A line for each.
fn seen(found: &[String]) -> String {
    found.iter().map(|line| format!("\n  found: {line}")).collect()
}

/// What a search came across without taking it.
#[derive(Default)]
struct Rejected {
    binaries: Vec<Binary>,
    lines: Vec<String>,
}

impl Binaries {
    /// An etcd as it is wanted: the one that `wanted` names, else the one that `ETCDBINPATH` names if it satisfies, else
    /// from the cache, `$GOPATH/bin`, PATH, else installed. Where a requirement cannot be met at all, the highest etcd from
    /// 3.4 on that was found is used and [`Event::Substituted`] says so. A wanted version is never substituted.
    ///
    /// # Errors
    /// If what was named is no etcd, if an etcd in the cache was changed, or if there is none and none can be installed.
    pub fn find(&self, wanted: &Wanted) -> Result<Binary, FindError> {
        if let Wanted::At(path) = wanted {
            let path = self.resolved(path);
            // Settings make such a wish of it.
            let is_variables = self.env.path_var(VARIABLE).is_some_and(|named| named == path);
            return self.given(if is_variables { "`ETCDBINPATH`" } else { "the given path" }, &path);
        }
        let mut rejected = Rejected::default();
        if let Some(path) = self.env.path_var(VARIABLE) {
            let given = self.given("`ETCDBINPATH`", &path)?;
            if wanted.accepts(&given.version) {
                return Ok(given);
            }
            rejected.note(given);
        }
        if let Some(binary) = self.in_cache(wanted, &mut rejected)? {
            return Ok(binary);
        }
        for (path, origin) in self.on_machine(Tool::Etcd) {
            match version_of(&path, &self.env) {
                Ok(version) if wanted.accepts(&version) => return Ok(Binary { path, version, origin }),
                Ok(version) => rejected.note(Binary { path, version, origin }),
                Err(error) => rejected.lines.push(with_causes(&error)),
            }
        }
        match self.install(Tool::Etcd, wanted, Route::Auto, None) {
            Ok(binary) => Ok(binary),
            Err(InstallError::Cache(error @ CacheError::Damaged(_))) => Err(error.into()),
            Err(error) => self.substitute(wanted, rejected, error),
        }
    }

    /// The etcd at `path`, if it still is this version. One from the cache must be what was installed, too, and is not
    /// run to find out.
    #[must_use]
    pub fn unchanged(&self, path: &Path, version: &Version) -> Option<Binary> {
        let cached = self.installed().unwrap_or_default().into_iter().find(|installed| installed.path == path);
        let (now, origin) = match cached {
            Some(installed) => (installed.check().ok().map(|()| installed.version)?, Origin::Cache),
            None => (version_of(path, &self.env).ok()?, Origin::Given),
        };
        now.cmp_precedence(version).is_eq().then(|| Binary { path: path.to_owned(), version: now, origin })
    }

    fn substitute(&self, wanted: &Wanted, rejected: Rejected, error: InstallError) -> Result<Binary, FindError> {
        let usable = rejected.binaries.iter().filter(|binary| binary.version >= OLDEST);
        // The first of several with the highest version: the order of the search.
        let best = usable.rev().max_by(|one, other| one.version.cmp(&other.version));
        match (wanted, best) {
            (Wanted::Matching(requirement), Some(best)) => {
                let (wanted, version, path) = (requirement.to_string(), best.version.clone(), best.path.clone());
                let reason = match error {
                    InstallError::Failed { .. } => error.to_string(),
                    _ => with_causes(&error),
                };
                self.reporter.report(&Event::Substituted { wanted, version, path, reason });
                Ok(best.clone())
            }
            _ => Err(FindError::Nothing { wanted: wanted.clone(), found: rejected.lines, source: Box::new(error) }),
        }
    }

    /// A directory stands for the etcd in it.
    fn given(&self, named_by: &'static str, path: &Path) -> Result<Binary, FindError> {
        let path = if path.is_dir() { path.join(program("etcd")) } else { path.to_owned() };
        match version_of(&path, &self.env) {
            Ok(version) => Ok(Binary { path, version, origin: Origin::Given }),
            Err(source) => Err(FindError::Given { named_by, source }),
        }
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.env.home()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.env.cwd().join(path),
        }
    }

    /// The highest version in the cache that satisfies. The names of the directories contain the versions, so nothing is run.
    fn in_cache(&self, wanted: &Wanted, rejected: &mut Rejected) -> Result<Option<Binary>, CacheError> {
        // Without a home directory, or on a platform without published binaries, there is no cache, but there may be an etcd.
        let (Ok(cache), Ok(platform)) = (self.cache(), self.platform()) else { return Ok(None) };
        for installed in cache.installed(Tool::Etcd, platform)?.into_iter().rev() {
            let accepted = wanted.accepts(&installed.version);
            if accepted {
                installed.check()?;
            } else if installed.check().is_err() {
                continue;
            }
            let binary = Binary { path: installed.path, version: installed.version, origin: Origin::Cache };
            if accepted {
                return Ok(Some(binary));
            }
            rejected.note(binary);
        }
        Ok(None)
    }

    /// The programs of this name in `$GOPATH/bin` and on PATH, each once.
    fn on_machine(&self, tool: Tool) -> Vec<(PathBuf, Origin)> {
        let in_gopath = self.go_bin().map(|dir| dir.join(program(&tool.to_string()))).filter(|path| path.is_file());
        let on_path = all_on_path(&self.env, tool.to_string());
        let mut found: Vec<(PathBuf, Origin)> = Vec::new();
        let all = in_gopath.into_iter().map(|path| (path, Origin::GoPath));
        for (path, origin) in all.chain(on_path.into_iter().map(|path| (path, Origin::Path))) {
            if !found.iter().any(|(known, _)| file::is_same(known, &path)) {
                found.push((path, origin));
            }
        }
        found
    }

    /// `$GOPATH/bin`, of the first directory where it is a list, as Go installs to; else `~/go/bin`.
    fn go_bin(&self) -> Option<PathBuf> {
        let listed = self.env.var_os("GOPATH").and_then(|paths| std::env::split_paths(paths).next());
        let root = listed.map(|path| self.env.cwd().join(path));
        root.or_else(|| self.env.home().map(|home| home.join("go"))).map(|root| root.join("bin"))
    }

    pub(super) fn satisfying_on_path(&self, tool: Tool, wanted: &Wanted) -> Result<Binary, InstallError> {
        let missing = || InstallError::NotOnPath { tool, wanted: wanted.clone() };
        if tool != Tool::Etcd {
            return Err(missing());
        }
        let on_path = all_on_path(&self.env, "etcd").into_iter();
        let binaries = on_path.filter_map(|path| {
            let version = version_of(&path, &self.env).ok()?;
            Some(Binary { path, version, origin: Origin::Path })
        });
        binaries.into_iter().find(|binary| wanted.accepts(&binary.version)).ok_or_else(missing)
    }

    /// An etcdctl: beside the given etcd, else in the cache, in the directory that `ETCDBINPATH` names, in
    /// `$GOPATH/bin`, or on PATH.
    #[must_use]
    pub fn etcdctl(&self, beside: Option<&Path>) -> Option<PathBuf> {
        let name = program("etcdctl");
        let in_dir = |dir: &Path| Some(dir.join(&name)).filter(|path| path.is_file());
        let beside = beside.and_then(Path::parent).and_then(in_dir);
        beside
            .or_else(|| {
                let installed = self.cache().ok()?.installed(Tool::Etcd, self.platform().ok()?).ok()?;
                installed.iter().rev().find_map(|installed| installed.companion(&name))
            })
            .or_else(|| {
                let path = self.env.path_var(VARIABLE)?;
                in_dir(if path.is_dir() { &path } else { path.parent()? })
            })
            .or_else(|| in_dir(&self.go_bin()?))
            .or_else(|| on_path(&self.env, "etcdctl"))
    }

    /// A protoc: the one that `PROTOC` names, else the one on PATH, else the cached one, else one that is installed.
    ///
    /// # Errors
    /// If `PROTOC` names no file, or there is no protoc and none can be installed.
    pub fn protoc(&self) -> Result<PathBuf, InstallError> {
        if let Some(path) = self.env.path_var("PROTOC") {
            let found = path.is_file().then(|| path.clone()).or_else(|| on_path(&self.env, self.env.var("PROTOC")?));
            return found.ok_or(InstallError::NoSuchFile { variable: "PROTOC", path });
        }
        if let Some(path) = all_on_path(&self.env, "protoc").into_iter().find(|path| is_whole_protoc(path)) {
            return Ok(path);
        }
        if let Some(installed) = self.cache()?.installed(Tool::Protoc, self.platform()?)?.pop() {
            installed.check()?;
            return Ok(installed.path);
        }
        let any = Wanted::Matching(semver::VersionReq::STAR);
        self.install(Tool::Protoc, &any, Route::Auto, None).map(|binary| binary.path)
    }
}

/// Whether a protoc has its include files where it looks for them, beside its real self. The program alone, as
/// some distributions ship it, cannot compile etcd's files.
#[must_use]
pub fn is_whole_protoc(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.parent().is_some_and(|bin| bin.join("../include/google/protobuf/descriptor.proto").is_file())
}

impl Rejected {
    fn note(&mut self, binary: Binary) {
        self.lines.push(format!("{} at `{}`", binary.version, binary.path.display()));
        self.binaries.push(binary);
    }
}

/// The file name of a program of this machine.
fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

#[cfg(test)]
mod tests;
