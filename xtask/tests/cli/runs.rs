//! `cargo xtask run` and the runs that it makes: what a command inside is given, and what is left of it, whoever is
//! killed when.

mod escapes;
mod keepers;
#[cfg(target_os = "linux")] // /proc
pub(crate) mod killed;
mod leaks;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::playground::{Playground, Run, build_console, eventually, fake_etcd, finish, skipped};

/// What a command inside a run was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Given {
    endpoints: String,
    prefix: String,
    run: String,
}

/// A script that shows what it was given, and goes on when it is told to.
const SCRIPT: &str = r#"echo "$ETCD_ENDPOINTS $ETCD_TEST_PREFIX $ETCD_TEST_RUN" > "$0.tmp"
mv "$0.tmp" "$0.given"
while [ ! -e "$0.go" ]; do sleep 0.02; done
exit "$(cat "$0.go")""#;

/// `cargo xtask run` of such a script.
struct Running<'a> {
    play: &'a Playground,
    name: &'static str,
    child: Child,
    given: Given,
}

impl<'a> Running<'a> {
    fn start(play: &'a Playground, name: &'static str, args: &[&str]) -> Self {
        Self::start_as(play, name, args, |command| command)
    }

    fn start_as(
        play: &'a Playground,
        name: &'static str,
        args: &[&str],
        adjust: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        build_console();
        let path = play.path(name);
        let script = path.to_str().unwrap();
        let line: Vec<&str> = [&["run"], args, &["--", "sh", "-c", SCRIPT, script]].concat();
        let mut command = play.command(&line);
        let child = adjust(&mut command).spawn().unwrap();
        let read = || fs::read_to_string(path.with_extension("given"));
        let mut this = Self { play, name, child, given: Given::default() };
        if !eventually(|| read().is_ok() || this.child.try_wait().unwrap().is_some()) || read().is_err() {
            panic!("it did not start: {:?}", finish_child(this.child));
        }
        let text = read().unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let [endpoints, prefix, run] = words[..] else { panic!("{text}") };
        this.given = Given { endpoints: endpoints.into(), prefix: prefix.into(), run: run.into() };
        this
    }

    fn go(&self, code: u8) {
        fs::write(self.play.path(self.name).with_extension("go.tmp"), code.to_string()).unwrap();
        let path = self.play.path(self.name);
        fs::rename(path.with_extension("go.tmp"), path.with_extension("go")).unwrap();
    }

    fn end(self, code: u8) -> Run {
        self.go(code);
        finish_child(self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The keeper's pid.
    #[cfg(target_os = "linux")] // /proc
    fn keeper(&self) -> Option<Pid> {
        let lines = self.play.processes();
        let line = lines.iter().find(|line| line.contains(" keep ") && line.contains("etcd-console"))?;
        Pid::from_raw(line.split(' ').next()?.parse().ok()?)
    }
}

/// A terminal, for as long as the first is there, and its other side, for a stdin. It is the terminal of nobody's
/// session: what it would send to all that runs in it, a test does.
pub(crate) fn terminal() -> (OwnedFd, Stdio) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (ours, fs::File::options().read(true).write(true).open(theirs).unwrap().into())
}

pub(crate) fn finish_child(child: Child) -> Run {
    let pid = Pid::from_child(&child);
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let killer = std::thread::spawn(move || {
        if ended.recv_timeout(testkit::TIMEOUT).is_err() {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    killer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Speaks to etcd's JSON gateway; `path` like `kv/put`.
fn call(endpoints: &str, path: &str, body: &serde_json::Value) -> Option<serde_json::Value> {
    let url = format!("{endpoints}/v3/{path}");
    let answer = minreq::post(url).with_body(body.to_string()).with_timeout(10).send().ok()?;
    serde_json::from_str(answer.as_str().ok()?).ok()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn put(endpoints: &str, key: &str) {
    call(endpoints, "kv/put", &serde_json::json!({"key": base64(key), "value": base64("x")})).unwrap();
}

/// How many keys are under a prefix that ends in a slash.
fn count(endpoints: &str, prefix: &str) -> u64 {
    let end = format!("{}0", prefix.strip_suffix('/').unwrap()); // the character after the slash
    let body = serde_json::json!({"key": base64(prefix), "range_end": base64(&end), "count_only": true});
    let answer = call(endpoints, "kv/range", &body).unwrap();
    answer.get("count").map_or(0, |count| count.as_str().unwrap().parse().unwrap())
}

fn write_keys(given: &Given, keys: u32) {
    (0..keys).for_each(|key| put(&given.endpoints, &format!("{}a/{key}", given.prefix)));
}

#[test]
fn a_command_has_a_place_of_its_own_that_is_swept() {
    let play = Playground::new();
    let up = play.up(&[]);
    let canary = "/Inventory/v1/racks/1";
    put(&up.endpoints[0], canary);
    let running = Running::start(&play, "a", &[]);
    let given = running.given.clone();
    assert_eq!(given.endpoints, up.endpoints[0]);
    assert_eq!(given.prefix, format!("/Inventory/v1/Test/{}/", given.run));
    write_keys(&given, 7);
    let run = running.end(0).ok();
    assert!(run.stderr.contains("7 keys swept") && run.stderr.contains(&given.run), "{run:#?}");
    assert_eq!(count(&given.endpoints, "/Inventory/v1/Test/"), 0, "the record and the index are gone, too");
    assert_eq!(count(&given.endpoints, "/Inventory/v1/"), 1, "the rest is not");
    assert_eq!(play.status().pids, up.pids);
    assert_eq!(fs::read_dir(play.path(".etcd/.runs")).unwrap().count(), 0, "no lock stays");
}

#[test]
fn its_exit_code_is_ours_and_a_failure_says_where_to_look() {
    let play = Playground::new();
    let run = Running::start(&play, "a", &[]).end(7);
    assert_eq!(run.code, Some(7), "{run:#?}");
    assert!(run.stderr.contains("the command failed with exit code 7 in "), "{run:#?}");
    assert!(run.stderr.contains("log: .etcd/last-failure.log"), "{run:#?}");
    assert!(fs::read_to_string(play.path(".etcd/last-failure.log")).unwrap().contains("etcd"));
    assert!(play.processes().is_empty(), "{:#?}", play.processes());
    play.up(&[]);
    let run = Running::start(&play, "b", &[]).end(3);
    assert!(run.code == Some(3) && run.stderr.contains("log: .etcd/default/etcd.log"), "{run:#?}");
    let run = play.xtask(&["run", "sh", "-c", "kill -9 $$"]);
    let words = "the command failed with exit code 137, as after signal 9 in ";
    assert!(run.code == Some(137) && run.stderr.contains(words), "{run:#?}");
}

/// More than Linux takes in one argument: the keeper is told the beginning.
#[test]
fn a_command_may_be_as_long_as_the_system_takes() {
    let play = Playground::new();
    build_console();
    play.up(&[]);
    let words = ["run", "--keep", "--", "echo", "é"].map(str::to_owned).into_iter();
    let line: Vec<String> = words.chain((1..=30_000).map(|n| n.to_string())).collect();
    let run = play.xtask(&line).ok();
    assert!(run.stdout.ends_with(" 29999 30000\n"), "{} bytes", run.stdout.len());
    let runs = play.xtask(&["runs"]).ok().stdout;
    assert!(runs.contains("echo é 1 2 3 ") && runs.contains('…') && !runs.contains("30000"), "{runs}");
}

#[test]
fn a_command_needs_no_dashes_before_it() {
    build_console();
    let play = Playground::new();
    play.up(&[]);
    for (args, words) in [
        (&["echo", "a", "--", "-b"][..], "a -- -b"),
        (&["--", "echo", "a", "--", "-b"], "a -- -b"),
        (&["--keep", "echo", "--keep", "-q"], "--keep -q"),
    ] {
        assert_eq!(play.xtask(&[&["run"], args].concat()).ok().stdout.trim(), words);
    }
    // No option is taken for a command.
    let run = play.xtask(&["run", "--instanse", "a", "--", "echo"]);
    assert!(run.code == Some(2) && run.stderr.contains("'--instance'"), "{run:?}");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_starts() {
    let play = Playground::new();
    play.xtask(&["run", "--", "no-such-program"]).fails(2, &["no program `no-such-program`"]);
    play.xtask(&["run", "--keep", "--", "true"]).fails(3, &["no etcd is running that can keep the keys of the run"]);
    let run = play.xtask(&["run", "--endpoints", "127.0.0.1:1", "--", "true"]);
    run.fails(3, &["no etcd answers", "127.0.0.1:1"]);
    let both = ["run", "--instance", "a", "--endpoints", "127.0.0.1:1", "--", "true"];
    for line in [&["run"][..], &["run", "--keep", "--ephemeral", "--", "true"], &both] {
        assert_eq!(play.xtask(line).code, Some(2));
    }
    play.configure("port = \"auto\"\ntest-root = \"..\"");
    play.xtask(&["run", "--", "true"]).fails(2, &["test-root", "not one segment below"]);
    assert!(!play.path(".etcd/.runs").exists());
}

/// In a network of its own, whose only port for whoever asks for any is not enough for a server's two.
#[test]
#[cfg(target_os = "linux")] // /proc
fn where_no_port_is_free_nothing_is_started() {
    const ONE_PORT: &str = "echo 40000 40000 > /proc/sys/net/ipv4/ip_local_port_range || exit 77; exec \"$@\"";
    let with_one_port = |inner: &Command| {
        let mut outer = Command::new("unshare");
        outer.args(["--net", "--", "sh", "-c", ONE_PORT, "sh"]).arg(inner.get_program()).args(inner.get_args());
        outer.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer.current_dir(inner.get_current_dir().unwrap());
        outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        outer
    };
    build_console();
    crate::playground::etcd("3.7.2");
    let play = Playground::new();
    if finish(with_one_port(&play.command(&["--version"]))).code != Some(0) {
        return skipped("only root may have such a network");
    }
    let run = finish(with_one_port(&play.command(&["run", "--ephemeral", "--", "true"])));
    run.fails(1, &["127.0.0.1"]);
    assert!(play.processes().is_empty() && fs::read_dir(play.path("tmp")).unwrap().count() == 0);
}

#[test]
fn a_run_may_have_a_cluster_of_its_own() {
    build_console();
    crate::playground::etcd("3.7.2");
    let play = Playground::new();
    let script = "echo $ETCD_ENDPOINTS; \"$@\" put ${ETCD_TEST_PREFIX}a 1 && \"$@\" member list";
    let xtask = play.command(&["run", "--members", "3", "--", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_xtask")]);
    let run = finish(xtask).ok();
    assert!(run.stderr.contains("an ephemeral etcd 3.7.2 of 3 members at http://"), "{run:?}");
    assert_eq!(run.stdout.lines().next().unwrap().split(',').count(), 3, "{run:?}");
    assert_eq!(run.stdout.matches("started").count(), 3, "{run:?}");
    assert!(play.processes().is_empty() && fs::read_dir(play.path("tmp")).unwrap().count() == 0);
    for (args, words) in
        [(&["2"][..], "[possible values: 1, 3, 5, 7]"), (&["3", "--endpoints", "http://127.0.0.1:1"], "cannot be")]
    {
        let refused = play.xtask(&[&["run", "--members"], args, &["--", "true"]].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(words), "{refused:?}");
    }
}

/// What an ephemeral server leaves behind when it never gets ready is one error.
#[test]
fn an_ephemeral_etcd_that_does_not_start_says_why() {
    build_console();
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let run = |body: &str| {
        let fake = fake_etcd(&bin, body);
        play.xtask(&["run", "--etcd", fake.to_str().unwrap(), "--", "true"])
    };
    let spoken = run("for n in $(seq 30); do echo \"word $n\" >&2; done; exit 1");
    let spoken = spoken.fails(1, &["word 11\n", "word 30\n", "`cargo xtask etcd-up` starts an etcd whose log is kept"]);
    let taken = r#"{"level":"fatal","msg":"discovery failed","error":"listen: bind: address already in use"}"#;
    let taken = run(&format!("echo '{taken}' >&2; exit 1"))
        .fails(1, &["other programs took all ports that were tried", "try again"]);
    for run in [spoken, taken] {
        for wrong in ["word 10\n", "etcd-logs", "--port auto", "log: "] {
            assert!(!run.stderr.contains(wrong), "{wrong}: {run:#?}");
        }
    }
    assert_eq!(fs::read_dir(play.path("tmp")).unwrap().count(), 0);
    let play = Playground::new();
    let play = {
        let missing = play.path("missing");
        play.with("TMPDIR", missing)
    };
    play.xtask(&["run", "--ephemeral", "--", "true"]).fails(1, &["cannot create a directory in", "missing", "TMPDIR"]);
}

/// As after `eval "$(cargo xtask env)"`.
#[test]
fn an_instance_that_a_flag_names_beats_the_environment() {
    let play = Playground::new();
    let (default, scratch) = (play.up(&[]), play.up(&["--instance", "scratch"]));
    let play = play.with("ETCD_ENDPOINTS", &default.endpoints[0]);
    for (args, status) in [(&[][..], &default), (&["--instance", "scratch"], &scratch)] {
        let running = Running::start(&play, if args.is_empty() { "a" } else { "b" }, args);
        assert_eq!(running.given.endpoints, status.endpoints[0]);
        running.end(0).ok();
    }
}

#[test]
fn an_instance_that_a_flag_names_is_not_replaced_by_an_ephemeral_etcd() {
    build_console();
    let play = Playground::new();
    let run = |args: &[&str]| play.xtask(&[&["run"], args, &["--", "touch", "ran"]].concat());
    let words = ["etcd `nope` is not running", "`cargo xtask etcd-up --instance nope` starts it; `--ephemeral`"];
    run(&["--instance", "nope"]).fails(3, &words);
    run(&["--instance", "nope", "--keep"]).fails(3, &words);
    assert!(!play.path("ran").exists());
    run(&["--instance", "nope", "--ephemeral"]).ok();
    assert!(play.path("ran").exists());
}

#[test]
fn kept_keys_stay_until_they_are_cleaned() {
    let play = Playground::new();
    play.up(&[]);
    let running = Running::start(&play, "a", &["--keep"]);
    let given = running.given.clone();
    write_keys(&given, 3);
    let run = running.end(0).ok();
    assert!(run.stderr.contains(&format!("get {} --prefix", given.prefix)), "{run:#?}");
    Running::start(&play, "b", &[]).end(0).ok();
    assert_eq!(count(&given.endpoints, &format!("{}a/", given.prefix)), 3, "the next run leaves them alone");
    let listed = play.xtask(&["runs"]).ok();
    assert!(listed.stdout.contains(&given.run) && listed.stdout.contains("kept"), "{listed:#?}");
    play.xtask(&["test-clean", "--run", &given.run]).ok();
    assert_eq!(count(&given.endpoints, "/Inventory/v1/Test/"), 0);
}

#[test]
fn keys_of_a_run_that_failed_stay_if_they_are_wanted_and_those_of_others_go() {
    let play = Playground::new();
    play.xtask(&["run", "--keep-failed", "--", "true"])
        .fails(3, &["no etcd is running that can keep the keys of the run"]);
    play.up(&[]);
    let failed = Running::start(&play, "a", &["--keep-failed"]);
    let given = failed.given.clone();
    write_keys(&given, 3);
    let run = failed.end(7);
    assert_eq!(run.code, Some(7));
    for words in [format!("get {} --prefix", given.prefix), format!("test-clean --run {}", given.run)] {
        assert!(run.stderr.contains(&words), "{run:#?}");
    }
    let passed = Running::start(&play, "b", &["--keep-failed"]);
    write_keys(&passed.given, 2);
    assert!(passed.end(0).ok().stderr.contains("2 keys swept"));
    assert_eq!(count(&given.endpoints, &format!("{}a/", given.prefix)), 3, "the next run leaves them alone");
    let listed = play.xtask(&["runs"]).ok().stdout;
    assert!(listed.contains(&given.run) && listed.contains("kept"), "{listed}");
}

#[test]
fn two_at_once_do_not_meet() {
    let play = Playground::new();
    play.up(&[]);
    let (one, other) = (Running::start(&play, "a", &[]), Running::start(&play, "b", &[]));
    assert_ne!(one.given.prefix, other.given.prefix);
    write_keys(&one.given, 2);
    write_keys(&other.given, 3);
    let given = other.given.clone();
    assert!(one.end(0).ok().stderr.contains("2 keys swept"));
    assert_eq!(count(&given.endpoints, &format!("{}a/", given.prefix)), 3);
    assert!(other.end(0).ok().stderr.contains("3 keys swept"));
}

/// Ctrl-C as a terminal sends it: to us and to the command.
#[test]
fn an_interrupt_ends_the_command_and_sweeps() {
    let play = Playground::new();
    play.up(&[]);
    for signal in [Signal::INT, Signal::TERM] {
        let name = if signal == Signal::INT { "a" } else { "b" };
        let running = Running::start(&play, name, &[]);
        let given = running.given.clone();
        write_keys(&given, 2);
        running.signal(signal);
        let run = finish_child(running.child);
        assert_eq!(run.code, Some(130), "{run:#?}");
        assert!(run.stderr.contains("2 keys swept"), "{run:#?}");
        assert!(eventually(|| play.processes().iter().all(|line| !line.contains(SCRIPT))), "the command goes, too");
        assert_eq!(count(&given.endpoints, "/Inventory/v1/Test/"), 0);
    }
}

/// The second one does not wait for a command that will not end; the keeper sweeps alone.
#[test]
#[cfg(target_os = "linux")] // /proc
fn a_second_interrupt_ends_us_at_once() {
    let play = Playground::new();
    play.up(&[]);
    build_console();
    let path = play.path("deaf");
    let script = format!("trap '' INT TERM\n{SCRIPT}");
    let mut command = play.command(&["run", "--", "sh", "-c", &script, path.to_str().unwrap()]);
    let mut child = command.spawn().unwrap();
    assert!(eventually(|| path.with_extension("given").exists()));
    let text = fs::read_to_string(path.with_extension("given")).unwrap();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let given = Given { endpoints: words[0].clone(), prefix: words[1].clone(), run: words[2].clone() };
    write_keys(&given, 2);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    assert!(eventually(|| interrupted(pid)));
    kill_process(pid, Signal::INT).unwrap();
    // Not its output: the command has that, too, and lives.
    assert!(eventually(|| child.try_wait().unwrap().is_some_and(|status| status.code() == Some(130))));
    assert!(eventually(|| count(&given.endpoints, "/Inventory/v1/Test/") == 0));
    fs::write(path.with_extension("go"), "0").unwrap();
}

#[test]
fn an_interrupt_while_an_etcd_is_brought_ends_it_at_once() {
    build_console();
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let fake = fake_etcd(&bin, &format!("touch '{}'; exec sleep 600", play.path("started").display()));
    let (_terminal, stdin) = terminal();
    let mut command = play.command(&["run", "--etcd", fake.to_str().unwrap(), "--", "touch", "ran"]);
    let child = command.stdin(stdin).process_group(0).spawn().unwrap();
    assert!(eventually(|| play.path("started").exists()));
    kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
    let run = finish_child(child);
    assert_eq!((run.code, run.stderr.as_str(), play.path("ran").exists()), (Some(130), "", false), "{run:#?}");
    assert!(eventually(|| fs::read_dir(play.path("tmp")).unwrap().count() == 0), "nothing temporary stays");
}

/// Whether a process has seen the signal that it was sent: it is not pending any more, and no thread is still at work on it.
#[cfg(target_os = "linux")] // /proc
fn interrupted(pid: Pid) -> bool {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let pending = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim() == "0000000000000000";
    // What the handler has written, another thread reads: whoever is at it does not sleep.
    let threads = fs::read_dir(format!("{process}/task")).unwrap();
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    pending("ShdPnd:")
        && pending("SigPnd:")
        && stats.into_iter().all(|stat| stat.rsplit(')').next().unwrap().starts_with(" S"))
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn an_etcd_that_dies_is_told_with_the_end_of_its_log() {
    let play = Playground::new();
    let running = Running::start(&play, "a", &[]);
    let lines = play.processes();
    let etcd = lines.iter().find(|line| line.contains("etcd-ephemeral-") && line.contains("--data-dir")).unwrap();
    let pid = Pid::from_raw(etcd.split(' ').next().unwrap().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let run = running.end(9);
    assert_eq!(run.code, Some(9), "{run:#?}");
    for words in ["warning: an ephemeral etcd 3.7.2", "has ended; the end of its log:", "ready to serve"] {
        assert!(run.stderr.contains(words), "`{words}` is missing: {run:#?}");
    }
    assert!(play.processes().is_empty(), "{:#?}", play.processes());
}

#[test]
fn a_run_that_somebody_removes_fails() {
    let play = Playground::new();
    play.up(&[]);
    let running = Running::start(&play, "a", &[]);
    let given = running.given.clone();
    play.xtask(&["test-clean"]).ok();
    assert!(count(&given.endpoints, &given.prefix) > 0, "a live run is left alone");
    play.xtask(&["test-clean", "--all"]).fails(4, &["it cannot ask"]);
    play.xtask(&["test-clean", "--all", "--yes"]).ok();
    assert_eq!(count(&given.endpoints, "/Inventory/v1/Test/"), 0);
    let run = running.end(0);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(run.stderr.contains("another process deleted this run's keys"), "{run:#?}");
    assert!(finish(play.command(&["runs"])).ok().stdout.contains("no runs"));
}
