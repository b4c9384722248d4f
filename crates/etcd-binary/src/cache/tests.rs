//! What counts as installed, and what is noticed when it changes.

#![cfg(unix)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::Source;
use crate::fakes::Heard;

struct Bench {
    dir: TempDir,
    cache: Cache,
}

fn platform() -> Platform {
    Platform::named("linux-arm64").unwrap()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::locate(&Env::empty(dir.path()).with("ETCD_LOCAL_CACHE", "cache")).unwrap();
        Self { dir, cache }
    }

    fn slot(&self, version: &str) -> Slot {
        self.cache.slot(Tool::Etcd, &Version::parse(version).unwrap(), platform())
    }

    /// Installs a file without any of the care that an installation takes.
    fn put(&self, version: &str) -> PathBuf {
        let slot = self.slot(version);
        let dir = slot.dir();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("etcd"), "program").unwrap();
        let sums = [("etcd".to_owned(), Sha256::of_bytes(b"program"))];
        let name = (Tool::Etcd, &slot.version, "linux-arm64");
        Record::of(name, Source::Registry, None, &dir, &sums).unwrap().write(&dir).unwrap();
        dir
    }

    fn versions(&self) -> Vec<String> {
        let installed = self.cache.installed(Tool::Etcd, platform()).unwrap();
        installed.iter().map(|installed| installed.version.to_string()).collect()
    }
}

#[test]
fn the_environment_says_where_the_cache_is() {
    let root = |env: Env| Cache::locate(&env).map(|cache| cache.root().to_owned());
    let env = Env::empty("/work").with("HOME", "/home/me");
    assert_eq!(root(env.clone().with("ETCD_LOCAL_CACHE", "/my/cache")).unwrap(), Path::new("/my/cache"));
    assert_eq!(root(env.clone().with("ETCD_LOCAL_CACHE", "here")).unwrap(), Path::new("/work/here"));
    if cfg!(target_os = "macos") {
        assert_eq!(root(env).unwrap(), Path::new("/home/me/Library/Caches/etcd-local"));
    } else {
        assert_eq!(root(env.clone()).unwrap(), Path::new("/home/me/.cache/etcd-local"));
        assert_eq!(root(env.with("XDG_CACHE_HOME", "/xdg")).unwrap(), Path::new("/xdg/etcd-local"));
    }
    assert!(matches!(root(Env::empty("/work")), Err(CacheError::NoCacheDir)));
}

#[test]
fn versions_come_in_order_and_only_whole_ones_count() {
    let bench = Bench::new();
    assert!(bench.versions().is_empty(), "no directory is no error");
    for version in ["3.10.0", "3.6.5", "3.7.0-rc.1", "3.7.0"] {
        bench.put(version);
    }
    std::fs::create_dir_all(bench.slot("3.8.0").dir()).unwrap();
    std::fs::create_dir_all(bench.dir.path().join("cache/etcd/notes")).unwrap();
    std::fs::write(bench.dir.path().join("cache/etcd/3.9.0"), "a file").unwrap();
    assert_eq!(bench.versions(), ["3.6.5", "3.7.0-rc.1", "3.7.0", "3.10.0"]);
    let elsewhere = Platform::named("darwin-amd64").unwrap();
    assert!(bench.cache.installed(Tool::Etcd, elsewhere).unwrap().is_empty());
}

#[test]
fn a_record_that_is_broken_or_of_something_else_is_none() {
    let changes: [(&str, &str); 8] = [
        ("\"schema\": 1", "\"schema\": 2"),
        ("\"schema\": 1,", ""),
        ("3.6.5", "3.6.6"),
        ("\"tool\": \"etcd\"", "\"tool\": \"protoc\""),
        ("linux-arm64", "linux-amd64"),
        ("\"program\": \"etcd\"", "\"program\": \"other\""),
        ("\"etcd\"", "\"../etcd\""),
        ("{", ""),
    ];
    for (from, to) in changes {
        let bench = Bench::new();
        let record = bench.put("3.6.5").join("install.json");
        let text = std::fs::read_to_string(&record).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(&record, text.replace(from, to)).unwrap();
        assert_eq!(bench.slot("3.6.5").read(), None, "{from} -> {to}");
    }
}

#[test]
fn a_file_that_was_only_touched_is_intact() {
    let bench = Bench::new();
    let etcd = bench.put("3.6.5").join("etcd");
    let later = SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().append(true).open(&etcd).unwrap().set_modified(later).unwrap();
    bench.slot("3.6.5").read().unwrap().check().unwrap();
}

#[test]
fn a_file_that_was_changed_is_an_error_that_says_what_to_do() {
    for content in ["PROGRAM", "longer than it was", ""] {
        let bench = Bench::new();
        let dir = bench.put("3.6.5");
        std::fs::write(dir.join("etcd"), content).unwrap();
        let error = bench.slot("3.6.5").read().unwrap().check().unwrap_err();
        assert!(matches!(error, CacheError::Damaged(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&dir.join("etcd").display().to_string()) && text.contains("install etcd 3.6.5 again"),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_is_gone_is_an_error() {
    let bench = Bench::new();
    let dir = bench.put("3.6.5");
    std::fs::remove_file(dir.join("etcd")).unwrap();
    assert!(matches!(bench.slot("3.6.5").read().unwrap().check(), Err(CacheError::Io { .. })));
}

#[test]
fn a_lock_is_waited_for_once_aloud_and_not_for_ever() {
    let bench = Bench::new();
    let (slot, heard) = (bench.slot("3.6.5"), Heard::default());
    let held = slot.lock(&heard, Duration::ZERO).unwrap();
    assert!(heard.lines().is_empty());
    bench.slot("3.6.6").lock(&heard, Duration::ZERO).unwrap();
    let error = slot.lock(&heard, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, CacheError::Lock(_)), "{error}");
    assert_eq!(heard.count(|event| matches!(event, Event::Waiting { .. })), 1);
    drop(held);
    slot.lock(&heard, Duration::ZERO).unwrap();
}
