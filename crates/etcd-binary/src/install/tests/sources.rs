//! Cargo and Go as sources, played by shell scripts, and how one source follows another.

use super::*;
use crate::fakes::{script, skipped};

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
    let Some(version) = in_both else {
        return skipped("no version for this system is pinned for both sources");
    };
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
