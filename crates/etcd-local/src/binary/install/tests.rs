//! Installing from fake releases, crates and compilers: the whole way, without the network.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use semver::VersionReq;
use tempfile::TempDir;

use super::*;
use crate::binary::download::Patience;
use crate::binary::fakes::{self, Answer, Heard, Mirror, script};
use crate::env::Env;

mod interrupted;

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
        binaries.download_patience = Patience { stall: Duration::from_secs(1), ..Patience::default() };
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
    assert_eq!(crate::binary::version_of(&first.path, &bench.env()).unwrap().to_string(), VERSION);
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
        assert!(text.contains("ETCDBINPATH") && text.contains("ETCD_RELEASE_MIRROR"), "{text}");
        assert!(bench.is_clean(), "{answer:?}");
    }
}

#[test]
fn an_archive_that_is_wrong_inside_leaves_nothing() {
    let bench = Bench::new();
    let files = [("etcd", "#!/bin/sh".to_owned()), ("etcdctl", "#!/bin/sh".to_owned()), ("evil", String::new())];
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
    let Some(pinned) = known.iter().find(|known| known.source == Source::Release) else { return };
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
fn cargo_is_run_where_its_configuration_is_and_without_our_builds_variables() {
    let bench = Bench::new();
    let crate_dir = bench.dir.path().join("crate");
    script(&crate_dir.join("bin"), "etcd", "echo 'etcd Version: 3.7.2'");
    let body = format!(
        r#"env > "{0}/seen"; pwd >> "{0}/seen"; echo "$*" >> "{0}/seen"
           echo '{{"packages":[{{"name":"etcd-bin-vendored-PLATFORM","manifest_path":"{0}/crate/Cargo.toml"}}]}}'"#,
        bench.dir.path().display()
    );
    let name = Platform::host().unwrap().name(Tool::Etcd);
    let cargo = script(&bench.dir.path().join("bin"), "cargo", &body.replace("PLATFORM", name));
    let workspace = bench.dir.path().join("workspace");
    std::fs::create_dir(&workspace).unwrap();
    let env = bench.env().with("CARGO", cargo).with("CARGO_HOME", "/my/cargo").with("CARGO_NET_RETRY", "1");
    let env =
        env.with("CARGO_MANIFEST_DIR", "/parent").with("CARGO_TARGET_DIR", "/leak").with("CARGO_PKG_NAME", "xtask");
    let env = env.with("CARGO_REGISTRIES_MINE_INDEX", "url").with("https_proxy", "proxy").with("PATH", "/usr/bin:/bin");
    let binaries = Binaries::new(env, &workspace).offline(true);
    let error = binaries.install(Tool::Etcd, &"=3.7.2".parse().unwrap(), Route::Auto, None).unwrap_err();
    assert!(matches!(only_reason(error), SourceError::Mismatch { .. }), "the script is not the pinned etcd");
    assert!(bench.is_clean());
    let seen = std::fs::read_to_string(bench.dir.path().join("seen")).unwrap();
    for expected in
        ["CARGO_HOME=/my/cargo", "CARGO_NET_RETRY=1", "CARGO_REGISTRIES_MINE_INDEX=url", "https_proxy=proxy"]
    {
        assert!(seen.lines().any(|line| line == expected), "{expected} in {seen}");
    }
    for unwanted in ["CARGO_MANIFEST_DIR", "CARGO_TARGET_DIR", "CARGO_PKG_NAME"] {
        assert!(!seen.contains(unwanted), "{unwanted} in {seen}");
    }
    assert!(seen.contains(&format!("{}\n", workspace.canonicalize().unwrap().display())), "{seen}");
    assert!(seen.lines().last().unwrap().ends_with("--offline"), "{seen}");

    let own_sum = Sha256::of_file(&crate_dir.join("bin/etcd")).unwrap();
    let route = Route::Only(Source::Registry);
    let installed = binaries.install(Tool::Etcd, &"=3.7.2".parse().unwrap(), route, Some(own_sum)).unwrap();
    assert_eq!(installed.origin, Origin::Installed(Source::Registry));
}

#[test]
fn what_cargo_answers_is_not_trusted_blindly() {
    let answers = ["echo nonsense", "echo '{\"packages\":[]}'", "echo 'error: no such crate' >&2; exit 101", "exit 0"];
    for (answer, reason) in
        answers.into_iter().zip(["understood", "has no `Cargo.toml`", "no such crate", "understood"])
    {
        let bench = Bench::new();
        let env = bench.env().with("CARGO", script(&bench.dir.path().join("bin"), "cargo", answer));
        let binaries = bench.binaries_in(env).offline(true);
        let error = binaries.install(Tool::Etcd, &"=3.7.2".parse().unwrap(), Route::Auto, None).unwrap_err();
        assert!(error.to_string().contains(reason), "{answer}: {error}");
        assert!(bench.is_clean());
    }
}

/// A Go that writes down what it is asked, and builds programs that tell `version`.
fn go(bench: &Bench, version: &str) -> Env {
    let body = format!(
        r#"echo "$GOFLAGS $GOOS $*" >> "{}/asked"
           [ "$1" = build ] || exit 0
           printf '#!/bin/sh\necho "etcd Version: {version}"\n' > "$4"; chmod +x "$4""#,
        bench.dir.path().display()
    );
    script(&bench.dir.path().join("bin"), "go", &body);
    let path = format!("{}:/usr/bin:/bin", bench.dir.path().join("bin").display());
    bench.env().with("PATH", path).with("GOOS", "plan9").with("GOFLAGS", "-mod=vendor")
}

#[test]
fn go_builds_the_server_and_the_client_at_the_version() {
    let bench = Bench::new();
    let binaries = bench.binaries_in(go(&bench, VERSION));
    let binary = binaries.install(Tool::Etcd, &VERSION.parse().unwrap(), Route::Only(Source::GoSource), None).unwrap();
    assert_eq!((binary.version.to_string().as_str(), binary.origin), (VERSION, Origin::Installed(Source::GoSource)));
    assert_eq!(binaries.etcdctl(None), Some(binary.path.with_file_name("etcdctl")));
    let asked = std::fs::read_to_string(bench.dir.path().join("asked")).unwrap();
    let lines: Vec<&str> = asked.lines().collect();
    assert_eq!(lines[0], "-mod=mod  mod init etcd-local-build");
    assert_eq!(lines[1], "-mod=mod  get go.etcd.io/etcd/server/v3@v3.6.99 go.etcd.io/etcd/etcdctl/v3@v3.6.99");
    assert!(
        lines[2].ends_with(" go.etcd.io/etcd/server/v3") && lines[3].ends_with(" go.etcd.io/etcd/etcdctl/v3"),
        "{asked}"
    );
}

#[test]
fn what_go_cannot_build_is_told() {
    let bench = Bench::new();
    let from_go = |env: Env, version: &str, sum| {
        let wanted = version.parse().unwrap();
        bench.binaries_in(env).install(Tool::Etcd, &wanted, Route::Only(Source::GoSource), sum).unwrap_err()
    };
    let error = only_reason(from_go(bench.env(), VERSION, None));
    assert!(matches!(error, SourceError::Command(crate::command::CommandError::NotFound { .. })), "{error}");
    let env = go(&bench, "3.6.98");
    let error = only_reason(from_go(env.clone(), VERSION, None));
    assert!(matches!(error, SourceError::WrongVersion { .. }), "{error}");
    let error = only_reason(from_go(env.clone(), "3.6.98", Some(Sha256::of_bytes(b"another build"))));
    assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
    assert!(matches!(only_reason(from_go(env, "3.4.23", None)), SourceError::BeforeGoModules));
    assert!(bench.is_clean());
}

#[test]
fn each_source_is_tried_in_turn_and_each_failure_told() {
    let bench = Bench::new();
    let pinned = |source| {
        let known = bench.binaries().known();
        let versions = known.iter().filter(move |known| known.source == source && known.tool == Tool::Etcd);
        versions.map(|known| known.version.clone()).collect::<Vec<_>>()
    };
    let in_both = pinned(Source::Registry).into_iter().find(|version| pinned(Source::Release).contains(version));
    let Some(version) = in_both else { return };
    let cargo = script(&bench.dir.path().join("bin"), "cargo", "echo 'error: no such registry' >&2; exit 101");
    let mirror = Mirror::always(Answer::Status(404));
    let env = go(&bench, &version.to_string()).with("CARGO", cargo);
    let binaries = bench.binaries_in(env).mirror(mirror.url());
    let binary = binaries.install(Tool::Etcd, &Wanted::Exactly(version.clone()), Route::Auto, None).unwrap();
    assert_eq!(binary.origin, Origin::Installed(Source::GoSource));
    let lines = bench.heard.lines();
    let failed: Vec<&String> = lines.iter().filter(|line| line.starts_with("not from")).collect();
    assert!(
        failed[0].starts_with("not from the Cargo registry: ") && failed[0].contains("no such registry"),
        "{lines:?}"
    );
    assert!(failed[1].starts_with("not from the release archive: ") && failed[1].contains("404"), "{lines:?}");
    assert_eq!(failed.len(), 2);
}
