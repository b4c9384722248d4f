//! The environment of what commands run: what the user had, and not what cargo and rustup set for `cargo xtask` itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::machine::plain_path;
use crate::playground::{Playground, build_console, finish, skipped};

/// A package whose program becomes the `xtask` beside it: what `cargo run` does for `cargo xtask`, without building that.
const BECOMES_XTASK: &str = r#"
use std::os::unix::process::CommandExt as _;
fn main() {
    let xtask = std::env::current_exe().unwrap().with_file_name("xtask");
    panic!("{}", std::process::Command::new(xtask).args(std::env::args_os().skip(1)).exec());
}
"#;

/// A workspace where commands run as a user has it: below `cargo run`, with a build script and `[env]`.
struct Below {
    play: Playground,
}

impl Below {
    fn new() -> Self {
        build_console();
        let play = Playground::new();
        let metadata = "[package]\nname = \"play\"\nedition = \"2024\"\n\n[workspace]\n\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = \"auto\"\n";
        let write = |name: &str, text: &str| {
            fs::create_dir_all(play.path(name).parent().unwrap()).unwrap();
            fs::write(play.path(name), text).unwrap();
        };
        write("Cargo.toml", metadata);
        write("build.rs", "fn main() {}");
        write("src/main.rs", BECOMES_XTASK);
        write(
            ".cargo/config.toml",
            "[env]\nPROTOC = { value = \"scripts/protoc\", relative = true }\nCONFIGURED = \"1\"\n",
        );
        fs::create_dir_all(play.path("target/debug")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_xtask"), play.path("target/debug/xtask")).unwrap();
        Self { play }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(["run", "--quiet", "--"]).args(args).current_dir(self.play.dir.path()).env_clear();
        command.envs(self.users());
        command
    }

    /// All that the user has set.
    fn users(&self) -> BTreeMap<String, String> {
        let inherited = [
            ("HOME".to_owned(), std::env::var("HOME").unwrap()),
            ("PATH".to_owned(), plain_path().display().to_string()),
        ];
        let bin = self.play.path("bin");
        let mut users = BTreeMap::from(inherited);
        users.entry("PATH".to_owned()).and_modify(|path| *path = format!("{}:{path}", bin.display()));
        for (name, value) in [
            ("TMPDIR", self.play.path("tmp")),
            ("ETCD_LOCAL_CACHE", crate::playground::shared_cache().to_owned()),
            ("ETCD_CONSOLE", build_console().to_owned()),
            ("LD_LIBRARY_PATH", "/opt/mine".into()),
            ("CARGO_NET_RETRY", "1".into()),
            // Cargo sets them where they are not set.
            ("SSL_CERT_FILE", "/dev/null".into()),
            ("SSL_CERT_DIR", "/".into()),
        ] {
            users.insert(name.to_owned(), value.to_str().unwrap().to_owned());
        }
        // Homes that are not where they are by default are the user's own.
        for (name, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let home = std::env::var(name).unwrap_or_default();
            if !home.is_empty() && Path::new(&home) != Path::new(&users["HOME"]).join(default) {
                users.insert(name.to_owned(), home);
            }
        }
        users
    }

    /// A program on PATH that writes its environment to `NAME.env`.
    fn program(&self, name: &str) {
        let path = self.play.path("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\nenv > '{}'\n", self.play.path(&format!("{name}.env")).display())).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What such a program had beyond what the user has, save what a shell sets, and what it lacked.
    #[track_caller]
    fn added_and_lost(&self, name: &str) -> (Vec<String>, Vec<String>) {
        let text = fs::read_to_string(self.play.path(&format!("{name}.env"))).unwrap();
        difference(&self.users(), text.lines())
    }
}

fn difference<'a>(
    users: &BTreeMap<String, String>,
    lines: impl Iterator<Item = &'a str>,
) -> (Vec<String>, Vec<String>) {
    let of_shells = ["_=", "PWD=", "OLDPWD=", "SHLVL="];
    let had: Vec<&str> = lines.filter(|line| of_shells.iter().all(|name| !line.starts_with(name))).collect();
    let users: Vec<String> = users.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let added = had.iter().filter(|line| users.iter().all(|users| users != *line)).map(|line| (*line).to_owned());
    let lost = users.iter().filter(|users| !had.contains(&users.as_str())).cloned();
    let mut added: Vec<String> = added.collect();
    added.sort();
    (added, lost.collect())
}

#[test]
fn what_commands_run_has_the_environment_that_the_user_has() {
    let below = Below::new();
    ["mine", "etcdctl", "go"].iter().for_each(|name| below.program(name));
    finish(piped(below.command(&["run", "--ephemeral", "--", "mine"]))).ok();
    let (added, lost) = below.added_and_lost("mine");
    let is_ours = |line: &String| line.starts_with("ETCD_") || line.starts_with("ETCDCTL_");
    assert!(!added.is_empty() && added.iter().all(is_ours), "{added:#?}");
    assert!(lost.is_empty(), "{lost:#?}");

    finish(piped(below.command(&["etcdctl", "--", "version"]))).ok();
    let (added, lost) = below.added_and_lost("etcdctl");
    assert_eq!((added, lost), (vec!["ETCDCTL_API=3".to_owned()], Vec::new()));

    finish(piped(below.command(&["etcd-install", "3.5.30", "--from", "source"])));
    let (added, lost) = below.added_and_lost("go");
    assert_eq!(
        (added, lost),
        (["CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off"].map(str::to_owned).to_vec(), Vec::new())
    );
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn a_server_has_the_environment_that_the_user_has() {
    let below = Below::new();
    let status = finish(piped(below.command(&["etcd-up", "--format", "json"]))).ok().status();
    let environ = fs::read(format!("/proc/{}/environ", status.pids[0])).unwrap();
    let environ = String::from_utf8(environ).unwrap();
    let (added, lost) = difference(&below.users(), environ.split_terminator('\0'));
    assert!(added.is_empty(), "{added:#?}");
    // etcd would read them as flags.
    assert!(lost.iter().all(|line| line.starts_with("ETCD_")), "{lost:#?}");
}

/// In another workspace `cargo` is of that one's toolchain, unless the user named one.
#[test]
fn a_toolchain_that_the_user_named_is_handed_on() {
    let Ok(toolchain) = std::env::var("RUSTUP_TOOLCHAIN") else {
        skipped("there is no rustup here");
        return;
    };
    let below = Below::new();
    below.program("mine");
    let mut command = below.command(&["run", "--ephemeral", "--", "mine"]);
    command.env("RUSTUP_TOOLCHAIN", &toolchain);
    finish(piped(command)).ok();
    let (added, _) = below.added_and_lost("mine");
    assert!(added.contains(&format!("RUSTUP_TOOLCHAIN={toolchain}")), "{added:#?}");
}

fn piped(mut command: Command) -> Command {
    use std::process::Stdio;

    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
