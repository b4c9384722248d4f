//! Kills, races, damage and ports that others take: whatever happened, the next command finds the truth and leaves nothing.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use etcd_local::State;
use rustix::process::{Pid, Signal, kill_process};

use crate::playground::{Playground, etcd, eventually, fake_etcd, finish, free_port, get, put, skipped};

/// How many rounds of each: few in the suite, `XTASK_TEST_ROUNDS` for more.
fn rounds(default: u64) -> u64 {
    std::env::var("XTASK_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

/// Well spread delays of 0 to `span` milliseconds, the same in each run of the suite.
fn delay(round: u64, span: u64) -> Duration {
    Duration::from_micros(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (span * 1000))
}

fn signal(child: &Child, signal: Signal) {
    let _ = kill_process(Pid::from_child(child), signal);
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn fifty_ups_at_once_start_one_server() {
    let play = Playground::new();
    let calls: Vec<_> = (0..50).map(|_| play.command(&["etcd-up", "--format", "json"]).spawn().unwrap()).collect();
    let mut pids = std::collections::BTreeSet::new();
    let mut started = 0;
    for call in calls {
        let output = call.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        started += usize::from(text.contains(r#""started":true"#));
        pids.insert(serde_json::from_str::<etcd_local::Status>(&text).unwrap().pids);
    }
    assert_eq!((pids.len(), started), (1, 1), "{pids:?}");
    assert_eq!(play.processes().len(), 1);
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn a_reset_during_an_up_and_downs_among_them() {
    let play = Playground::new();
    play.up(&[]);
    let lines: [&[&str]; 4] = [&["etcd-reset", "--yes"], &["etcd-up"], &["etcd-down"], &["etcd-up"]];
    for round in 0..rounds(3) {
        let calls: Vec<_> =
            (0..8).map(|call| play.command(lines[(call + round as usize) % 4]).spawn().unwrap()).collect();
        for call in calls {
            let output = call.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let up = play.up(&[]);
        assert_eq!(play.processes().len(), 1);
        assert_eq!(play.status().pids, up.pids);
    }
}

/// Kills one command at a random moment, and checks that the next ones find and leave the truth.
fn killed(line: &[&str], signal_sent: Signal, prepare: impl Fn(&Playground), count: u64) {
    let play = Playground::new();
    for round in 0..count {
        prepare(&play);
        let mut call = play.command(line).spawn().unwrap();
        std::thread::park_timeout(delay(round, 120));
        signal(&call, signal_sent);
        call.wait().unwrap();
        let up = play.up(&[]);
        assert_eq!(up.pids.len(), 1, "round {round}");
        assert_eq!(play.processes().len(), 1, "round {round}: {:#?}", play.processes());
        assert_eq!(play.status(), up_without_time(up, &play), "round {round}");
        play.xtask(&["etcd-down"]).ok();
        assert!(eventually(|| play.processes().is_empty()), "round {round}: {:#?}", play.processes());
        assert_eq!(play.status().state, State::Stopped);
    }
}

/// An adopted server's start was not timed; all else must agree.
fn up_without_time(up: etcd_local::Status, play: &Playground) -> etcd_local::Status {
    etcd_local::Status { ready_ms: play.status().ready_ms, ..up }
}

#[test]
fn an_up_that_is_killed() {
    killed(&["etcd-up"], Signal::KILL, |_| (), rounds(12));
}

#[test]
fn an_up_that_is_interrupted() {
    killed(&["etcd-up"], Signal::INT, |_| (), rounds(8));
}

#[test]
fn a_down_that_is_killed() {
    killed(&["etcd-down"], Signal::KILL, |play| drop(play.up(&[])), rounds(8));
}

#[test]
fn a_reset_that_is_killed() {
    killed(&["etcd-reset", "--yes"], Signal::KILL, |play| drop(play.up(&[])), rounds(10));
}

#[test]
fn a_reset_that_is_killed_leaves_no_half_wiped_data_behind() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    // As a kill between the rename and the deletion leaves it.
    let (data, wiped) = (play.path(".etcd/default/data"), play.path(".etcd/default/data.wiped-0123"));
    fs::rename(data, &wiped).unwrap();
    let bystander = play.path(".etcd/default/data.wiped-by-me");
    fs::create_dir(&bystander).unwrap();
    fs::write(bystander.join("precious"), "").unwrap();
    play.up(&[]);
    assert!(!wiped.exists() && bystander.join("precious").exists());
    // As a kill between the new start and the deletion leaves it.
    testkit::copy(&play.path(".etcd/default/data"), &wiped);
    play.xtask(&["etcd-down"]).ok();
    assert!(!wiped.exists() && play.path(".etcd/default/data").exists());
}

/// As etcd does when it was killed between making its log and committing to it that it is a member.
#[test]
#[cfg(target_os = "linux")] // /proc
fn data_that_etcd_was_killed_over_while_it_made_it_is_made_anew() {
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let (data, real) = (play.path(".etcd/default/data"), etcd("3.7.2"));
    let unfinished = data.join("unfinished");
    let fake = fake_etcd(
        &bin,
        &format!(
            "[ -e '{}' ] && echo '{}' >&2 && exec sleep 600\nexec '{}' \"$@\"",
            unfinished.display(),
            "{\"msg\":\"restarting local member\",\"commit-index\":0}\n{\"msg\":\"kvstore restored\",\"current-rev\":1}",
            real.display()
        ),
    );
    let args = ["--etcd", fake.to_str().unwrap()];
    play.up(&args);
    play.xtask(&["etcd-down"]).ok();
    fs::write(&unfinished, "").unwrap();
    let up = play.up(&args);
    assert!(!unfinished.exists() && get(&up).is_none());
    // One that lives is adopted only if it can ever be ready.
    play.xtask(&["etcd-down"]).ok();
    fs::write(&unfinished, "").unwrap();
    let mut call = play.command(&["etcd-up", "--etcd", args[1]]).spawn().unwrap();
    assert!(eventually(|| !play.processes().is_empty()));
    signal(&call, Signal::KILL);
    call.wait().unwrap();
    assert_eq!(play.up(&args).state, State::Ready);
    // Another's data is left as it is.
    play.xtask(&["etcd-down"]).ok();
    fs::remove_file(data.join(".etcd-local.json")).unwrap();
    fs::write(&unfinished, "").unwrap();
    play.xtask(&["etcd-up", "--etcd", args[1]]).fails(1, &["the data directory is incomplete"]);
    assert!(unfinished.exists());
}

#[test]
fn a_server_that_was_killed_is_started_again_with_its_data() {
    let play = Playground::new();
    let up = play.up(&[]);
    put(&up, "dg==");
    kill_process(Pid::from_raw(up.pids[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert!(eventually(|| play.status().state == State::Stopped));
    assert!(play.status().pids.is_empty());
    assert_eq!(get(&play.up(&[])).as_deref(), Some("dg=="));
}

#[test]
fn a_server_that_is_stopped_by_signal_is_waited_for_with_a_deadline() {
    let play = Playground::new();
    let up = play.up(&[]);
    let server = Pid::from_raw(up.pids[0].cast_signed()).unwrap();
    kill_process(server, Signal::STOP).unwrap();
    assert_eq!(play.status().state, State::Starting);
    // It cannot hear SIGTERM: after the grace it is killed.
    play.xtask(&["etcd-down"]).ok();
    assert!(play.processes().is_empty());
}

#[test]
fn records_that_are_damaged_while_the_server_runs() {
    let play = Playground::new();
    let mut up = play.up(&[]);
    let record = play.path(".etcd/default/instance.json");
    let good = fs::read_to_string(&record).unwrap();
    let half = &good[..good.len() / 2];
    for damage in ["", "\u{0}\u{1}", half, "[]", "{\"schema\":1}"] {
        fs::write(&record, damage).unwrap();
        assert_eq!(play.status().pids, up.pids, "{damage}");
        let again = play.up(&[]);
        assert_eq!(
            (again.pids, again.endpoints, again.cluster_id),
            (up.pids.clone(), up.endpoints.clone(), up.cluster_id)
        );
        // Others read nothing but the file.
        let rebuilt: etcd_local::Record = serde_json::from_slice(&fs::read(&record).unwrap()).expect(damage);
        assert_eq!((&rebuilt.pids, &rebuilt.endpoints, rebuilt.cluster_id), (&up.pids, &up.endpoints, up.cluster_id));
        fs::write(&record, damage).unwrap();
        play.xtask(&["etcd-down"]).ok();
        assert!(play.processes().is_empty(), "{damage}");
        up = play.up(&["--port", &crate::playground::port(&up).to_string(), "--peer-port", "auto"]);
    }
    let aside = fs::read_dir(play.path(".etcd/default")).unwrap().flatten();
    let aside: Vec<_> = aside.filter(|entry| entry.file_name().to_string_lossy().contains("damaged")).collect();
    assert!(!aside.is_empty(), "nothing that could not be read is deleted");
    assert!(play.xtask(&["doctor"]).stdout.contains("a damaged record was set aside"));
}

#[test]
fn an_up_with_other_settings_is_refused_also_when_the_record_is_damaged() {
    let play = Playground::new();
    let up = play.up(&[]);
    let record = play.path(".etcd/default/instance.json");
    let good = fs::read_to_string(&record).unwrap();
    fs::write(&record, "").unwrap();
    play.xtask(&["etcd-up", "--peer-port", "1"]).fails(1, &["already running with peer port", "not 1"]);
    // A forged record does not change what is asked of the server.
    let mut forged: serde_json::Value = serde_json::from_str(&good).unwrap();
    forged["peer_url"] = serde_json::json!("http://127.0.0.1:1");
    fs::write(&record, forged.to_string()).unwrap();
    play.xtask(&["etcd-up", "--peer-port", "1"]).fails(1, &["already running with peer port", "not 1"]);
    assert_eq!(play.status().pids, up.pids);
}

#[test]
fn a_reset_asks_for_the_data_that_a_server_has_whose_record_is_lost() {
    let play = Playground::new();
    let up = play.up(&["--data-dir", "dev"]);
    put(&up, "dg==");
    fs::remove_file(play.path(".etcd/default/instance.json")).unwrap();
    play.xtask(&["etcd-reset"]).fails(4, &["refused to delete", "dev"]);
    assert_eq!(get(&up).as_deref(), Some("dg=="));
    let run = play.xtask(&["etcd-reset", "--yes"]).ok();
    assert!(run.stdout.contains("wiped dev"), "{run:?}");
    assert_eq!((get(&play.status()), play.status().data_dir), (None, play.path("dev")));
}

#[test]
fn a_reset_that_finds_no_etcd_to_start_again_touches_nothing() {
    let play = Playground::new();
    let binary = play.path("etcd");
    fs::copy(etcd("3.7.2"), &binary).unwrap();
    let play = play.with("ETCDBINPATH", &binary);
    let up = play.up(&[]);
    put(&up, "dg==");
    fs::remove_file(&binary).unwrap();
    play.xtask(&["etcd-reset", "--yes"]).fails(2, &["does not name a working etcd"]);
    fake_etcd(play.dir.path(), "exit 1");
    fs::write(&binary, "#!/bin/sh\nexit 1\n").unwrap();
    play.xtask(&["etcd-reset", "--yes"]).fails(2, &["does not name a working etcd"]);
    assert_eq!((get(&up).as_deref(), play.status().pids), (Some("dg=="), up.pids.clone()));
    // Another version there is taken, as `etcd-up` would.
    fs::remove_file(&binary).unwrap();
    fs::copy(etcd("3.5.27"), &binary).unwrap();
    let reset = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status();
    assert_eq!((get(&reset), reset.version.unwrap().to_string()), (None, "3.5.27".to_owned()));
    assert_eq!(reset.endpoints, up.endpoints);
}

#[test]
fn a_record_that_names_somebody_elses_process() {
    let play = Playground::new();
    let up = play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let record = play.path(".etcd/default/instance.json");
    let mut forged: serde_json::Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    // A pid that was reused: same number, another start.
    forged["pids"] = serde_json::json!([bystander.id()]);
    forged["process"] = serde_json::json!({"pid": bystander.id(), "started": 1, "boot": "", "exe": up.binary});
    fs::write(&record, forged.to_string()).unwrap();
    assert_eq!(play.status().state, State::Stopped);
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-reset", "--yes"]).ok();
    play.up(&[]);
    fs::write(&record, forged.to_string()).unwrap();
    play.xtask(&["etcd-down"]).ok();
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander was killed");
    assert!(play.processes().is_empty());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn a_record_that_says_something_else_than_the_running_server() {
    let play = Playground::new();
    let up = play.up(&[]);
    let record = play.path(".etcd/default/instance.json");
    let good: serde_json::Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    for (field, forged) in [
        ("endpoints", serde_json::json!(["http://127.0.0.1:1"])),
        ("endpoints", serde_json::json!([])),
        ("peer_url", serde_json::json!("http://127.0.0.1:1")),
        ("data_dir", serde_json::json!(play.dir.path())),
        ("log", serde_json::json!("/dev/null")),
    ] {
        let mut record_now = good.clone();
        record_now[field] = forged;
        fs::write(&record, record_now.to_string()).unwrap();
        assert_eq!(play.status().state, State::Ready, "{field}");
        let again = play.up(&[]);
        assert_eq!(
            (again.endpoints, again.data_dir, again.log),
            (up.endpoints.clone(), up.data_dir.clone(), up.log.clone())
        );
        let rebuilt: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        assert_eq!(rebuilt[field], good[field]);
        play.xtask(&["etcd-down"]).ok();
        play.up(&["--port", &crate::playground::port(&up).to_string(), "--peer-port", "auto"]);
    }
}

#[test]
fn a_command_that_was_killed_while_it_wrote_leaves_no_scratch_file() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    let scratch = ["", "data/"].map(|dir| play.path(&format!(".etcd/default/{dir}.etcd-local-tmp-a1b2c3")));
    scratch.iter().for_each(|path| fs::write(path, "hal").unwrap());
    play.up(&[]);
    assert!(!scratch.iter().any(|path| path.exists()));
}

#[test]
fn an_etcd_that_never_gets_ready_is_ended() {
    use etcd_local::{Builder, Env, LaunchError, Port, Settings, StartError};

    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let fake = fake_etcd(&bin, "exec sleep 600");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", crate::playground::shared_cache());
    let builder = Builder::with_settings(env, play.dir.path(), Settings::default());
    let builder =
        builder.port(Port::Auto).etcd(etcd_local::binary::Wanted::At(fake)).start_timeout(Duration::from_millis(300));
    let error = builder.instance("default").unwrap().up().unwrap_err();
    assert!(matches!(error, StartError::Launch(LaunchError::NotReady { .. })), "{error}");
    assert_eq!(play.status().state, State::Stopped);
}

/// As where `/proc` is not mounted: a server that nobody can tell from other processes cannot be stopped later.
#[test]
fn a_server_that_cannot_be_recognised_does_not_stay() {
    let play = Playground::new();
    let line = "umount -l /proc && exec \"$0\" etcd-up";
    let command = play.command::<&str>(&[]);
    let mut blind = std::process::Command::new("unshare");
    blind.args(["--mount", "sh", "-c", line, env!("CARGO_BIN_EXE_xtask")]).current_dir(play.dir.path()).env_clear();
    let vars = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    blind.envs(vars).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    blind.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = finish(blind);
    if run.stderr.contains("unshare") || run.stderr.contains("umount") {
        return skipped(run.stderr.trim());
    }
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(eventually(|| play.processes().is_empty()), "{run:?} left {:#?}", play.processes());
}

/// The port is taken between our look and etcd's, by somebody who accepts and never says a word.
#[test]
fn a_port_that_is_snatched_away_by_somebody_silent_is_noticed_at_once() {
    use std::net::TcpListener;

    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let complaint = r#"{"level":"fatal","msg":"discovery failed","error":"listen: bind: address already in use"}"#;
    let (go, gone) = (play.path("go"), play.path("gone"));
    let body = format!(
        "touch '{}'; while [ ! -e '{}' ]; do sleep 0.01; done; sleep 0.1; echo '{complaint}' >&2; exit 1",
        go.display(),
        gone.display()
    );
    let fake = fake_etcd(&bin, &body);
    let (client, peer) = (free_port(), free_port());
    let ports = [client, peer].map(|port| port.to_string());
    let args = ["etcd-up", "--etcd", fake.to_str().unwrap(), "--port", &ports[0], "--peer-port", &ports[1]];
    let call = play.command(&args).spawn().unwrap();
    assert!(eventually(|| go.exists()));
    let silent = [client, peer].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    fs::write(&gone, "").unwrap();
    let output = call.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("client port {client} is taken by pid {}", std::process::id())), "{stderr}");
    drop(silent);
}

#[test]
fn a_foreground_server_ends_with_ctrl_c_and_with_its_killed_owner() {
    let play = Playground::new();
    for (sent, code) in [(Signal::INT, Some(0)), (Signal::TERM, Some(0)), (Signal::KILL, None)] {
        let mut command = play.command(&["etcd-up", "--foreground"]);
        command.process_group(0).stderr(Stdio::null());
        let mut call = command.spawn().unwrap();
        // Others see that the server is ready a moment before the command does, whose start an interrupt would end.
        let ready = BufReader::new(call.stdout.as_mut().unwrap()).lines().next().unwrap().unwrap();
        assert!(ready.contains("is ready"), "{ready}");
        assert_eq!(play.status().state, State::Ready);
        signal(&call, sent);
        assert_eq!(call.wait().unwrap().code(), code);
        assert!(eventually(|| play.processes().is_empty()), "{sent:?}: {:#?}", play.processes());
        assert_eq!(play.status().state, State::Stopped);
    }
}

#[test]
fn a_foreground_server_that_ends_by_itself_is_reported() {
    let play = Playground::new();
    let call = play.command(&["etcd-up", "--foreground"]).spawn().unwrap();
    assert!(eventually(|| play.status().state == State::Ready));
    let server = Pid::from_raw(play.status().pids[0].cast_signed()).unwrap();
    kill_process(server, Signal::KILL).unwrap();
    let output = call.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ended by itself"));
}

#[test]
fn output_into_a_closed_pipe_is_no_error() {
    let play = Playground::new();
    play.up(&[]);
    let mut shell = std::process::Command::new("sh");
    let exe = env!("CARGO_BIN_EXE_xtask");
    shell.arg("-c").arg(format!("for n in 1 2 3 4 5 6 7 8 9; do '{exe}' etcd-logs; done | head -n 1"));
    shell
        .current_dir(play.dir.path())
        .env("CARGO_MANIFEST_DIR", play.dir.path())
        .env("PROTOC", crate::playground::TRUE);
    let run = finish(crate::bad_input::quiet(shell)).ok();
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(run.stderr.is_empty(), "{run:?}");
}

#[test]
fn the_answer_can_be_captured_while_the_server_lives_on() {
    // A server that kept our stdout open would make `$(cargo xtask etcd-up)` wait for ever.
    let play = Playground::new();
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("echo \"$('{}' etcd-up 2>&1)\"", env!("CARGO_BIN_EXE_xtask")));
    shell
        .current_dir(play.dir.path())
        .env("CARGO_MANIFEST_DIR", play.dir.path())
        .env("PROTOC", crate::playground::TRUE);
    shell.env("ETCD_LOCAL_CACHE", crate::playground::shared_cache());
    assert!(finish(crate::bad_input::quiet(shell)).ok().stdout.contains("is ready"));
}
