//! What `cargo xtask` hands over to the program that speaks etcd's API: all that was typed, dashes included.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::playground::Playground;

/// A workspace whose `etcd-console` prints its arguments, from the command's name on.
fn play() -> Playground {
    let play = Playground::new();
    let program = play.path("echo");
    fs::write(&program, "#!/bin/sh\nshift 6\nfor arg; do printf '[%s]' \"$arg\"; done\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    play.with("ETCD_CONSOLE", program)
}

#[test]
fn dashes_arrive_where_they_were_typed() {
    let play = play();
    for (typed, arrives) in [
        ("get -- --prefix", "[get][--][--prefix]"),
        ("put k -- --prefix", "[put][k][--][--prefix]"),
        ("put -- -k -- v", "[put][--][-k][--][v]"),
        ("put k -1", "[put][k][-1]"),
        ("get --prefix -- -k", "[get][--prefix][--][-k]"),
        ("del --nope", "[del][--nope]"),
        ("-q get -- k", "[--quiet][get][--][k]"),
        ("get -q -- k", "[--quiet][get][--][k]"),
        ("watch --", "[watch][--]"),
        ("undo --help", "[undo][--help]"),
    ] {
        let line: Vec<&str> = typed.split(' ').collect();
        assert_eq!(play.xtask(&line).ok().stdout, arrives, "{typed}");
    }
}
