//! The scripts that Cloud Chamber's people know: they call xtask, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::bad_input::quiet;
use crate::playground::finish;

/// What `script` calls cargo with, one argument a line.
fn called(script: &str, args: &[&str]) -> Vec<String> {
    let bin = tempfile::tempdir().unwrap();
    let cargo = bin.path().join("cargo");
    fs::write(&cargo, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut command = Command::new(scripts.join(script));
    command.args(args).current_dir(bin.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.path().display()));
    let lines = finish(quiet(command)).ok().stdout;
    lines.lines().skip_while(|line| *line != "--").skip(1).map(str::to_owned).collect()
}

#[test]
fn startetcd_takes_a_data_path_first() {
    assert_eq!(called("startetcd.sh", &[]), ["etcd-up"]);
    assert_eq!(
        called("startetcd.sh", &["my data", "--port", "auto"]),
        ["etcd-up", "--data-dir", "my data", "--port", "auto"]
    );
    assert_eq!(called("startetcd.sh", &["--foreground"]), ["etcd-up", "--foreground"]);
    assert_eq!(called("startetcd.sh", &["-h"]), ["etcd-up", "-h"]);
}

#[test]
fn monitoretcd_watches() {
    assert_eq!(called("monitoretcd.sh", &[]), ["watch"]);
    assert_eq!(called("monitoretcd.sh", &["/a b", "--help"]), ["watch", "/a b", "--help"]);
}
