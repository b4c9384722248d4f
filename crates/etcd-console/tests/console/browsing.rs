//! `browse` on a terminal of 80 columns and 24 rows: what people type, and what the screen then shows.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, eventually, finish, program};
use crate::screen::{DOWN, LEFT, PAGE_DOWN, PAGE_UP, Screen, echoes};
use crate::terminal::Terminal;

#[test]
fn folders_and_values_are_shown_and_no_control_character_is_written() {
    let cluster = Cluster::new();
    for (key, value) in [
        ("/b/blades/1", "plain"),
        ("/b/blades/2", "{\"state\":\"on\",\"cpus\":[1,2]}"),
        ("/b/evil\\x1b[2J", "a\x1b]0;title\x07b"),
        ("/b/proto", "\x08\x2a\x12\x02hi"),
        ("/b/racks/7", "x"),
        ("/b/yaml", "a: 1\nb: two"),
    ] {
        cluster.put(key, value);
    }
    let screen = Screen::open(&cluster, &["/b/"]);
    screen.wait_for(&["read-only", "> blades/", "evil\\x1b[2J", "racks/", "yaml", "2 keys", "q quit"]);
    screen.press("\r");
    screen.wait_for(&["/b/blades/1", "> 1", "plain"]);
    screen.press(DOWN);
    screen.wait_for(&["> 2", "\"state\": \"on\",", "JSON, 27 bytes"]);
    screen.press("\r");
    screen.wait_for(&["\n{", "    1,", "x hexadecimal"]);
    screen.press("x");
    screen.wait_for(&["hexadecimal, 27 bytes", "000000  7b 22"]);
    screen.press(LEFT);
    screen.wait_for(&["> 2", "c copy"]);
    screen.press(LEFT);
    screen.wait_for(&["> blades/"]);
    screen.press(DOWN);
    screen.wait_for(&["> evil\\x1b[2J", "000000  61 1b"]);
    screen.press(DOWN);
    screen.wait_for(&["> proto", "protobuf", "1: 42", "2: \"hi\""]);
    screen.press(&DOWN.repeat(2));
    screen.wait_for(&["> yaml", "a: 1", "b: two"]);
    screen.press("?");
    screen.wait_for(&["history of the key", "needs --write"]);
    screen.press(" D");
    screen.wait_for(&["`cargo xtask browse --write` can delete"]);
    screen.press("q");
    assert!(!screen.terminal.shown().contains("\x1b]0;title"));
    screen.ends_with(0);
}

#[test]
fn a_folder_of_many_keys_is_read_page_by_page() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 12_000);
    let screen = Screen::open(&cluster, &["/many/"]);
    screen.wait_for(&["> 0000000000", "0000000019", "text, "]);
    screen.press(PAGE_DOWN);
    screen.wait_for(&["> 0000000020", "0000000039"]);
    screen.press(DOWN);
    screen.wait_for(&["> 0000000021"]);
    screen.press(PAGE_UP);
    screen.wait_for(&["> 0000000000", "0000000019"]);
    screen.press("\x03");
    screen.ends_with(130);
}

#[test]
fn changes_appear_by_themselves_with_a_sign_and_without_colours() {
    let cluster = Cluster::new();
    cluster.put("/b/a", "{\"state\":\"off\"}");
    cluster.put("/b/f/1", "x");
    let screen = Screen::of(cluster.command(&["browse", "/b/"]).env("NO_COLOR", "1"));
    screen.wait_for(&["> a", " f/", "\"state\": \"off\""]);
    // The watch may begin after the first change: that change is then reported by etcd's history.
    cluster.put("/b/a", "{\"state\":\"on\"}");
    screen.wait_for_a_moment(&[">~a", "\"state\": \"on\"", ".state \"off\" → \"on\""]);
    cluster.put("/b/c", "new");
    screen.wait_for_a_moment(&[" +c", "  f/"]);
    cluster.put("/b/f/2", "x");
    screen.wait_for_a_moment(&[" ~f/"]);
    cluster.run(&["del", "/b/c", "--yes"]).ok();
    screen.wait_for_a_moment(&[" -c"]);
    screen.wait_until_gone("-c");
    cluster.run(&["del", "/b/f/", "--prefix", "--yes", "--expect-count", "2"]).ok();
    screen.wait_until_gone("f/");
    cluster.run(&["del", "/b/a", "--yes"]).ok();
    screen.wait_for_a_moment(&[">-a", "deleted at revision"]);
    screen.wait_for(&["no keys here"]);
    assert!(!screen.terminal.shown().contains("\x1b[38;"), "{:?}", screen.terminal.shown());
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn it_goes_on_when_etcd_is_away_for_a_while() {
    let cluster = Cluster::new();
    cluster.put("/b/a", "one");
    let proxy = testkit::Proxy::start(&cluster.etcd.endpoints()[0]).unwrap();
    let screen = Screen::of(program().args(["--endpoints", &proxy.endpoint(), "--timeout", "2", "browse", "/b/"]));
    screen.wait_for(&["> a", "one"]);
    proxy.close();
    screen.wait_for(&["no etcd answers"]);
    cluster.put("/b/a", "two");
    cluster.put("/b/b", "x");
    proxy.open();
    screen.wait_for(&["> a", " b", "two"]);
    screen.wait_until_gone("no etcd answers");
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn the_history_of_a_key_and_the_difference_of_two_revisions_are_shown() {
    let cluster = Cluster::new();
    let first = cluster.revision() + 1;
    for state in ["off", "on", "broken"] {
        cluster.put("/b/a", &format!("{{\"state\":\"{state}\"}}"));
    }
    cluster.put("/b/c", "x");
    let screen = Screen::open(&cluster, &["/b/"]);
    screen.wait_for(&["> a"]);
    screen.press("h");
    let newest = format!("rev {:<8} PUT .state \"on\" → \"broken\"", first + 2);
    screen.wait_for(&["history of `/b/a`", "3 changes", &format!("> {newest}")]);
    screen.press("k\r");
    screen.wait_for(&["JSON", &format!("rev {}", first + 1), "\"state\": \"on\""]);
    screen.press(LEFT);
    screen.wait_for(&["3 changes"]);
    screen.press("k j");
    screen.wait_for(&[" *rev", &format!("> rev {}", first + 1)]);
    screen.press("jd");
    screen.wait_for(&[
        &format!("revision {first} compared with {}", first + 2),
        "1 key differs",
        "~ /b/a  .state \"off\" → \"broken\"",
    ]);
    screen.press(LEFT);
    screen.wait_for(&["3 changes"]);
    screen.press(LEFT);
    screen.wait_for(&["> a"]);
    screen.press(LEFT);
    screen.wait_for(&["> b/"]);
    screen.press("h");
    screen.wait_for(&["history of prefix `/b/`", "4 changes", "PUT /b/c  `x`"]);
    screen.press("kd");
    screen.wait_for(&["compared with now", "+ /b/c  `x`"]);
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn a_search_finds_keys_and_goes_to_them() {
    let cluster = Cluster::new();
    cluster.put("/b/racks/7/blade", "here");
    cluster.put("/b/racks/9/blade", "there");
    cluster.put("/b/zzz", "x");
    let screen = Screen::open(&cluster, &["/b/"]);
    screen.wait_for(&["> racks/"]);
    screen.press("/bladx\x7fe\r");
    screen.wait_for(&["2 of 3 keys contain `blade`", "> /b/racks/7/blade", "/b/racks/9/blade"]);
    screen.press("j\r");
    screen.wait_for(&["> blade", "there"]);
    screen.press("c");
    screen.wait_for(&["16 bytes sent to the terminal's clipboard"]);
    // `/b/racks/9/blade` in base64.
    screen.terminal.wait_for("\x1b]52;c;L2IvcmFja3MvOS9ibGFkZQ==\x07");
    screen.press("v");
    screen.terminal.wait_for("\x1b]52;c;dGhlcmU=\x07");
    screen.press(LEFT);
    screen.wait_for(&["> racks/"]);
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn a_hidden_value_is_never_shown() {
    let cluster = Cluster::new();
    let manifest = cluster.dir.path().join("Cargo.toml");
    std::fs::write(&manifest, "[workspace.metadata.etcd]\nredact = [\"*/password\"]\n").unwrap();
    cluster.put("/b/password", "secret-1");
    let endpoints = cluster.etcd.endpoints();
    let screen =
        Screen::of(program().arg("--manifest").arg(manifest).args(["--endpoints", &endpoints[0], "browse", "/b/"]));
    screen.wait_for(&["> password", "hidden by `redact`"]);
    cluster.put("/b/password", "secret-2");
    screen.wait_for(&["changed at revision"]);
    screen.press("v");
    screen.wait_for(&["there is no value to copy"]);
    screen.press("h");
    screen.wait_for(&["2 changes", "`(hidden)` → "]);
    screen.press("\r");
    screen.wait_for(&["hidden by `redact`"]);
    assert!(!screen.terminal.shown().contains("secret"));
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn deleting_is_that_of_del() {
    let cluster = Cluster::new();
    for key in ["/Inventory/v1/f/a", "/Inventory/v1/f/b", "/Inventory/v1/k"] {
        cluster.put(key, "v");
    }
    let screen = Screen::open(&cluster, &["/Inventory/v1/", "--write"]);
    screen.wait_for(&["can delete", "> f/", "k"]);
    screen.press("D");
    screen.terminal.wait_for("[y/N]");
    screen.wait_for(&["/Inventory/v1/f/a", "Delete 2 keys at http://127.0.0.1:"]);
    assert!(echoes(&screen.terminal));
    screen.press("n\n");
    screen.terminal.wait_for("nothing was deleted");
    screen.terminal.wait_for("Enter goes back");
    screen.press("\n");
    screen.wait_for(&["can delete", "> f/", "k"]);
    assert_eq!(cluster.count("/Inventory/v1/f/"), 2);
    screen.press("D");
    assert!(eventually(|| screen.terminal.shown().matches("[y/N]").count() == 2));
    screen.press("y\n");
    screen.terminal.wait_for("undo: cargo xtask undo ");
    screen.press("\n");
    screen.wait_for(&["can delete", "> k"]);
    screen.wait_until_gone("f/");
    assert_eq!(cluster.count("/Inventory/v1/"), 1);
    // The folder of the product's root is guarded.
    screen.press(LEFT);
    screen.wait_for(&["> v1/"]);
    screen.press("D");
    screen.terminal.wait_for("refused to delete");
    kill_process(Pid::from_child(&screen.child), Signal::INT).unwrap();
    screen.ends_with(130);
    assert_eq!(cluster.count("/Inventory/v1/"), 1);
}

#[test]
fn the_terminal_is_given_back_after_a_signal() {
    let cluster = Cluster::new();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let screen = Screen::open(&cluster, &["/nothing/"]);
        screen.wait_for(&["no keys here"]);
        kill_process(Pid::from_child(&screen.child), signal).unwrap();
        screen.ends_with(code);
    }
}

#[test]
fn without_a_terminal_it_says_what_else_prints_keys() {
    let cluster = Cluster::new();
    cluster.run(&["browse", "/b/"]).fails(2, &["needs a terminal", "get PREFIX --prefix"]);
    let terminal = Terminal::new();
    let mut piped = cluster.command(&["browse", "/b/"]);
    piped.stdin(Stdio::null()).stdout(terminal.stdio());
    assert_eq!(finish(piped.spawn().unwrap()).code, Some(2));
}
