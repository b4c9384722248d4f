//! The commands for several instances, and for one that is started again: `etcd-list`, `etcd-down --all`, `etcd-restart`.

use std::fs;

use testkit::copy;

use crate::playground::{Playground, finish, free_port, get, port, put};

#[test]
fn a_list_shows_what_each_instance_is() {
    let play = Playground::new();
    assert!(play.xtask(&["etcd-list"]).ok().stdout.contains("no instances; `cargo xtask etcd-up` starts"));
    let up = play.up(&[]);
    for name in ["lost", "newer", "old"] {
        play.up(&["--instance", name]);
    }
    play.xtask(&["etcd-down", "--instance", "old"]).ok();
    fs::remove_dir_all(play.path(".etcd/lost")).unwrap();
    let record = play.path(".etcd/newer/instance.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"schema\":1", "\"schema\":99").replace("\"schema\": 1", "\"schema\": 99"))
        .unwrap();

    let answer: serde_json::Value =
        serde_json::from_str(&play.xtask(&["etcd-list", "--format", "json"]).ok().stdout).unwrap();
    let [default, lost, newer, old] = &answer["instances"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&default["instance"], &default["state"]), (&"default".into(), &"ready".into()));
    assert_eq!(default["endpoints"][0], up.endpoints[0]);
    assert!(default["data_bytes"].as_u64().unwrap() > 0, "{default}");
    assert_eq!((&old["state"], &old["version"]), (&"stopped".into(), &"3.7.2".into()));
    if cfg!(target_os = "linux") {
        assert_eq!(lost["state"], "orphaned");
    }
    assert!(newer["error"].as_str().unwrap().contains("newer version"), "{newer}");

    let table = play.xtask(&["etcd-list"]).ok().stdout;
    let row = table.lines().find(|line| line.starts_with("default")).unwrap();
    for part in ["ready", "3.7.2", "MB", &up.endpoints[0], ".etcd/default/data"] {
        assert!(row.contains(part), "{part}: {table}");
    }
    fs::write(&record, text).unwrap();
    play.xtask(&["etcd-down", "--all"]).ok();
}

#[test]
fn all_are_stopped_past_one_that_cannot_be() {
    let play = Playground::new();
    assert!(play.xtask(&["etcd-down", "--all"]).ok().stdout.contains("no instances"));
    for name in ["a", "b", "c"] {
        play.up(&["--instance", name]);
    }
    let record = play.path(".etcd/b/instance.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"schema\":1", "\"schema\":99").replace("\"schema\": 1", "\"schema\": 99"))
        .unwrap();
    let run = play.xtask(&["etcd-down", "--all"]);
    assert!(run.stdout.contains("stopped etcd `a`") && run.stdout.contains("stopped etcd `c`"), "{run:?}");
    run.fails(1, &["newer version of this tool wrote", "hint: "]);
    fs::write(&record, text).unwrap();
    let answer: serde_json::Value =
        serde_json::from_str(&play.xtask(&["etcd-down", "--all", "--format", "json"]).ok().stdout).unwrap();
    let stopped: Vec<_> = answer["instances"].as_array().unwrap().iter().map(|one| &one["stopped"]).collect();
    assert_eq!(stopped, [false, true, false]);
    assert_eq!(play.xtask(&["etcd-down", "--all", "--instance", "a"]).code, Some(2));
}

#[test]
fn a_restart_keeps_program_port_and_data() {
    let play = Playground::new();
    play.configure("");
    let free = free_port().to_string();
    let up = play.up(&["--port", &free, "--etcd", "3.6.7", "--data-dir", "elsewhere"]);
    put(&up, "dmFsdWU=");
    let refused = play.xtask(&["etcd-restart", "--etcd", "./nothing"]);
    refused.fails(2, &["there is no file", "nothing"]);
    assert_eq!(play.status().pids, up.pids, "what cannot be started again is not stopped");

    let run = play.xtask(&["etcd-restart"]).ok();
    assert!(run.stdout.starts_with("stopped etcd `default`\netcd 3.6.7 `default` is ready after"), "{run:?}");
    let again = play.status();
    assert_ne!(again.pids, up.pids);
    assert_eq!((&again.endpoints, &again.version, &again.data_dir), (&up.endpoints, &up.version, &up.data_dir));
    assert_eq!(get(&again).as_deref(), Some("dmFsdWU="));

    play.xtask(&["etcd-down"]).ok();
    let said = play.xtask(&["etcd-restart", "--port", "auto", "--etcd", "3.7.2"]).ok().stdout;
    assert!(said.starts_with("etcd `default` was not running\netcd 3.7.2 `default` is ready"), "{said}");
}

/// A copy of a workspace had the same ports.
#[test]
fn the_port_of_a_stopped_instance_is_not_given_to_another() {
    let (play, copied) = (Playground::new(), Playground::new());
    let up = play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    copy(&play.path(".etcd"), &copied.path(".etcd"));
    let another = copied.up(&[]);
    assert_ne!(port(&another), port(&up));
    assert_eq!(port(&play.up(&[])), port(&up));
}

#[test]
fn what_cargo_toml_names_by_now_wins_at_a_restart() {
    let play = Playground::new();
    let before = play.up(&[]);
    let free = free_port();
    assert_ne!(port(&before), free);
    play.configure(&format!("port = {free}"));
    play.xtask(&["etcd-restart"]).ok();
    assert_eq!(port(&play.status()), free);
}

#[test]
fn a_status_says_which_etcd_commands_use() {
    let play = Playground::new();
    play.up(&[]);
    assert!(play.xtask(&["etcd-status"]).ok().stdout.contains("`get`, `test` and others use this instance\n"));
    let other = play.xtask(&["etcd-status", "--instance", "other"]).stdout;
    assert!(other.contains("use the instance `default`; `--instance other` uses this instance"), "{other}");
    let elsewhere = |line: &[&str]| {
        let mut command = play.command(line);
        command.env("ETCD_ENDPOINTS", "http://10.0.0.1:2379");
        finish(command).ok()
    };
    let words = "use http://10.0.0.1:2379 (ETCD_ENDPOINTS is set); `--instance default` uses this instance";
    assert!(elsewhere(&["etcd-status"]).stdout.contains(words));
    assert!(elsewhere(&["etcd-up"]).stderr.contains(words), "whoever starts one is told");
    let json: serde_json::Value =
        serde_json::from_str(&elsewhere(&["etcd-status", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["commands_use"]["endpoints"][0], "http://10.0.0.1:2379");
}
