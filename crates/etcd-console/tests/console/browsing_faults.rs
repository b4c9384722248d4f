//! `browse` with TLS and users, on an etcd that goes away or forgets, in a terminal that is too small, and with values that
//! no terminal should get.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd_workspace::TlsFiles;
use testkit::Persistent;

use crate::cluster::{Cluster, builder_in, eventually, finish, program};
use crate::screen::{DOWN, LEFT, Screen, UP};

/// An instance as `etcd-up --tls --auth` starts it.
struct Secured {
    server: Persistent,
    home: std::path::PathBuf,
}

impl Secured {
    fn start() -> Self {
        let mut home = std::path::PathBuf::new();
        let server = Persistent::built(|dir| {
            home = dir.join(".etcd");
            let tls = dir.join("tls");
            let made = program().arg("certificates").arg("--dir").arg(&tls).args(["--host", "127.0.0.1"]).spawn();
            finish(made.unwrap()).ok();
            builder_in(dir).tls(TlsFiles::in_dir(tls))
        });
        let this = Self { server, home };
        let passwords = this.server.instance.passwords();
        finish(this.command(&["users", "--passwords", passwords.to_str().unwrap()]).spawn().unwrap()).ok();
        this.server.instance.note_users().unwrap();
        this
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = program();
        command.arg("--home").arg(&self.home).args(["--instance", "test"]).args(args);
        command
    }

    fn put(&self, key: &str, value: &str) {
        finish(self.command(&["put", key, value]).spawn().unwrap()).ok();
    }
}

#[test]
fn an_instance_with_tls_and_users_is_browsed_like_any_other_also_after_a_restart() {
    let etcd = Secured::start();
    for (key, value) in [("/Inventory/v1/f/a", "{\"state\":\"off\"}"), ("/Inventory/v1/f/b", "x"), ("/other", "x")] {
        etcd.put(key, value);
    }
    let screen = Screen::of(&mut etcd.command(&["browse", "/Inventory/v1/", "--write"]));
    screen.wait_for(&["browse https://127.0.0.1:", "can delete", "> f/", "2 keys"]);
    screen.press("\r");
    screen.wait_for(&["> a", " b", "\"state\": \"off\""]);
    etcd.put("/Inventory/v1/f/a", "{\"state\":\"on\"}");
    screen.wait_for_a_moment(&[">~a", ".state \"off\" → \"on\""]);

    etcd.server.instance.down().unwrap();
    screen.wait_for(&["no etcd answers at https://127.0.0.1:", "trying again", "> a"]);
    etcd.server.up();
    screen.wait_until_gone("no etcd answers");
    for state in ["broken", "spare"] {
        etcd.put("/Inventory/v1/f/a", &format!("{{\"state\":\"{state}\"}}"));
        screen.wait_for(&["a  ", state]);
    }

    screen.press("D");
    screen.terminal.wait_for("[y/N]");
    screen.press("y\n");
    screen.terminal.wait_for("undo: cargo xtask undo ");
    screen.press("\n");
    screen.wait_for(&["> b"]);
    screen.press(&LEFT.repeat(2));
    screen.wait_for(&["> v1/"]);
    screen.press("D");
    screen.terminal.wait_for("refused to delete");
    screen.press("\n");
    screen.wait_for(&["> v1/", "1 key"]);
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn what_is_compacted_meanwhile_is_read_again_or_said_to_be_gone() {
    let cluster = Cluster::new();
    let first = cluster.revision() + 1;
    for value in ["one", "two", "three"] {
        cluster.put("/b/a", value);
    }
    let proxy = testkit::Proxy::start(&cluster.etcd.endpoints()[0]).unwrap();
    let screen = Screen::of(program().args(["--endpoints", &proxy.endpoint(), "--timeout", "2", "browse", "/b/"]));
    screen.wait_for(&["> a", "three"]);
    screen.press("h");
    screen.wait_for(&["3 changes"]);

    // The watch cannot go on where it was.
    proxy.close();
    cluster.put("/b/a", "four");
    cluster.put("/b/b", "x");
    cluster.call("kv/compaction", &format!("{{\"revision\":{},\"physical\":true}}", first + 4));
    proxy.open();
    screen.press("kk\r");
    screen.wait_for(&["compacted"]);
    screen.press("d");
    screen.wait_for(&["compacted"]);
    screen.press(&LEFT.repeat(2));
    screen.wait_for(&["> a", " b", "four"]);
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn a_terminal_may_be_tiny_on_every_page() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 30);
    cluster.put("/many/0000000000", "{\"state\":[1,2,3]}");
    let screen = Screen::open(&cluster, &["/many/"]);
    screen.wait_for(&["> 0000000000", "0000000019", "JSON"]);
    // A folder, a value on the whole screen, a history, a value of the past, a search that is typed, help.
    for (keys, words) in [
        ("", "> 0000000000"),
        ("\r", "x hexadecimal"),
        ("\x1b[Dh", "2 changes"),
        ("\r", "x hexadecimal"),
        ("\x1b[D\x1b[D/x", "search: x"),
        ("\x1b[D?", "keys of the"),
    ] {
        screen.press(keys);
        screen.wait_for(&[words]);
        for (columns, rows) in [(20, 5), (1, 1), (2, 3), (80, 24)] {
            screen.resize(columns, rows);
            assert!(eventually(|| screen.is_drawn()), "{columns}x{rows} after {keys:?} is not drawn");
        }
        screen.wait_for(&[words]);
    }
    screen.press(" ");
    screen.wait_until_gone("keys of the");
    screen.resize(20, 5);
    screen.wait_for(&["> 000"]);
    screen.press(DOWN);
    screen.wait_for(&["/many/0000000001", "text"]);
    screen.resize(80, 24);
    screen.wait_for(&["> 0000000001", "0000000020"]);
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn a_key_that_is_pressed_while_the_size_changes_is_not_held_back() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 30);
    let screen = Screen::open(&cluster, &["/many/"]);
    screen.wait_for(&["> 0000000000"]);
    for round in 0..100 {
        let (key, selected) = if round % 2 == 0 { (DOWN, "> 0000000001") } else { (UP, "> 0000000000") };
        screen.press_and_resize(key, 80, 20 + round % 2);
        screen.wait_for(&[selected]);
    }
    screen.press("q");
    screen.ends_with(0);
}

#[test]
fn large_and_evil_values_are_shown_and_nothing_of_them_reaches_the_terminal_raw() {
    let cluster = Cluster::new();
    let evil = "\x1b[31mred\x1b]0;title\x07\x1b[6n\u{9b}2J\u{202e}\x7f\x08\r\x0e";
    let put = |key: &str, value: &[u8]| {
        let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
        let answer = cluster.call("kv/put", &format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}"));
        assert!(answer.contains("revision"), "{answer}");
    };
    let large = |pattern: &[u8]| pattern.iter().copied().cycle().take(1_000_000).collect::<Vec<_>>();
    put("/b/1", evil.as_bytes());
    put("/b/2", b"text \xff\xfe\x1b[6n\xc3");
    put("/b/3", &large(evil.as_bytes()));
    put("/b/4", &large(b"0123456789 \xe6\x97\xa5"));
    put("/b/5", format!("{{\"key\":\"\\u001b[6n\",\"l\":[{}1]}}", "\"\u{202e}x\",".repeat(140_000)).as_bytes());
    put("/b/6", &[&[0x0a, 0xc0, 0x84, 0x3d][..], &large(b"\x1b[6n")[..]].concat());
    put(&format!("/b/7{evil}"), b"x");
    let screen = Screen::open(&cluster, &["/b/"]);
    for (number, words) in [
        ("1", "33 bytes"),
        ("2", "12 bytes"),
        ("3", "1000000 bytes"),
        ("4", "0123456789 日"),
        ("5", "JSON"),
        ("6", "1000004 bytes"),
        ("7\\x1b[31mred", "text, 1 bytes"),
    ] {
        screen.wait_for(&[&format!("> {number}"), words]);
        screen.press("x");
        screen.wait_for(&["hexadecimal"]);
        screen.press("x\r");
        screen.wait_for(&["scroll"]);
        screen.press(&"\x1b[6~".repeat(3));
        screen.press(LEFT);
        screen.wait_for(&[&format!("> {number}"), "c copy"]);
        screen.press(DOWN);
    }
    put("/b/1", &large(b"\x1b[6n"));
    screen.press("h");
    screen.wait_for(&["1 change"]);
    screen.press(LEFT);
    screen.press("/red\r");
    screen.wait_for(&["1 of 7 keys contain `red`"]);
    screen.press("q");
    let bytes = screen.terminal.bytes();
    screen.ends_with(0);
    assert_eq!(foreign(&bytes), "");
}

/// The control characters and escape sequences that are not those of a program that draws: it moves the cursor, clears, and
/// sets styles and modes.
fn foreign(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut parts = text.split('\x1b');
    let mut found: String = parts.next().unwrap().chars().filter(|c| c.is_control()).collect();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(part.len() - 1) + 1;
        let (sequence, text) = part.split_at(end);
        if !sequence.starts_with('[') || !sequence.ends_with(['H', 'J', 'm', 'h', 'l']) || sequence == "[31m" {
            found.push_str(sequence);
        }
        found.extend(text.chars().filter(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}')));
    }
    found
}
