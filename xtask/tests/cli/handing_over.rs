//! What `cargo xtask` hands over to the program that speaks etcd's API, and what it knows by itself, before there is
//! such a program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::playground::Playground;

/// A workspace whose `etcd-console` prints its arguments, from the command's name on.
fn play() -> Playground {
    let play = Playground::new();
    let program = play.path("echo");
    fs::write(&program, "#!/bin/sh\nshift 8\nfor arg; do printf '[%s]' \"$arg\"; done\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    play.with("ETCD_CONSOLE", program)
}

#[test]
fn what_was_typed_arrives_and_no_value_is_taken_for_an_option() {
    let play = play();
    for (typed, arrives) in [
        ("get -- --prefix", "[get][--][--prefix]"),
        ("put k -- --prefix", "[put][--][k][--prefix]"),
        ("put -- -k --", "[put][--][-k][--]"),
        ("put k -1", "[put][--][k][-1]"),
        ("get --prefix -- -k", "[get][--prefix][--][-k]"),
        ("get a b --limit 3 --hex", "[get][--limit=3][--hex][--][a][b]"),
        ("get k --endpoints http://a:1,http://b:2", "[get][--endpoints=http://a:1][--endpoints=http://b:2][--][k]"),
        ("-q get -- k", "[--quiet][get][--][k]"),
        ("get -q k --instance=two", "[--quiet][get][--instance=two][--][k]"),
        ("watch -n 2", "[watch][--count=2]"),
        ("watch --", "[watch]"),
        ("del k -y", "[del][--yes][--][k]"),
        ("member list --format json --timeout 3", "[member][--timeout=3][list][--format=json]"),
    ] {
        let line: Vec<&str> = typed.split(' ').collect();
        assert_eq!(play.xtask(&line).ok().stdout, arrives, "{typed}");
    }
}

/// Where there is no cargo either that could build a program.
#[test]
fn help_and_refusals_need_no_program() {
    let play = Playground::new().with("PATH", "/nowhere");
    let commands = ["get", "put", "del", "undo", "watch", "history", "diff", "runs", "test-clean", "bench", "torture"];
    let lines = commands.map(|name| vec![name]).into_iter().chain([vec!["member"], vec!["member", "list"]]);
    for line in lines {
        let usage = format!("Usage: cargo xtask {} ", line.join(" "));
        for help in [[&line[..], &["--help"]].concat(), [&["help"], &line[..]].concat()] {
            let run = play.xtask(&help).ok();
            assert!(run.stdout.contains(&usage) && run.stdout.contains("Example"), "{help:?}: {run:#?}");
        }
        let wrong = play.xtask(&[&line[..], &["--nope"]].concat());
        assert!(wrong.code == Some(2) && wrong.stderr.contains("'--nope'"), "{line:?}: {wrong:#?}");
    }
    assert!(play.xtask(&["get", "--help"]).ok().stdout.starts_with("Read keys: one, a range, or a prefix\n"));
}
