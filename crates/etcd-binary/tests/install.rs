//! Real installations from the Cargo registry that this machine's Cargo is set up with. Everything that needs no real
//! binary is tested beside the code, with fakes.

use std::path::Path;

use etcd_binary::{Binaries, Env, InstallError, Origin, Route, Source, Tool, version_of};

/// The machine's environment, without the etcd and protoc that it may have, and with a cache of its own.
fn env(dir: &Path) -> std::io::Result<Env> {
    let mut env = Env::from_process()?.with("ETCD_LOCAL_CACHE", dir.join("cache"));
    for name in ["ETCDBINPATH", "ETCD_RELEASE_MIRROR", "GOPATH", "PROTOC"] {
        env = env.without(name);
    }
    // Cargo and the rustc beside it; with a home of its own it needs to be told where its configuration is.
    let cargo = which::which("cargo").map_err(std::io::Error::other)?;
    let cargo_home = env.path_var("CARGO_HOME").or_else(|| env.home().map(|home| home.join(".cargo")));
    let rustup_home = env.path_var("RUSTUP_HOME").or_else(|| env.home().map(|home| home.join(".rustup")));
    let programs = cargo.parent().map(Path::to_owned).unwrap_or_default();
    let env = env.with("CARGO", cargo).with("PATH", programs).with("HOME", dir);
    let env = cargo_home.into_iter().fold(env, |env, home| env.with("CARGO_HOME", home));
    Ok(rustup_home.into_iter().fold(env, |env, home| env.with("RUSTUP_HOME", home)))
}

#[test]
fn an_etcd_is_installed_found_again_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path()).unwrap();
    let binaries = Binaries::new(env.clone(), dir.path());
    let wanted = "=3.7.2".parse().unwrap();
    let first = binaries.find(&wanted).unwrap();
    assert_eq!(first.origin, Origin::Installed(Source::Registry));
    assert_eq!(version_of(&first.path, &env).unwrap(), first.version);
    let again = binaries.find(&wanted).unwrap();
    assert_eq!((again.path, again.origin), (first.path, Origin::Cache));

    // What Cargo has downloaded once needs no network.
    let offline = env.with("ETCD_LOCAL_CACHE", dir.path().join("another-cache"));
    let binary = Binaries::new(offline, dir.path()).offline(true).find(&wanted).unwrap();
    assert_eq!(binary.origin, Origin::Installed(Source::Registry));
}

#[test]
fn a_protoc_is_installed_with_its_include_files_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let binaries = Binaries::new(env(dir.path()).unwrap(), dir.path());
    let protoc = binaries.protoc().unwrap();
    assert_eq!(binaries.protoc().unwrap(), protoc);
    let proto = dir.path().join("any.proto");
    let text =
        "syntax = \"proto3\";\nimport \"google/protobuf/any.proto\";\nmessage M { google.protobuf.Any any = 1; }\n";
    std::fs::write(&proto, text).unwrap();
    let compiled = dir.path().join("any.bin");
    let mut command = std::process::Command::new(&protoc);
    command.arg("--proto_path").arg(dir.path()).arg("--descriptor_set_out").arg(&compiled).arg(&proto);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(compiled.is_file());
}

#[test]
fn offline_what_cargo_does_not_have_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path()).unwrap().with("CARGO_HOME", dir.path().join("new-cargo-home"));
    let binaries = Binaries::new(env, dir.path()).offline(true);
    let error = binaries.install(Tool::Etcd, &"=3.7.2".parse().unwrap(), Route::Auto, None).unwrap_err();
    assert!(matches!(&error, InstallError::Failed { tried, .. } if tried.len() == 1), "{error}");
    let text = error.to_string();
    for part in ["3.7.2 from the Cargo registry", "the installation is offline"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_default_version_is_among_those_that_can_be_installed() {
    let dir = tempfile::tempdir().unwrap();
    let known = Binaries::new(env(dir.path()).unwrap(), dir.path()).known();
    let has = |tool, version: &str| {
        known
            .iter()
            .any(|known| known.tool == tool && known.version.to_string() == version && known.source == Source::Registry)
    };
    assert!(has(Tool::Etcd, "3.7.2") && has(Tool::Protoc, "3.3.0"), "{known:?}");
}
