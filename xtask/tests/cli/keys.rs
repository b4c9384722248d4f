//! Cloud Chamber's page of etcdctl, as its people type it now: through `cargo xtask`, against the workspace's instance.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::playground::{Playground, build_console, eventually, finish};

/// With the `etcd-console` that [`build_console`] has built.
pub(crate) fn play() -> Playground {
    play_at(Playground::new())
}

fn play_at(play: Playground) -> Playground {
    play.with("ETCD_CONSOLE", build_console())
}

#[test]
fn the_page_runs_through_xtask() {
    let play = play();
    let said = |args: &[&str]| play.xtask(args).ok().stdout;
    play.xtask(&["get", "a"]).fails(3, &["etcd `default` is not running", "etcd-up"]);
    play.up(&[]);
    assert!(said(&["member", "list"]).contains("started"), "the members are seen");
    let rack = |n: u32| format!("/Inventory/v1/racks/{n}");
    for n in 1..=5 {
        assert_eq!(said(&["put", &rack(n), "8 blades"]), "OK\n");
    }
    assert_eq!(said(&["get", &rack(1)]), format!("{}\n8 blades\n", rack(1)));
    assert_eq!(said(&["get", &rack(2), &rack(4), "--keys-only"]), format!("{}\n{}\n", rack(2), rack(3)));
    assert_eq!(said(&["get", "/Inventory/v1/racks/", "--prefix", "--count-only"]), "5\n");
    said(&["del", &rack(1), "--yes"]);
    said(&["del", &rack(2), &rack(4), "--yes", "--expect-count", "2"]);
    let deleted = said(&["del", "/Inventory/v1/racks/", "--prefix", "--yes", "--expect-count", "2"]);
    assert!(deleted.starts_with("deleted 2 keys") && deleted.contains("undo: cargo xtask undo "), "{deleted}");
    play.xtask(&["del", "", "--prefix", "--yes"]).fails(4, &["refused to delete"]);
    assert!(play.xtask(&way_back(&deleted)).ok().stdout.starts_with("restored 2 keys"));
}

#[test]
fn the_history_of_keys_is_shown_as_far_as_etcd_has_it() {
    let play = play();
    play.up(&[]);
    for value in [r#"{"blades":8}"#, r#"{"blades":9}"#] {
        play.xtask(&["put", "/Inventory/v1/racks/1", value]).ok();
    }
    play.xtask(&["del", "/Inventory/v1/racks/1", "--yes"]).ok();
    play.xtask(&["put", "/elsewhere", "x"]).ok();
    let shown = |args: &[&str]| play.xtask(&[&["history"], args].concat()).ok().stdout;
    let lines = [
        r#"rev 2        PUT /Inventory/v1/racks/1  `{"blades":8}`"#,
        "rev 3        PUT /Inventory/v1/racks/1  .blades 8 → 9",
        r#"rev 4        DEL /Inventory/v1/racks/1  (was `{"blades":9}`)"#,
    ];
    let all = lines.map(|line| format!("{line}\n"));
    assert_eq!(shown(&[]), all.concat());
    assert_eq!(shown(&["/Inventory/v1/racks/", "--prefix", "--rev", "3..4"]), all[1..].concat());
    assert_eq!(shown(&["/Inventory/v1/racks/1", "--rev", "2", "--hex"]).matches("7b22").count(), 1);
    let json = shown(&["/Inventory/v1/racks/1", "--rev", "..2", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["type"], &json["kv"]["mod_revision"]), (&"PUT".into(), &2.into()));
    let differs = |args: &[&str]| play.xtask(&[&["diff"], args].concat()).ok().stdout;
    assert_eq!(differs(&["1", "2"]), "+ /Inventory/v1/racks/1  `{\"blades\":8}`\n");
    assert_eq!(differs(&["2", "3"]), "~ /Inventory/v1/racks/1  .blades 8 → 9\n");
    assert_eq!(differs(&["3", "0"]), "- /Inventory/v1/racks/1  (was `{\"blades\":9}`)\n");
    assert_eq!(differs(&["1", "4", "", "--prefix"]), "", "what came and went in between");
    assert_eq!(differs(&["2", "4", "/Inventory/v1/racks/1", "--format", "json"]).matches("\"after\":null").count(), 1);
    play.xtask(&["diff", "9", "99"]).fails(1, &["revision 9 has not happened yet", "`history` shows"]);
    let run = play.xtask(&["history", "/a", "--rev", "9..5"]);
    assert!(run.code == Some(2) && run.stderr.contains("the last revision comes before the first"), "{run:?}");
    for value in ["hunter2", "hunter3"] {
        play.xtask(&["put", "/Inventory/v1/password", value]).ok();
    }
    play.configure("redact = [\"*/password\"]");
    let secret = ["history", "watch"].map(|command| {
        let from: &[&str] = if command == "watch" { &["--rev", "6", "-n", "2"] } else { &["--rev", "6.."] };
        play.xtask(&[&[command, "/Inventory/v1/password"], from].concat()).ok().stdout
    });
    let secret = secret.concat() + &differs(&["5", "0"]);
    assert!(secret.matches("(hidden)").count() >= 4 && !secret.contains("hunter"), "{secret}");
    play.xtask(&["etcd-compact"]).ok();
    let run = play.xtask(&["history"]).ok();
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("revisions 1 to 7 are compacted away") && run.stderr.contains("no changes"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_history_since_a_test_run_began_is_shown() {
    let play = play();
    play.up(&[]);
    play.xtask(&["put", "/Inventory/v1/before", "x"]).ok();
    let runs = [&[][..], &["--keep"]].map(|flags| {
        let script = ["--", "sh", "-c", "echo $ETCD_TEST_RUN"];
        play.xtask(&[&["run"], flags, &script].concat()).ok().stdout.trim().to_owned()
    });
    play.xtask(&["put", "/Inventory/v1/after", "x"]).ok();
    let since = |run: &str| play.xtask(&["history", "/Inventory/v1/", "--prefix", "--keys-only", "--since", run]);
    for (run, other) in [(&runs[0], true), (&runs[1], false)] {
        let shown = since(run).ok().stdout;
        let first = shown.lines().next().unwrap_or_default();
        assert!(first.contains(&format!("PUT /Inventory/v1/Test/{run}/.")) || first.contains(".runs/"), "{shown}");
        assert!(!shown.contains("before") && shown.contains("/Inventory/v1/after"), "{shown}");
        assert_eq!(shown.contains(runs[0].as_str()), other, "{shown}");
    }
    since("2").fails(2, &["2 runs begin with `2`", "cargo xtask runs"]);
    since("10").fails(2, &["etcd does not know when a run `10` began", "or a time, like 10m"]);
    play.xtask(&["etcd-compact"]).ok();
    since(&runs[0]).fails(2, &["its history is compacted"]);
    // A run whose record is still there.
    assert!(since(&runs[1]).ok().stderr.contains("are compacted away"));
}

#[test]
fn the_history_since_a_time_begins_at_a_run_before_it() {
    let play = play();
    play.up(&[]);
    let since =
        |time: &str| play.xtask(&["history", "/Inventory/v1/", "--prefix", "--keys-only", "--since", time]).ok();
    let put = |key: &str| play.xtask(&["put", &format!("/Inventory/v1/{key}"), "x"]).ok();
    put("before");
    let none = since("10m");
    assert!(
        none.stdout.contains("before") && none.stderr.contains("knows no test run that began more than 10m"),
        "{none:?}"
    );
    // Two runs of long ago, one of the future, and one of a host whose clock is late.
    let run = |year: u16| format!("{year}0101T000000Z-{year:032}");
    for (key, year) in [("between", 2024), ("after", 2025), ("last", 9998), ("end", 2026)] {
        put(&format!("Test/.runs/{}", run(year)));
        put(key);
    }
    let shown = since("10m");
    let first = shown.stdout.lines().next().unwrap_or_default();
    assert!(first.contains(&run(2025)) && shown.stdout.contains("after"), "{shown:?}");
    assert!(!shown.stdout.contains("between"), "{shown:?}");
    assert!(
        shown.stderr.contains(&format!("since run {}, the last that began more than 10m ago", run(2025))),
        "{shown:?}"
    );
    assert!(since("1000years").stdout.contains("before"));
}

/// The arguments of the command that a `del` said puts it back, as a shell reads what is pasted into it.
fn way_back(said: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("undo: cargo xtask ")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("printf '%s\\n' {line}")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(shell).ok().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn what_del_says_of_its_undo_file_can_be_pasted() {
    let play = play_at(Playground::at(tempfile::Builder::new().prefix("it's a $play-").tempdir().unwrap()));
    play.up(&[]);
    for (below, begins) in [("", " .etcd/undo/"), (".etcd", " undo/"), ("home", " '/")] {
        let pasted = |args: &[String]| {
            let mut command = play.command(args);
            command.current_dir(play.path(below));
            finish(command).ok().stdout
        };
        let xtask = |args: &[&str]| pasted(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        xtask(&["put", "/k", "v"]);
        let said = xtask(&["del", "/k", "--yes"]);
        assert!(said.contains(&format!("undo: cargo xtask undo{begins}")), "{said}");
        assert!(pasted(&way_back(&said)).starts_with("restored 1 key"), "{said}");
        let json: serde_json::Value =
            serde_json::from_str(&xtask(&["del", "/k", "--yes", "--format", "json"])).unwrap();
        assert!(Path::new(json["undo"].as_str().unwrap()).is_absolute(), "programs know nothing of where we are");
    }
}

#[test]
fn what_del_says_of_its_undo_file_leads_to_the_cluster_that_it_is_of() {
    let play = play();
    play.up(&[]);
    let two = play.up(&["--instance", "two"]);
    let url = two.endpoints[0].as_str();
    for flags in [["--instance", "two"], ["--endpoints", url]] {
        play.xtask(&[&["put", "/k", "v"], &flags[..]].concat()).ok();
        let said = play.xtask(&[&["del", "/k", "--yes"], &flags[..]].concat()).ok().stdout;
        assert!(said.trim_end().ends_with(&flags.join(" ")), "{said}");
        assert!(play.xtask(&way_back(&said)).ok().stdout.starts_with("restored 1 key of 1"), "{said}");
        // And only half of it.
        let hint = format!(
            "hint: `--endpoints {url}` reaches the file's cluster, if it still runs there; `--any-cluster` restores"
        );
        play.xtask(&way_back(&said)[..2]).fails(1, &["is of cluster", &hint]);
        assert_eq!(play.xtask(&["get", "/k"]).ok().stdout, "", "nothing of it is in the other");
    }
    let mut by_variable = play.command(&["del", "/k", "--yes"]);
    by_variable.env("ETCD_ENDPOINTS", url);
    assert_eq!(way_back(&finish(by_variable).ok().stdout).len(), 2, "the variable leads the other one, too");
    play.xtask(&["etcd-down", "--instance", "two"]).ok();
    play.xtask(&["get", "/k", "--instance", "two"]).fails(3, &["hint: `cargo xtask etcd-up --instance two` starts it"]);
}

#[test]
fn a_change_is_watched_through_xtask() {
    let play = play();
    play.up(&[]);
    for (watch, key) in [
        (&["watch", "/k/1", "-n", "1"][..], "/k/1"),
        (&["watch", "/k/1", "/k/3", "-n", "1"], "/k/2"),
        (&["watch", "/k/", "--prefix", "-n", "1"], "/k/9"),
        (&["watch", "-n", "1"], "/Inventory/v1/racks/1"),
    ] {
        let command = play.command(watch);
        let watching = std::thread::spawn(move || finish(command));
        // It may begin after a write: what is written again is seen.
        assert!(eventually(|| {
            play.xtask(&["put", key, "new"]).ok();
            watching.is_finished()
        }));
        let shown = watching.join().unwrap().ok().stdout;
        assert!(shown.contains("PUT") && shown.contains(key) && shown.contains("new"), "{watch:?}: {shown}");
    }
}
