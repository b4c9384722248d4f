//! Helpers that behave in all the ways that programs do.

#![cfg(unix)]

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Writes an executable shell script.
fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn env(&self) -> Env {
        Env::empty(self.0.path()).with("PATH", "/usr/bin:/bin").with("TOKEN", "a-secret").with("KEPT", "kept")
    }

    fn helper(&self, body: &str) -> Helper {
        Helper::at(script(self.0.path(), "helper", body), &self.env())
    }
}

#[test]
fn a_helper_sees_its_arguments_its_directory_and_just_the_given_variables() {
    let bench = Bench::new();
    let helper = bench.helper(r#"echo "$1|$2|$PWD|$TOKEN|$KEPT|$HOME|$MORE""#);
    let helper = helper.args(["one", "t w o"]).without_vars(|name| name == "TOKEN").var("MORE", "more");
    let output = helper.run(LONG).unwrap();
    let expected = format!("one|t w o|{}||kept||more\n", bench.0.path().canonicalize().unwrap().display());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn the_first_line_is_there_in_time_or_not_at_all() {
    let bench = Bench::new();
    let says = |name: &str, body: &str, timeout| {
        let program = script(bench.0.path(), name, body);
        first_line(program, &["--version"], bench.0.path(), &bench.env(), timeout)
    };
    let line = says("well", "echo \"$PWD $1\"; echo more", LONG);
    assert_eq!(line.unwrap(), format!("{} --version", bench.0.path().display()));
    assert_eq!(says("badly", "echo no; exit 1", LONG), None);
    assert_eq!(says("slowly", "echo slow; sleep 600", SHORT), None);
    assert_eq!(first_line("no-such-program", &[], bench.0.path(), &bench.env(), LONG), None);
}

#[test]
fn a_helper_has_no_input() {
    assert_eq!(Bench::new().helper("cat; echo over").run(LONG).unwrap().stdout, b"over\n");
}

#[test]
fn a_failure_carries_the_end_of_stderr_and_never_the_environment() {
    let body =
        "for i in 1 2 3 4 5 6 7 8 9; do echo \"line $i\" >&2; done; printf '\\033[31mred\\033[0m\\n' >&2; exit 7";
    let error = Bench::new().helper(body).args(["--flag"]).run(LONG).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("helper --flag` failed (exit status: 7): line 3\n"), "{text}");
    assert!(text.ends_with("line 9\n[31mred[0m") && !text.contains('\u{1b}'), "{text}");
    assert!(!format!("{error:?}").contains("a-secret"), "{error:?}");
}

#[test]
fn a_status_can_be_an_answer() {
    let output = Bench::new().helper("echo found; exit 1").output(LONG).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"found\n".as_slice()));
}

#[test]
fn what_is_not_there_and_what_does_not_start_differ() {
    let bench = Bench::new();
    let error = Helper::on_path("no-such-helper", &bench.env()).unwrap_err();
    assert_eq!(error.to_string(), "`no-such-helper` is not on PATH");
    let path = bench.0.path().join("text");
    std::fs::write(&path, "text").unwrap();
    assert!(matches!(Helper::at(path, &bench.env()).run(LONG), Err(CommandError::Start { .. })));
}

#[test]
fn only_the_path_that_is_handed_in_is_searched() {
    let bench = Bench::new();
    assert_eq!(on_path(&bench.env(), "sh").map(|path| path.ends_with("sh")), Some(true));
    assert_eq!(on_path(&bench.env().without("PATH"), "sh"), None);
    let mine = script(&bench.0.path().join("bin"), "sh", "");
    let env = bench.env().with("PATH", "bin:/usr/bin:/bin");
    assert_eq!(on_path(&env, "sh"), Some(mine));
}

#[test]
fn two_full_pipes_block_nobody() {
    let body = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero";
    assert_eq!(Bench::new().helper(body).run(LONG).unwrap().stdout.len(), 6_000_000);
}

#[test]
fn endless_output_is_cut_off() {
    let error = Bench::new().helper("exec cat /dev/zero").run(LONG).unwrap_err();
    assert!(matches!(error, CommandError::TooMuchOutput { .. }), "{error}");
}

#[test]
fn endless_output_to_stderr_is_neither_kept_nor_waited_for() {
    let error = Bench::new().helper("exec cat /dev/zero >&2").run(SHORT).unwrap_err();
    assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
}

#[test]
fn a_sink_that_fails_ends_the_helper() {
    let error = Bench::new()
        .helper("exec cat /dev/zero")
        .stream(LONG, u64::MAX, &mut |_| Err(io::ErrorKind::StorageFull.into()))
        .unwrap_err();
    let CommandError::Output { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_helper_that_closed_its_output_is_still_waited_for() {
    let output = Bench::new().helper("echo out; exec >&- 2>&-; sleep 0.2; exit 0").run(LONG).unwrap();
    assert_eq!(output.stdout, b"out\n");
}

/// Zombies, which only an init that reaps removes, count as gone.
#[cfg(target_os = "linux")]
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[cfg(target_os = "linux")]
fn dies(pid: &str) -> bool {
    let gone = || Ok::<_, ()>((!is_alive(pid)).then_some(()));
    wait::until(Deadline::after(LONG), gone).unwrap().is_some()
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_helper_is_killed_with_its_children() {
    let bench = Bench::new();
    let helper = bench.helper("sleep 300 & echo $! $$ > pids; trap '' TERM; echo more than three bytes; wait; wait");
    let error = helper.stream(LONG, 3, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, CommandError::TooMuchOutput { .. }), "{error}");
    let pids = std::fs::read_to_string(bench.0.path().join("pids")).unwrap();
    for pid in pids.split_whitespace() {
        assert!(dies(pid), "{pid} lives");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_grandchild_that_keeps_the_pipe_is_not_waited_for() {
    let bench = Bench::new();
    let output = bench.helper("sleep 300 & echo $! > pid; echo done").run(LONG).unwrap();
    assert_eq!(output.stdout, b"done\n");
    let pid = std::fs::read_to_string(bench.0.path().join("pid")).unwrap();
    assert!(is_alive(&pid), "it is not ours to kill");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[cfg(unix)]
#[test]
fn a_grandchild_that_complains_for_ever_is_not_waited_for() {
    // It ends when nobody reads any more.
    let bench = Bench::new();
    let output = bench.helper("(while echo no; do sleep 0.02; done) >&2 & echo done").run(LONG).unwrap();
    assert_eq!(output.stdout, b"done\n");
}

#[test]
fn a_program_that_is_still_open_for_writing_is_started_once_it_is_closed() {
    let bench = Bench::new();
    let helper = bench.helper("echo ran");
    let writer = std::fs::OpenOptions::new().append(true).open(bench.0.path().join("helper")).unwrap();
    let (sender, closed) = std::sync::mpsc::channel::<()>();
    let closing = std::thread::spawn(move || {
        let _ = closed.recv_timeout(Duration::from_millis(200));
        drop(writer);
    });
    assert_eq!(helper.run(LONG).unwrap().stdout, b"ran\n");
    drop(sender);
    closing.join().unwrap();
}

#[test]
fn a_command_line_is_readable() {
    let helper = Helper::at("/usr/bin/curl", &Env::empty("/")).args(["--url", "https://me:pw@host/x", "a b", ""]);
    assert_eq!(helper.line(), r#"/usr/bin/curl --url https://…@host/x "a b" """#);
}

proptest! {
    #[test]
    fn no_password_is_shown(user in "[a-z%@:]{0,8}", password in "[a-z@:%]{0,4}Secret[a-z@:%]{0,4}", rest in "[/?#][a-z@]{0,9}") {
        let shown = without_credentials(&format!("https://{user}:{password}@host{rest}"));
        prop_assert!(!shown.contains("Secret"), "{}", shown);
        let rest = if rest.starts_with('?') { "?…" } else { rest.as_str() };
        prop_assert_eq!(shown, format!("https://…@host{rest}"));
    }

    #[test]
    fn what_has_no_credentials_stays(text in "[a-z:/.?@]{0,30}") {
        prop_assume!(!text.contains("://") || !text.contains(['@', '?']));
        prop_assert_eq!(without_credentials(&text), text);
    }
}

#[test]
fn no_password_in_a_complaint_is_shown() {
    let text = "cannot get https://a:secret@one/x?token=secret proxy 'http://b:secret@two:1' is down\nfor me@host";
    let shown = "cannot get https://…@one/x?… proxy 'http://…@two:1' is down\nfor me@host";
    assert_eq!(without_credentials(text), shown);
}

#[test]
fn of_endless_complaints_only_the_end_is_kept() {
    let mut tail = Tail::default();
    for number in 0..10_000 {
        tail.push(format!("complaint {number}\n").as_bytes());
    }
    assert!(tail.0.len() <= Tail::BYTES && tail.text().ends_with("complaint 9999"));
}
