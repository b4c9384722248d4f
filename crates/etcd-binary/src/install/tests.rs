//! Installing from fake releases, crates and compilers: the whole way, without the network.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use semver::VersionReq;
use tempfile::TempDir;

use super::*;
use crate::env::Env;
use crate::fakes::{self, Answer, Heard, Mirror};

mod interrupted;
mod sources;

/// A version that nothing pins, so that the caller's sum decides.
const VERSION: &str = "3.6.99";

struct Bench {
    dir: TempDir,
    heard: Heard,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), heard: Heard::default() }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn env(&self) -> Env {
        let path = self.dir.path().join("plain-path");
        let path = if path.exists() { path } else { fakes::plain_path(self.dir.path()) };
        Env::empty(self.dir.path()).with("PATH", path).with("ETCD_LOCAL_CACHE", self.cache())
    }

    fn binaries(&self) -> Binaries {
        self.binaries_in(self.env())
    }

    fn binaries_in(&self, env: Env) -> Binaries {
        let mut binaries = Binaries::new(env, self.dir.path()).reporter(std::sync::Arc::new(self.heard.clone()));
        binaries.download_timeouts = Timeouts { stall: Duration::from_secs(1), ..Timeouts::default() };
        binaries
    }

    fn install_from(&self, mirror: &Mirror, sha256: Sha256) -> Result<Binary, InstallError> {
        let wanted = VERSION.parse().unwrap();
        let route = Route::Only(Source::Release);
        self.binaries().mirror(mirror.url()).install(Tool::Etcd, &wanted, route, Some(sha256))
    }

    /// Nothing is installed, and nothing is left of the attempt.
    fn is_clean(&self) -> bool {
        let empty = |name: &str| {
            std::fs::read_dir(self.cache().join(name)).map_or(true, |mut entries| entries.next().is_none())
        };
        empty("etcd") && empty(".scratch")
    }
}

fn only_reason(error: InstallError) -> SourceError {
    match error {
        InstallError::Failed { mut tried, .. } if tried.len() == 1 => tried.remove(0).error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_release_is_installed_once_and_then_cached() {
    let (bench, archive) = (Bench::new(), fakes::release(VERSION));
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::start(move |path| {
        assert_eq!(path, fakes::release_path(VERSION));
        Answer::Content(archive.clone())
    });
    let first = bench.install_from(&mirror, sum).unwrap();
    assert_eq!(first.origin, Origin::Installed(Source::Release));
    assert_eq!(crate::version_of(&first.path, &bench.env()).unwrap().to_string(), VERSION);
    let second = bench.install_from(&mirror, sum).unwrap();
    assert_eq!((&second.path, second.origin), (&first.path, Origin::Cache));
    assert_eq!(mirror.requests(), 1);
    let listed = bench.binaries().installed().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].path.clone(), listed[0].source), (first.path.clone(), Source::Release));
    assert_eq!(bench.binaries().etcdctl(None).unwrap(), first.path.with_file_name("etcdctl"));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for dir in first.path.ancestors().skip(1).take_while(|dir| dir.starts_with(bench.cache())) {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    let lines = bench.heard.lines();
    assert_eq!(lines[0], format!("installing etcd {VERSION} from the release archive"));
    assert!(lines.contains(&"checking and unpacking".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), &format!("installed {}", first.path.display()));
}

#[test]
fn every_way_in_which_a_mirror_fails_is_an_error_that_leaves_nothing() {
    let archive = fakes::release(VERSION);
    let sum = Sha256::of_bytes(&archive);
    let other = fakes::release("3.6.98");
    let half = archive[..archive.len() / 2].to_vec();
    let cases: [(Answer, &str); 8] = [
        (Answer::Status(404), "the server has no `http://127.0.0.1:"),
        (Answer::Status(503), "503"),
        (Answer::Silence, "stalled"),
        (Answer::Drip, "stalled"),
        (Answer::CutOff(archive.clone()), "remaining to read"),
        (Answer::Content(half), "has SHA-256"),
        (Answer::Content(other), "has SHA-256"),
        (Answer::Content(b"<html>Please log in".to_vec()), "answered with a web page"),
    ];
    for (answer, reason) in cases {
        let bench = Bench::new();
        let error = bench.install_from(&Mirror::always(answer.clone()), sum).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason), "{answer:?}: {text}");
        assert!(bench.is_clean(), "{answer:?}");
    }
}

#[test]
fn an_archive_without_etcd_leaves_nothing() {
    let bench = Bench::new();
    let files = [("etcdctl", "#!/bin/sh".to_owned())];
    let archive = fakes::packed(&fakes::release_top(VERSION), &files);
    let sum = Sha256::of_bytes(&archive);
    let error = only_reason(bench.install_from(&Mirror::always(Answer::Content(archive)), sum).unwrap_err());
    assert!(matches!(error, SourceError::Archive(_)), "{error}");
    assert!(bench.is_clean());
}

#[test]
fn a_mirror_that_is_no_url_is_refused() {
    for mirror in ["mirror.example/etcd", "/srv/mirror", "ftp://mirror.example", "-x"] {
        let bench = Bench::new();
        let (wanted, route) = (VERSION.parse().unwrap(), Route::Only(Source::Release));
        let binaries = bench.binaries_in(bench.env().with("ETCD_RELEASE_MIRROR", mirror));
        let error = only_reason(binaries.install(Tool::Etcd, &wanted, route, Some(Sha256::of_bytes(b""))).unwrap_err());
        assert!(matches!(error, SourceError::NotAMirror { .. }), "{mirror}: {error}");
    }
}

#[test]
fn without_a_pin_or_a_sum_nothing_is_fetched() {
    let bench = Bench::new();
    let mirror = Mirror::always(Answer::Status(500));
    let binaries = bench.binaries().mirror(mirror.url());
    for route in [Route::Auto, Route::Only(Source::Release), Route::Only(Source::Registry)] {
        let error = binaries.install(Tool::Etcd, &VERSION.parse().unwrap(), route, None).unwrap_err();
        assert!(matches!(error, InstallError::Unknown { .. }), "{error}");
    }
    assert_eq!(mirror.requests(), 0);
    assert!(!bench.cache().exists(), "nothing changed");
}

#[test]
fn a_pinned_archive_with_another_content_is_refused_whoever_serves_it() {
    let bench = Bench::new();
    let known = bench.binaries().known();
    let Some(pinned) = known.iter().find(|known| known.source == Source::Release) else {
        return fakes::skipped("no release for this system is pinned");
    };
    let evil = fakes::release(&pinned.version.to_string());
    let mirror = Mirror::always(Answer::Content(evil));
    let wanted = Wanted::Exactly(pinned.version.clone());
    let result = bench.binaries().mirror(mirror.url()).install(Tool::Etcd, &wanted, Route::Only(Source::Release), None);
    let error = only_reason(result.unwrap_err());
    assert!(matches!(error, SourceError::Mismatch { web_page: false, .. }), "{error}");
    assert!(bench.is_clean());
}

#[test]
fn a_damaged_installation_is_replaced_by_an_installation() {
    let (bench, archive) = (Bench::new(), fakes::release(VERSION));
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Content(archive));
    let etcd = bench.install_from(&mirror, sum).unwrap().path;
    let whole = std::fs::read(&etcd).unwrap();
    std::fs::write(&etcd, "damaged").unwrap();
    let wanted = Wanted::Matching(VersionReq::parse("~3.6.99").unwrap());
    let error = bench.binaries().find(&wanted).unwrap_err().to_string();
    assert!(error.contains("has changed since it was installed"), "{error}");
    let again = bench.install_from(&mirror, sum).unwrap();
    assert_eq!((again.origin, again.path), (Origin::Installed(Source::Release), etcd.clone()));
    assert_eq!(std::fs::read(etcd).unwrap(), whole);
    assert_eq!(std::fs::read_dir(bench.cache().join(".scratch")).unwrap().count(), 0);
}

#[test]
fn twenty_at_once_download_once() {
    let (bench, archive) = (Bench::new(), fakes::release(VERSION));
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Slowly(archive, 64));
    bench.env();
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let install = || bench.install_from(&mirror, sum).unwrap().path;
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(install)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!(mirror.requests(), 1);
    assert_eq!(bench.heard.count(|event| matches!(event, Event::Installed { .. })), 1);
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
    let archive = fakes::release(VERSION);
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Content(archive));
    let places: [fn(&Bench); 3] = [
        |bench| std::fs::write(bench.cache(), "a file").unwrap(),
        |bench| std::os::unix::fs::symlink("/proc/self/no-such-directory", bench.cache()).unwrap(),
        |bench| {
            std::fs::create_dir(bench.cache()).unwrap();
            std::fs::write(bench.cache().join("etcd"), "a file").unwrap();
        },
    ];
    for make in places {
        let bench = Bench::new();
        make(&bench);
        let error = bench.install_from(&mirror, sum).unwrap_err();
        assert!(matches!(error, InstallError::Cache(CacheError::Io { .. })), "{error}");
        assert!(error.to_string().contains(&bench.cache().display().to_string()), "{error}");
    }
}

#[test]
fn offline_nothing_is_asked_of_the_network() {
    let bench = Bench::new();
    let mirror = Mirror::always(Answer::Status(500));
    let binaries = bench.binaries().mirror(mirror.url()).offline(true);
    let sum = Some(Sha256::of_bytes(b""));
    for source in [Source::Release, Source::GoSource] {
        let error = binaries.install(Tool::Etcd, &VERSION.parse().unwrap(), Route::Only(source), sum).unwrap_err();
        assert!(matches!(only_reason(error), SourceError::Offline));
    }
    assert_eq!(mirror.requests(), 0);
}

#[test]
fn what_a_kill_in_the_last_moment_left_is_cleared_by_the_next_call() {
    let (bench, archive) = (Bench::new(), fakes::release(VERSION));
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Content(archive));
    bench.install_from(&mirror, sum).unwrap();
    let scratch = bench.cache().join(".scratch");
    std::fs::create_dir_all(scratch.join(fakes::release_top(VERSION).replace("-v", "-")).join("work")).unwrap();
    assert_eq!(bench.install_from(&mirror, sum).unwrap().origin, Origin::Cache);
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
}

#[test]
fn what_is_cached_with_another_sum_is_not_what_is_asked_for() {
    let (bench, archive) = (Bench::new(), fakes::release(VERSION));
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Content(archive));
    let cached = bench.install_from(&mirror, sum).unwrap();
    let error = only_reason(bench.install_from(&mirror, Sha256::of_bytes(b"another")).unwrap_err());
    assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
    assert_eq!(bench.install_from(&mirror, sum).unwrap().path, cached.path, "and stays as it is");
    assert_eq!(bench.install_from(&mirror, Sha256::of_file(&cached.path).unwrap()).unwrap().origin, Origin::Cache);
    assert_eq!(mirror.requests(), 2);
}
