//! Up, down, reset, status, logs, env: what they do when all is well.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use etcd_local::State;

use crate::playground::{Playground, Run, build_console, etcd, eventually, finish, free_port, get, port, put, skipped};

#[test]
fn data_survives_a_stop_and_ends_with_a_reset() {
    let play = Playground::new();
    let first = play.up(&[]);
    assert_eq!(first.state, State::Ready);
    put(&first, "b25l");
    assert!(play.xtask(&["etcd-down"]).ok().stdout.contains("its data stays"));
    assert_eq!(play.xtask(&["etcd-status"]).code, Some(3));
    assert!(play.processes().is_empty());

    let second = play.up(&[]);
    assert_eq!(get(&second).as_deref(), Some("b25l"));
    assert_eq!(second.cluster_id, first.cluster_id);
    assert_eq!(second.endpoints, first.endpoints, "an automatic port is kept while it is free");

    let run = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok();
    let wiped: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(wiped["wiped"].as_str().map(std::path::Path::new), Some(first.data_dir.as_path()), "{run:?}");
    let reset = run.status();
    assert_eq!(get(&reset), None);
    assert_ne!(reset.cluster_id, first.cluster_id, "watchers of the old data must notice");
    assert_eq!(reset.endpoints, first.endpoints);
    let left: Vec<_> =
        fs::read_dir(play.path(".etcd/default")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("wiped")), "{left:?}");
}

#[test]
fn a_second_up_reuses_and_a_second_down_is_no_error() {
    let play = Playground::new();
    assert!(play.xtask(&["etcd-down"]).ok().stdout.contains("was not running"));
    assert!(!play.path(".etcd").exists(), "`etcd-down` creates nothing");
    let first = play.up(&[]);
    let again = play.xtask(&["etcd-up", "--format", "json"]).ok();
    assert_eq!(again.status().pids, first.pids);
    assert!(again.stdout.contains(r#""started":false"#), "{again:?}");
    assert!(play.xtask(&["etcd-up"]).ok().stdout.contains("is already up"));
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-down"]).ok();
}

#[test]
fn a_reset_of_a_stopped_instance_leaves_it_stopped() {
    let play = Playground::new();
    assert!(play.xtask(&["etcd-reset", "--yes"]).ok().stdout.contains("has no data"));
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    assert!(play.path(".etcd/default/data/member").exists());
    play.xtask(&["etcd-reset", "--yes"]).ok();
    assert!(!play.path(".etcd/default/data").exists());
    assert_eq!(play.status().state, State::Stopped);
}

#[test]
fn a_reset_wipes_data_that_is_kept_elsewhere_also_when_the_state_was_deleted() {
    let play = Playground::new();
    play.configure("port = \"auto\"\ndata-dir = \"dev\"");
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    fs::remove_dir_all(play.path(".etcd")).unwrap();
    play.xtask(&["etcd-reset"]).fails(4, &["refused to delete", "dev"]);
    assert!(play.path("dev/member").exists());
    let run = play.xtask(&["etcd-reset", "--yes"]).ok();
    assert!(run.stdout.contains("wiped dev"), "{run:?}");
    assert!(!play.path("dev").exists());
    assert!(play.xtask(&["etcd-reset", "--yes"]).ok().stdout.contains("has no data"));
}

/// A call in another workspace, in a folder of the playground.
fn call_in(play: &Playground, workspace: &str, args: &[&str]) -> Run {
    let mut command = play.command(args);
    command.current_dir(play.path(workspace)).env("CARGO_MANIFEST_DIR", play.path(workspace));
    finish(command)
}

#[test]
fn a_workspace_that_was_moved_or_copied_resets_its_own_data() {
    let play = Playground::new();
    let first = ["etcd-up", "--format", "json"];
    fs::create_dir(play.path("old")).unwrap();
    fs::copy(play.path("Cargo.toml"), play.path("old/Cargo.toml")).unwrap();
    put(&call_in(&play, "old", &first).ok().status(), "dg==");
    call_in(&play, "old", &["etcd-down"]).ok();

    testkit::copy(&play.path("old"), &play.path("copy"));
    call_in(&play, "copy", &["etcd-reset"]).fails(4, &["refused to delete", ".etcd/default/data"]);
    let run = call_in(&play, "copy", &["etcd-reset", "--yes"]).ok();
    assert!(run.stdout.contains("wiped .etcd/default/data"), "{run:?}");
    assert!(!play.path("copy/.etcd/default/data").exists() && play.path("old/.etcd/default/data/member").exists());

    fs::rename(play.path("old"), play.path("new")).unwrap();
    let status = call_in(&play, "new", &["etcd-status", "--format", "json"]).status();
    let own = play.path("new/.etcd/default");
    assert_eq!((status.data_dir, status.log), (own.join("data"), own.join("etcd.log")));
    let up = call_in(&play, "new", &first).ok().status();
    assert_eq!(get(&up).as_deref(), Some("dg=="));
    call_in(&play, "new", &["etcd-reset", "--yes"]).ok();
    assert_eq!(get(&up), None);
    call_in(&play, "new", &["etcd-down"]).ok();
}

#[test]
#[cfg(target_os = "linux")] // where the lock leads to its holder, and the holder has arguments
fn a_workspace_that_is_moved_under_its_server_resets_its_own_data() {
    let play = Playground::new();
    fs::create_dir(play.path("old")).unwrap();
    fs::copy(play.path("Cargo.toml"), play.path("old/Cargo.toml")).unwrap();
    put(&call_in(&play, "old", &["etcd-up", "--format", "json"]).ok().status(), "dg==");
    fs::rename(play.path("old"), play.path("new")).unwrap();
    let reset = call_in(&play, "new", &["etcd-reset", "--yes", "--format", "json"]).ok().status();
    assert_eq!((get(&reset), reset.data_dir), (None, play.path("new/.etcd/default/data")));
    assert!(!play.path("old").exists());
    call_in(&play, "new", &["etcd-down"]).ok();
}

#[test]
fn a_reset_wipes_no_data_that_another_workspace_keeps_or_links_to() {
    let play = Playground::new();
    for workspace in ["a", "b"] {
        fs::create_dir(play.path(workspace)).unwrap();
        fs::copy(play.path("Cargo.toml"), play.path(workspace).join("Cargo.toml")).unwrap();
    }
    let data = play.path("a/.etcd/default/data");
    let linked = |place: &str| {
        std::os::unix::fs::symlink(play.path("a").join(place), play.path("b").join(place)).unwrap();
        call_in(&play, "b", &["etcd-reset", "--yes"]).fails(4, &["was not created by this instance"]);
        fs::remove_file(play.path("b").join(place)).unwrap();
    };
    call_in(&play, "a", &["etcd-up"]).ok();
    call_in(&play, "a", &["etcd-down"]).ok();
    linked(".etcd");
    fs::create_dir(play.path("b/.etcd")).unwrap();
    linked(".etcd/default");
    call_in(&play, "a", &["etcd-reset", "--yes"]).ok();
    // `b` keeps its data where `a` would keep its own.
    call_in(&play, "b", &["etcd-up", "--data-dir", data.to_str().unwrap()]).ok();
    call_in(&play, "b", &["etcd-down"]).ok();
    call_in(&play, "a", &["etcd-reset", "--yes"]).fails(4, &["was not created by this instance"]);
    assert!(data.join("member").exists());
    call_in(&play, "b", &["etcd-reset", "--yes"]).ok();
    assert!(!data.exists());
}

#[test]
fn instances_live_side_by_side() {
    let play = Playground::new();
    let (a, b) = (play.up(&["--instance", "a"]), play.up(&["--instance", "b", "--etcd", "3.5.27"]));
    assert_ne!((port(&a), a.cluster_id), (port(&b), b.cluster_id));
    assert_eq!(b.version.clone().unwrap().to_string(), "3.5.27");
    put(&a, "YQ==");
    put(&b, "Yg==");
    play.xtask(&["etcd-reset", "--instance", "b", "--yes"]).ok();
    assert_eq!(get(&a).as_deref(), Some("YQ=="));
    play.xtask(&["etcd-down", "--instance", "a"]).ok();
    let running = play.xtask(&["etcd-status", "--instance", "b"]).ok();
    assert!(running.stdout.contains("is ready"), "{running:?}");
}

#[test]
fn the_state_is_for_its_user_only_and_not_for_git() {
    let play = Playground::new();
    play.up(&[]);
    for dir in [".etcd/default", ".etcd/default/data"] {
        let mode = fs::metadata(play.path(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{dir}");
    }
    assert_eq!(fs::read_to_string(play.path(".etcd/.gitignore")).unwrap(), "*\n");
}

#[test]
fn the_server_does_not_take_our_variables_for_its_flags() {
    let play = Playground::new().with("ETCD_NAME", "impostor").with("ETCD_SNAPSHOT_COUNT", "nonsense");
    let up = play.up(&[]);
    let members = minreq::post(format!("{}/v3/cluster/member/list", up.endpoints[0])).with_body("{}").send().unwrap();
    assert!(!members.as_str().unwrap().contains("impostor"));
}

#[test]
fn the_members_name_is_etcdinstance() {
    let play = Playground::new().with("ETCDINSTANCE", "chamber-7");
    let up = play.up(&[]);
    let members = minreq::post(format!("{}/v3/cluster/member/list", up.endpoints[0])).with_body("{}").send().unwrap();
    assert!(members.as_str().unwrap().contains("chamber-7"));
}

#[test]
fn the_settings_come_from_flag_then_environment_then_manifest() {
    let (manifest, variable, flag) = (free_port(), free_port(), free_port());
    let play = Playground::new();
    play.configure(&format!("port = {manifest}\npeer-port = \"auto\""));
    assert_eq!(port(&play.up(&[])), manifest);
    play.xtask(&["etcd-down"]).ok();
    let play = play.with("ETCDPORTCLNT", variable.to_string());
    assert_eq!(port(&play.up(&[])), variable);
    play.xtask(&["etcd-down"]).ok();
    assert_eq!(port(&play.up(&["--port", &flag.to_string()])), flag);
}

#[test]
fn workspaces_with_a_client_port_of_their_own_need_no_peer_port() {
    // As another workspace's etcd may have it; where somebody has it already, that will do.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", etcd_local::DEFAULT_PEER_PORT));
    let free = free_port();
    let play = Playground::new();
    play.configure(&format!("port = {free}"));
    let peer = || {
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(play.path(".etcd/default/instance.json")).unwrap()).unwrap();
        record["peer_url"].as_str().unwrap().to_owned()
    };
    assert_eq!(port(&play.up(&[])), free);
    let first = peer();
    play.xtask(&["etcd-down"]).ok();
    assert_eq!(port(&play.up(&["--port", &free.to_string()])), free);
    assert_eq!(peer(), first, "a peer port is kept while it is free");
    play.xtask(&["etcd-down"]).ok();
    let (_, had) = first.rsplit_once(':').unwrap();
    assert_eq!(port(&play.up(&["--port", had])).to_string(), had, "it makes way for a client port");
    let doctor = play.xtask(&["doctor"]).stdout;
    assert!(doctor.contains(&free.to_string()) && !doctor.contains("port: 127.0.0.1:2380"), "{doctor}");
}

#[test]
fn the_ports_of_the_manifest_are_those_of_default() {
    let (manifest, peer, variable) = (free_port(), free_port(), free_port());
    let play = Playground::new();
    play.configure(&format!("port = {manifest}\npeer-port = {peer}"));
    assert_eq!(port(&play.up(&[])), manifest);
    let scratch = play.up(&["--instance", "scratch"]);
    assert_ne!(port(&scratch), manifest);
    let doctor = play.xtask(&["doctor"]).stdout;
    for taken in [manifest, peer] {
        assert!(doctor.contains(&format!("127.0.0.1:{taken} is instance `default`'s")), "{doctor}");
    }
    let reset = play.xtask(&["etcd-reset", "--instance", "scratch", "--yes", "--format", "json"]).ok().status();
    assert_eq!(reset.endpoints, scratch.endpoints);
    play.xtask(&["etcd-down", "--instance", "scratch"]).ok();
    assert_eq!(play.up(&["--instance", "scratch"]).endpoints, scratch.endpoints, "kept while it is free");
    play.xtask(&["etcd-down", "--instance", "scratch"]).ok();
    let play = play.with("ETCDPORTCLNT", variable.to_string());
    assert_eq!(port(&play.up(&["--instance", "scratch"])), variable);
}

#[test]
fn a_server_that_listens_beyond_this_machine_says_so() {
    build_console();
    let note = "note: etcd listens on 0.0.0.0, not only on this machine: ";
    let play = Playground::new();
    for args in [&["etcd-up"][..], &["etcd-down"], &["run", "--", "true"]] {
        let run = play.xtask(args).ok();
        assert!(!run.stderr.contains("note: "), "{run:?}");
    }
    let play = play.with("ETCDNODEADDR", "0.0.0.0");
    for (args, notes) in
        [(&["run", "--", "true"][..], 1), (&["etcd-up"], 1), (&["etcd-up"], 0), (&["etcd-reset", "--yes"], 1)]
    {
        let run = play.xtask(args).ok();
        assert_eq!(run.stderr.matches(note).count(), notes, "{args:?}: {run:?}");
    }
}

#[test]
fn an_etcd_that_a_flag_asks_for_beats_etcdbinpath() {
    let (named, other) = (etcd("3.7.2"), etcd("3.5.27"));
    let play = Playground::new().with("ETCDBINPATH", &named);
    for (flag, binary) in [("~3.5", &other), ("3.5", &other), ("^3.6", &named), ("3.5.27", &other)] {
        let up = play.up(&["--instance", "x", "--etcd", flag]);
        assert_eq!(up.binary.as_ref(), Some(binary), "{flag}");
        play.xtask(&["etcd-down", "--instance", "x"]).ok();
        play.xtask(&["etcd-reset", "--instance", "x", "--yes"]).ok();
    }
    // Of no version in particular, whatever Cargo.toml says.
    play.configure("port = \"auto\"\nversion = \"~3.5\"");
    assert_eq!(play.up(&[]).binary, Some(named));
    build_console();
    let run = play.xtask(&["run", "--etcd", "~3.5", "--", "true"]).ok();
    assert!(run.stderr.contains("ephemeral etcd 3.5.27"), "{run:?}");
}

#[test]
fn logs_are_shown_and_followed() {
    let play = Playground::new();
    play.xtask(&["etcd-logs"]).fails(1, &["there is no log"]);
    play.up(&[]);
    let run = play.xtask(&["etcd-logs", "-n", "3"]).ok();
    assert_eq!(run.stdout.lines().count(), 3);

    let mut follow = play.command(&["etcd-logs", "-f", "-n", "1"]).spawn().unwrap();
    let mut out = follow.stdout.take().unwrap();
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::Read;
        let (mut text, mut block) = (String::new(), [0; 4096]);
        while let Ok(read @ 1..) = out.read(&mut block) {
            text.push_str(&String::from_utf8_lossy(&block[..read]));
            let _ = sender.send(text.clone());
        }
    });
    // It follows from here on; what comes before is not promised.
    assert!(seen.recv().unwrap().ends_with('\n'));
    play.xtask(&["etcd-down"]).ok();
    assert!(eventually(|| seen.try_iter().last().is_some_and(|text| text.contains("terminated"))));
    // As the next start does with one that has grown large.
    fs::rename(play.path(".etcd/default/etcd.log"), play.path(".etcd/default/etcd.log.1")).unwrap();
    play.up(&[]);
    let follows = |text: String| text.rsplit_once("terminated").is_some_and(|(_, new)| new.contains("ready to serve"));
    assert!(eventually(|| seen.try_iter().last().is_some_and(follows)));
    let pid = rustix::process::Pid::from_child(&follow);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(follow.wait().unwrap().success(), "Ctrl-C ends it well");
}

#[test]
fn env_speaks_each_shells_language() {
    let play = Playground::new();
    play.xtask(&["env"]).fails(3, &["is not running", "etcd-up"]);
    let up = play.up(&[]);
    let url = &up.endpoints[0];
    let sh = play.xtask(&["env"]).ok().stdout;
    assert!(sh.contains(&format!("export ETCDCTL_ENDPOINTS='{url}'\n")), "{sh}");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("{sh} echo $ETCD_ENDPOINTS")).stdout(std::process::Stdio::piped());
    shell.stderr(std::process::Stdio::piped());
    assert_eq!(finish(shell).stdout.trim(), url);
    assert!(play.xtask(&["env", "--shell", "powershell"]).ok().stdout.contains("$env:ETCDCTL_API = '3'"));
    assert!(play.xtask(&["env", "--shell", "cmd"]).ok().stdout.contains(&format!("set \"ETCD_ENDPOINTS={url}\"")));
    assert!(play.xtask(&["env", "--shell", "fish"]).ok().stdout.contains("set -gx ETCDCTL_API '3'"));
    let json = play.xtask(&["env", "--format", "json"]).ok().stdout;
    assert!(json.contains(&format!(r#""ETCD_ENDPOINTS":"{url}""#)), "{json}");
}

#[test]
fn etcdctl_is_a_real_one_pointed_at_the_instance() {
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\necho \"$ETCDCTL_API $ETCDCTL_ENDPOINTS $*\"\nexit 7\n";
    fs::write(bin.join("etcdctl"), script).unwrap();
    fs::set_permissions(bin.join("etcdctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let play = play.with("PATH", &bin);
    play.xtask(&["etcdctl", "--", "get", "x"]).fails(3, &["is not running"]);
    // What needs no server, or one elsewhere, needs none here.
    for args in
        [&["version"][..], &["help"], &[], &["get", "x", "--endpoints", "http://a:1"], &["--endpoints=a", "get"]]
    {
        let run = play.xtask(&[&["etcdctl", "--"], args].concat());
        assert_eq!((run.code, run.stdout.trim()), (Some(7), format!("3  {}", args.join(" ")).trim()), "{run:?}");
    }
    let up = play.up(&[]);
    let mut elsewhere = play.command(&["etcdctl", "--", "--endpoints=http://a:1", "get", "x"]);
    let run = crate::playground::finish({
        elsewhere.env("ETCDCTL_ENDPOINTS", "http://b:1");
        elsewhere
    });
    assert_eq!(run.stdout.trim(), "3  --endpoints=http://a:1 get x", "etcdctl takes no flag beside a variable");
    let run = play.xtask(&["etcdctl", "--", "get", "x"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    assert_eq!(run.stdout.trim(), format!("3 {} get x", up.endpoints[0]));
    // The same without `--`; one that follows a word is etcdctl's.
    for args in [&["get", "x"][..], &["-w", "table", "get", "x"], &["--write-out=json", "get", "--", "-x"]] {
        let run = play.xtask(&[&["etcdctl"], args].concat());
        assert_eq!(run.stdout.trim(), format!("3 {} {}", up.endpoints[0], args.join(" ")), "{run:?}");
    }
    let run = play.xtask(&["etcdctl", "--instance", "default", "get", "x", "--instance"]);
    assert_eq!(run.stdout.trim(), format!("3 {} get x --instance", up.endpoints[0]));
    // As after `eval "$(cargo xtask env)"`, with the endpoints of another: a flag beats them.
    let play = play.with("ETCDCTL_API", "2").with("ETCDCTL_ENDPOINTS", "http://b:1");
    assert_eq!(play.xtask(&["etcdctl", "--", "get", "x"]).stdout.trim(), "2 http://b:1 get x");
    let run = play.xtask(&["etcdctl", "--instance", "default", "--", "get", "x"]);
    assert_eq!(run.stdout.trim(), format!("3 {} get x", up.endpoints[0]));
    play.xtask(&["etcdctl", "--instance", "b", "--", "get", "x"]).fails(3, &["`b` is not running"]);
}

#[test]
fn where_there_is_no_etcdctl_the_hint_names_a_version_that_brings_one() {
    let play = Playground::new();
    let empty = play.path("home");
    let play = play.with("PATH", &empty).with("GOPATH", &empty);
    // Cached, without an etcdctl: to ask for it again would bring nothing.
    let cached = etcd("3.7.2");
    let run = play.xtask(&["etcdctl", "--", "version"]).fails(1, &["no etcdctl is installed", "on PATH"]);
    let named = run.stderr.split_once("etcd-install ").and_then(|(_, rest)| rest.split_once(" --from release`"));
    let list = play.xtask(&["etcd-install", "--list", "--format", "json"]).ok().stdout;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let is_release = |one: &&serde_json::Value| one["from"] == "release" && one["path"].is_null();
    let offered: Vec<_> = list.iter().filter(is_release).map(|one| one["version"].as_str().unwrap()).collect();
    // Nobody pins one for macOS.
    assert_eq!(named.map(|(version, _)| version), offered.last().copied(), "{run:#?}");
    assert!(cached.exists() && offered.is_empty() == cfg!(target_os = "macos"));
}

#[test]
fn data_that_goes_to_a_later_minor_version_says_so_once() {
    let note =
        "note: etcd 3.7.2 upgraded the data of `default`, which etcd 3.6.7 used last; this upgrade cannot be undone\n";
    let play = Playground::new();
    let first = play.xtask(&["etcd-up", "--etcd", "3.6.7"]).ok();
    assert!(!first.stderr.contains("note: "), "{first:?}");
    put(&play.status(), "dg==");
    play.xtask(&["etcd-down"]).ok();
    let raised = play.xtask(&["etcd-up"]).ok();
    assert_eq!(raised.stderr.matches(note).count(), 1, "{raised:?}");
    assert_eq!(get(&play.status()).as_deref(), Some("dg=="));
    play.xtask(&["etcd-down"]).ok();
    let again = play.xtask(&["etcd-up"]).ok();
    assert!(!again.stderr.contains("note: "), "{again:?}");
    // With the old data wiped there is nothing to take anywhere.
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-reset", "--yes"]).ok();
    play.up(&["--etcd", "3.5.27"]);
    let reset = play.xtask(&["etcd-reset", "--yes"]).ok();
    assert!(!reset.stderr.contains("note: "), "{reset:?}");
}

#[test]
fn versions_may_be_written_as_people_do() {
    let play = Playground::new();
    // Offline the newest 3.6 is the Cargo registry's, which has to be here for that.
    let _here = [etcd("3.5.27"), etcd("3.6.7")];
    for (version, line) in [("v3.5.27", "etcd 3.5.27 "), ("3.6", "etcd 3.6.7 "), ("v3.6", "etcd 3.6.7 ")] {
        let run = play.xtask(&["etcd-install", "--offline", version]).ok();
        assert!(run.stdout.starts_with(line), "{run:?}");
    }
    assert_eq!(play.up(&["--etcd", "v3.6.7"]).version.unwrap().to_string(), "3.6.7");
    play.xtask(&["etcd-up", "--etcd", "v3.6"]).ok();
}

#[test]
fn every_version_starts_stops_and_keeps_its_data() {
    for version in ["3.5.24", "3.6.7", "3.7.2"] {
        let play = Playground::new();
        put(&play.up(&["--etcd", version]), "dg==");
        play.xtask(&["etcd-down"]).ok();
        let again = play.up(&["--etcd", version]);
        assert_eq!(get(&again).as_deref(), Some("dg=="), "{version}");
        assert_eq!(again.version.unwrap().to_string(), version);
    }
    // 3.4 is an extra: Debian has it, the Cargo registry has not.
    let debian = std::path::Path::new("/usr/bin/etcd");
    if !debian.exists() {
        return skipped("etcd 3.4: this machine has none");
    }
    let play = Playground::new().with("ETCDBINPATH", debian);
    put(&play.up(&[]), "dg==");
    play.xtask(&["etcd-down"]).ok();
    assert_eq!(get(&play.up(&[])).as_deref(), Some("dg=="));
}
