//! The house rules that a machine can check: who may depend on whom.

use std::process::Command;

use crate::bad_input::quiet;
use crate::playground::finish;

/// Every package below `package`, on every system, tests aside.
fn below(package: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--offline",
        "--package",
        package,
        "--edges",
        "normal,build",
        "--target",
        "all",
        "--prefix",
        "none",
    ]);
    cargo.args(["--format", "{p}"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let tree = finish(quiet(cargo)).ok().stdout;
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn xtask_and_the_engine_are_light() {
    for package in ["xtask", "etcd-local"] {
        let below = below(package);
        assert!(below.len() > 10, "{below:?}");
        for heavy in ["tokio", "tonic", "prost", "prost-build", "hyper", "etcd-client", "openssl-sys", "ring", "rustls"]
        {
            assert!(!below.iter().any(|name| name == heavy), "`{package}` must not depend on `{heavy}`");
        }
    }
}

#[test]
fn the_engine_knows_nothing_of_the_command_line_or_of_us() {
    let below = below("etcd-local");
    for stranger in ["clap", "anyhow", "indicatif", "xtask", "etcd-keys", "etcd-sandbox", "etcd-console"] {
        assert!(!below.iter().any(|name| name == stranger), "`etcd-local` must not depend on `{stranger}`");
    }
}
