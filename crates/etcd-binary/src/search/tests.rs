//! The order of the search, with etcds that are shell scripts.

#![cfg(unix)]

use std::sync::Arc;

use semver::VersionReq;
use tempfile::TempDir;

use super::*;
use crate::env::Env;
use crate::fakes::{self, Answer, Heard, Mirror, etcd, script};
use crate::{Sha256, Source};

struct Bench {
    dir: TempDir,
    heard: Heard,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), heard: Heard::default() }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// PATH is `path-one:path-two`, and no cargo can be run: nothing is ever installed.
    fn env(&self) -> Env {
        let path = std::env::join_paths([self.dir("path-one"), self.dir("path-two")]).unwrap();
        let env = Env::empty(self.dir.path()).with("PATH", path).with("HOME", self.dir("home"));
        env.with("ETCD_LOCAL_CACHE", self.dir("cache"))
    }

    fn with_gopath(&self) -> Env {
        self.env().with("GOPATH", std::env::join_paths([self.dir("gopath"), self.dir("gopath-two")]).unwrap())
    }

    fn binaries(&self, env: Env) -> Binaries {
        Binaries::new(env, self.dir.path()).reporter(Arc::new(self.heard.clone()))
    }

    fn find(&self, wanted: &str) -> Result<Binary, FindError> {
        self.find_in(self.env(), wanted)
    }

    fn find_in(&self, env: Env, wanted: &str) -> Result<Binary, FindError> {
        self.binaries(env).find(&wanted.parse().unwrap())
    }

    fn put_into_cache(&self, version: &str) -> PathBuf {
        self.install(version, fakes::release(version))
    }

    fn install(&self, version: &str, archive: Vec<u8>) -> PathBuf {
        let sum = Sha256::of_bytes(&archive);
        let mirror = Mirror::always(Answer::Content(archive));
        let path = self.dir("plain-path");
        let path = if path.exists() { path } else { fakes::plain_path(self.dir.path()) };
        let binaries = self.binaries(self.env().with("PATH", path)).mirror(mirror.url());
        let wanted = version.parse().unwrap();
        binaries.install(Tool::Etcd, &wanted, Route::Only(Source::Release), Some(sum)).unwrap().path
    }

    fn substitutions(&self) -> usize {
        self.heard.count(|event| matches!(event, Event::Substituted { .. }))
    }
}

#[test]
fn each_place_is_searched_in_its_turn() {
    let bench = Bench::new();
    let find = || bench.find_in(bench.with_gopath(), "^3.6").unwrap();
    let second = etcd(&bench.dir("path-two"), "3.6.1");
    assert_eq!((find().path, find().origin), (second, Origin::Path));
    let first = etcd(&bench.dir("path-one"), "3.6.2");
    assert_eq!(find().path, first);
    let go = etcd(&bench.dir("gopath/bin"), "3.6.3");
    assert_eq!((find().path, find().origin), (go, Origin::GoPath));
    let cached = bench.put_into_cache("3.6.0");
    assert_eq!((find().path, find().origin), (cached, Origin::Cache));
    let given = etcd(&bench.dir("mine"), "3.6.0");
    let env = bench.with_gopath().with("ETCDBINPATH", bench.dir("mine"));
    let binary = bench.find_in(env, "^3.6").unwrap();
    assert_eq!((binary.path, binary.version.to_string().as_str(), binary.origin), (given, "3.6.0", Origin::Given));
    assert_eq!(bench.substitutions(), 0);
}

#[test]
fn go_installs_to_the_home_directory_without_a_gopath() {
    let bench = Bench::new();
    let go = etcd(&bench.dir("home/go/bin"), "3.6.3");
    assert_eq!(bench.find("^3.6").unwrap().path, go);
}

#[test]
fn the_highest_in_the_cache_that_satisfies_is_used_without_running_any() {
    let bench = Bench::new();
    let cached = ["3.6.2", "3.10.0", "3.6.10", "3.6.11-rc.1"].map(|version| {
        let etcd = format!("#!/bin/sh\n: >\"$0.ran\"\necho 'etcd Version: {version}'\n");
        let files = [("etcd", etcd), ("etcdctl", "#!/bin/sh\n".to_owned()), ("etcdutl", "#!/bin/sh\n".to_owned())];
        bench.install(version, fakes::packed(&fakes::release_top(version), &files))
    });
    let markers = cached.each_ref().map(|path| path.with_file_name("etcd.ran"));
    // An installation runs what it brings.
    markers.iter().for_each(|marker| drop(std::fs::remove_file(marker)));
    let binary = bench.find("~3.6").unwrap();
    assert_eq!((&binary.path, binary.version), (&cached[2], Version::new(3, 6, 10)));
    assert_eq!(bench.find("3.6.11-rc.1").unwrap().version.to_string(), "3.6.11-rc.1");
    assert!(markers.iter().all(|marker| !marker.exists()), "one was run");
    assert!(std::process::Command::new(&cached[0]).status().unwrap().success() && markers[0].exists(), "it would show");
}

#[test]
fn what_does_not_satisfy_is_passed_over_also_on_path() {
    let bench = Bench::new();
    etcd(&bench.dir("path-one"), "3.5.9");
    let right = etcd(&bench.dir("path-two"), "3.6.1");
    assert_eq!(bench.find("^3.6").unwrap().path, right);
    assert_eq!(bench.find("3.6.1").unwrap().path, right);
}

#[test]
fn a_prerelease_is_not_the_release() {
    let bench = Bench::new();
    etcd(&bench.dir("path-one"), "3.7.2-rc.1");
    let error = bench.find("3.7.2").unwrap_err();
    assert!(matches!(error, FindError::Nothing { .. }), "{error}");
    assert!(error.to_string().contains("\n  found: 3.7.2-rc.1 at `"), "{error}");
}

#[test]
fn what_does_not_work_is_passed_over_and_told() {
    let bench = Bench::new();
    script(&bench.dir("path-one"), "etcd", "exit 1");
    let right = etcd(&bench.dir("path-two"), "3.6.1");
    assert_eq!(bench.find("^3.6").unwrap().path, right);
    let error = bench.find("3.7.2").unwrap_err().to_string();
    assert!(error.contains("path-one/etcd` does not report its version"), "{error}");
}

#[test]
fn a_requirement_that_cannot_be_met_takes_the_highest_that_is_there_and_says_so() {
    let bench = Bench::new();
    etcd(&bench.dir("path-one"), "3.4.2");
    let best = etcd(&bench.dir("path-two"), "3.5.9");
    etcd(&bench.dir("home/go/bin"), "3.3.27");
    let binary = bench.find("=3.7.2").unwrap();
    assert_eq!(binary.path, best);
    let said = bench.heard.lines().last().unwrap().clone();
    let expected = format!("no etcd satisfies `=3.7.2`: using 3.5.9 at {}\n  because: etcd ", best.display());
    assert!(said.len() > expected.len() && said.starts_with(&expected), "{said}");
}

#[test]
fn an_etcd_that_is_too_old_is_no_substitute() {
    let bench = Bench::new();
    etcd(&bench.dir("path-one"), "3.3.27");
    assert!(matches!(bench.find("^3.6"), Err(FindError::Nothing { .. })));
    assert_eq!(bench.substitutions(), 0);
}

#[test]
fn a_version_is_never_substituted() {
    let bench = Bench::new();
    etcd(&bench.dir("path-one"), "3.7.1");
    etcd(&bench.dir("mine"), "3.7.0");
    let error = bench.find_in(bench.env().with("ETCDBINPATH", bench.dir("mine")), "3.7.2").unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("no etcd satisfies `3.7.2`") && text.contains("3.7.1") && text.contains("3.7.0"),
        "{text}"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("\n    3.7.2 from the Cargo registry: `cargo` is not on PATH"), "{cause}");
    assert_eq!(bench.substitutions(), 0);
}

#[test]
fn a_version_is_taken_from_etcdbinpath_where_it_is_the_one() {
    let bench = Bench::new();
    let mine = etcd(&bench.dir("mine"), "3.7.2");
    assert_eq!(bench.find_in(bench.env().with("ETCDBINPATH", "mine"), "3.7.2").unwrap().path, mine);
    assert_eq!(bench.find_in(bench.env().with("ETCDBINPATH", "mine/etcd"), "3.7.2").unwrap().path, mine);
}

#[test]
fn a_requirement_passes_over_an_etcdbinpath_that_does_not_satisfy_while_there_is_another() {
    let bench = Bench::new();
    let mine = etcd(&bench.dir("mine"), "3.7.2");
    let find = || bench.find_in(bench.env().with("ETCDBINPATH", "mine"), "~3.5").unwrap().path;
    assert_eq!((find(), bench.substitutions()), (mine, 1));
    let other = etcd(&bench.dir("path-one"), "3.5.1");
    assert_eq!((find(), bench.substitutions()), (other, 1));
}

#[test]
fn a_path_is_taken_as_it_is_or_refused() {
    let bench = Bench::new();
    let old = etcd(&bench.dir("home/tools"), "3.2.0");
    for path in ["./home/tools", "home/tools/etcd", "~/tools", "~/tools/etcd", &old.display().to_string()] {
        let binary = bench.find(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((binary.path.canonicalize().unwrap(), binary.origin), (old.canonicalize().unwrap(), Origin::Given));
    }
    for path in ["./nowhere", "~/nowhere", "/nowhere/etcd", "."] {
        let error = bench.find(path).unwrap_err();
        assert!(matches!(error, FindError::Given { source: VersionError::Missing { .. }, .. }), "{path}: {error}");
    }
}

#[test]
fn an_etcdbinpath_that_is_wrong_is_an_error_and_not_ignored() {
    let bench = Bench::new();
    etcd(&bench.dir("path-one"), "3.6.1");
    for value in ["nowhere", "path-two"] {
        let error = bench.find_in(bench.env().with("ETCDBINPATH", value), "^3.6").unwrap_err();
        assert!(error.to_string().starts_with("`ETCDBINPATH` does not name a working etcd"), "{error}");
    }
    // As settings have it.
    let error =
        bench.find_in(bench.env().with("ETCDBINPATH", bench.dir("nowhere")), bench.dir("nowhere").to_str().unwrap());
    assert!(error.unwrap_err().to_string().starts_with("`ETCDBINPATH` does not"));
}

#[test]
fn one_in_the_cache_that_was_changed_is_never_run() {
    let bench = Bench::new();
    let cached = bench.put_into_cache("3.6.0");
    etcd(&bench.dir("path-one"), "3.6.1");
    let marker = bench.dir("was-run");
    std::fs::write(&cached, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
    let error = bench.find("^3.6").unwrap_err();
    assert!(matches!(error, FindError::Cache(CacheError::Damaged(_))), "{error}");
    assert_eq!(bench.find("3.6.1").unwrap().origin, Origin::Path, "another version is not concerned");
    assert!(!marker.exists());
}

#[test]
fn one_that_was_removed_from_the_cache_is_not_installed() {
    let bench = Bench::new();
    let other = bench.put_into_cache("3.6.0");
    std::fs::remove_file(bench.put_into_cache("3.6.1")).unwrap();
    assert_eq!(bench.find("^3.6").unwrap().path, other);
    assert_eq!(bench.binaries(bench.env()).installed().unwrap().len(), 1);
    // What nothing else satisfies is installed again, if it can be.
    let error = bench.find("3.6.1").unwrap_err();
    assert!(matches!(error, FindError::Nothing { .. }), "{error}");
}

#[test]
fn from_path_nothing_is_installed() {
    let bench = Bench::new();
    let path = etcd(&bench.dir("path-two"), "3.6.1");
    let binaries = bench.binaries(bench.env());
    let wanted = Wanted::Matching(VersionReq::parse("^3.6").unwrap());
    let binary = binaries.install(Tool::Etcd, &wanted, Route::Path, None).unwrap();
    assert_eq!((binary.path, binary.origin), (path, Origin::Path));
    let error = binaries.install(Tool::Etcd, &"3.7.2".parse().unwrap(), Route::Path, None).unwrap_err();
    assert_eq!(error.to_string(), "PATH has no etcd that satisfies `3.7.2`");
    assert!(!bench.dir("cache").exists());
}

#[test]
fn an_etcdctl_is_the_nearest_one() {
    let bench = Bench::new();
    let find = |env: Env, beside: Option<&Path>| bench.binaries(env).etcdctl(beside);
    let etcdctl = |dir: &str| script(&bench.dir(dir), "etcdctl", "");
    assert_eq!(find(bench.env(), None), None);
    let on_path = etcdctl("path-two");
    assert_eq!(find(bench.env(), None), Some(on_path));
    let in_gopath = etcdctl("gopath/bin");
    assert_eq!(find(bench.with_gopath(), None), Some(in_gopath));
    let named = etcdctl("mine");
    assert_eq!(find(bench.with_gopath().with("ETCDBINPATH", "mine"), None), Some(named));
    let cached = bench.put_into_cache("3.6.0").with_file_name("etcdctl");
    assert_eq!(find(bench.with_gopath().with("ETCDBINPATH", "mine"), None), Some(cached.clone()));
    let beside = etcdctl("beside");
    assert_eq!(find(bench.with_gopath(), Some(&bench.dir("beside/etcd"))), Some(beside));
    std::fs::write(&cached, "damaged").unwrap();
    assert_eq!(find(bench.env(), None), Some(bench.dir("path-two/etcdctl")));
}

#[test]
fn a_protoc_of_the_users_wins() {
    let bench = Bench::new();
    let protoc = |env: Env| bench.binaries(env).protoc();
    let error = protoc(bench.env()).unwrap_err();
    assert!(
        error.to_string().starts_with("protoc could not be installed\n    3.3.0 from the Cargo registry: "),
        "{error}"
    );
    assert!(!error.to_string().contains("ETCDBINPATH"), "{error}");
    let said = "installing the protoc of protoc-bin-vendored 3.3.0 from the Cargo registry";
    assert_eq!(bench.heard.lines().first().map(String::as_str), Some(said));
    let on_path = script(&bench.dir("path-one"), "protoc", "");
    assert!(protoc(bench.env()).is_err(), "one without its include files compiles nothing of etcd's");
    let include = bench.dir("include/google/protobuf");
    std::fs::create_dir_all(&include).unwrap();
    std::fs::write(include.join("descriptor.proto"), "").unwrap();
    assert_eq!(protoc(bench.env()).unwrap(), on_path);
    let named = script(&bench.dir("mine"), "my-protoc", "");
    assert_eq!(protoc(bench.env().with("PROTOC", "mine/my-protoc")).unwrap(), named);
    assert_eq!(protoc(bench.env().with("PROTOC", "protoc")).unwrap(), on_path);
    let error = protoc(bench.env().with("PROTOC", "/nowhere/protoc")).unwrap_err();
    assert_eq!(error.to_string(), "`PROTOC` is set to `/nowhere/protoc`, which is not a file");
}

#[test]
fn one_file_under_two_names_is_asked_once() {
    let bench = Bench::new();
    let runs = bench.dir("runs");
    script(&bench.dir("gopath/bin"), "etcd", &format!("echo run >> '{}'; echo etcd Version: 3.5.0", runs.display()));
    std::os::unix::fs::symlink(bench.dir("gopath/bin"), bench.dir("path-one")).unwrap();
    assert!(bench.find_in(bench.with_gopath(), "3.7.2").is_err());
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n");
}
