//! Fenced runs: on a cluster with users, a run's processes connect as a user of the run's own, who can use the run's keys and
//! nothing else. Here: what such a process can do to others, and what killed runs leave.

mod hostile;

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use etcd_local::Ephemeral;
use serde_json::{Value, json};
use testkit::Etcd;

use crate::keys::play;
use crate::playground::{Playground, eventually};
use crate::runs::finish_child;

/// How many runs are killed, unless the variable says otherwise: 50 take more than a minute on a busy machine.
const KILLED: usize = 10;
const KILLED_VARIABLE: &str = "XTASK_TEST_KILLED_RUNS";

/// Shows the variables that it was given, and goes on when it is told to.
const SCRIPT: &str =
    "env | grep ^ETCD > \"$0.tmp\"; mv \"$0.tmp\" \"$0.given\"; while [ ! -e \"$0.go\" ]; do sleep 0.02; done";

/// A cluster with users: `root`, and `guest`, who can use the test root but cannot create users.
struct Cluster {
    server: Ephemeral,
    root: String,
    play: Playground,
}

impl Cluster {
    fn start(etcd: Etcd) -> Self {
        // Cheap passwords: nobody attacks these.
        let server = etcd.alone(&["--bcrypt-cost", "4"]);
        let mut cluster = Self { server, root: String::new(), play: play() };
        let call = |path: &str, body: Value| cluster.ask("", path, &body).unwrap();
        call("auth/user/add", json!({ "name": "root", "password": "root" }));
        call("auth/user/grant", json!({ "user": "root", "role": "root" }));
        call("auth/user/add", json!({ "name": "guest", "password": "guest" }));
        call("auth/role/add", json!({ "name": "guest" }));
        let test_root = json!({ "permType": "READWRITE", "key": base64("/Inventory/v1/Test/"), "range_end": base64("/Inventory/v1/Test0") });
        call("auth/role/grant", json!({ "name": "guest", "perm": test_root }));
        call("auth/user/grant", json!({ "user": "guest", "role": "guest" }));
        call("auth/enable", json!({}));
        cluster.root = cluster.token("root", "root");
        for user in ["root", "guest"] {
            fs::write(cluster.play.path(user), user).unwrap();
        }
        cluster
    }

    fn url(&self) -> String {
        self.server.endpoints().remove(0)
    }

    fn token(&self, user: &str, password: &str) -> String {
        let answer = self.ask("", "auth/authenticate", &json!({ "name": user, "password": password })).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Asks the JSON gateway as the user of a token. The error is etcd's message.
    fn ask(&self, token: &str, path: &str, body: &Value) -> Result<Value, String> {
        let request = minreq::post(format!("{}/v3/{path}", self.url())).with_timeout(20);
        let request = if token.is_empty() { request } else { request.with_header("Authorization", token) };
        let answer = request.with_body(body.to_string()).send().unwrap();
        let text = answer.as_str().unwrap();
        // Of a stream, the first answer.
        let first = text.lines().next().unwrap_or_default();
        match answer.status_code {
            200 if !first.starts_with("{\"error\"") => Ok(serde_json::from_str(first).unwrap()),
            _ => Err(text.to_owned()),
        }
    }

    /// The users and roles that there are beside those of [`Cluster::start`].
    fn users_and_roles(&self) -> Vec<String> {
        let ask = |path: &str, key: &str| {
            let answer = self.ask(&self.root, path, &json!({})).unwrap();
            answer[key].as_array().cloned().unwrap_or_default()
        };
        let all = [ask("auth/user/list", "users"), ask("auth/role/list", "roles")].concat();
        let names = all.iter().map(|name| name.as_str().unwrap().to_owned());
        names.filter(|name| !["root", "guest"].contains(&name.as_str())).collect()
    }

    /// `xtask COMMAND` as a user.
    fn line<'a>(&self, user: &'a str, command: &[&'a str]) -> Vec<String> {
        let (url, file) = (self.url(), self.play.path(user));
        let (name, rest) = command.split_first().unwrap();
        let cluster = ["--endpoints", &url, "--user", user, "--password-file", file.to_str().unwrap()];
        [&[*name], &cluster[..], rest].concat().into_iter().map(str::to_owned).collect()
    }

    fn run(&self, user: &str, args: &[&str]) -> Running<'_> {
        let script = self.play.path(&format!("script-{user}"));
        for ending in ["given", "go"] {
            drop(fs::remove_file(script.with_extension(ending)));
        }
        let command = [&["run"], args, &["--", "sh", "-c", SCRIPT, script.to_str().unwrap()]].concat();
        let child = self.play.command(&self.line(user, &command)).spawn().unwrap();
        Running { cluster: self, child, script }
    }
}

/// A run whose command waits.
struct Running<'a> {
    cluster: &'a Cluster,
    child: Child,
    script: PathBuf,
}

impl Running<'_> {
    /// What the command was given.
    fn given(&self) -> Given {
        let read = || fs::read_to_string(self.script.with_extension("given"));
        assert!(eventually(|| read().is_ok()), "the command was not started");
        Given(read().unwrap())
    }

    fn end(self) -> testkit::Run {
        fs::write(self.script.with_extension("go"), "").unwrap();
        finish_child(self.child)
    }

    /// Kills the runner, the keeper and the command at once.
    fn kill(mut self) {
        let kill_all = || {
            let processes = self.cluster.play.processes();
            let mut kill = std::process::Command::new("kill");
            kill.arg("-KILL").args(processes.iter().filter_map(|line| line.split(' ').next()));
            drop(kill.stderr(std::process::Stdio::null()).status());
            processes.is_empty()
        };
        kill_all();
        self.child.wait().unwrap();
        // The runner may have started one more in the moment of its end.
        assert!(eventually(kill_all));
    }
}

struct Given(String);

impl Given {
    fn get(&self, name: &str) -> &str {
        let value = |line: &'_ str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let line = self.0.lines().find(|line| value(line)).unwrap_or_else(|| panic!("{name}: {}", self.0));
        line.split_once('=').unwrap().1
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | u32::from(chunk.get(n).copied().unwrap_or(0)));
        (0..4)
            .map(|n| if n <= chunk.len() { DIGITS[(bits >> (18 - 6 * n) & 63) as usize] as char } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(digits).collect()
}

#[test]
fn a_run_has_a_user_of_its_own_until_it_ends() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let cluster = Cluster::start(etcd);
        for args in [&[][..], &["--fence", "--keep"]] {
            let run = cluster.run("root", args);
            let given = run.given();
            let user = given.get("ETCDCTL_USER").to_owned();
            assert_eq!(user, format!("test-run-{}", given.get("ETCD_TEST_RUN")));
            assert_eq!(cluster.users_and_roles(), [user.clone(), user.clone()]);
            let mut own = cluster.play.command(&["put", &format!("{}key", given.get("ETCD_TEST_PREFIX")), "1"]);
            own.envs(given.0.lines().filter_map(|line| line.split_once('=')));
            testkit::finish(own).ok();
            let mut foreign = cluster.play.command(&["get", "/Inventory/v1/Test/foreign"]);
            foreign.envs(given.0.lines().filter_map(|line| line.split_once('=')));
            testkit::finish(foreign).fails(1, &["cannot read `/Inventory/v1/Test/foreign`", "permission denied"]);
            let ended = run.end().ok();
            assert!(!ended.stderr.contains("not fenced"), "{ended:?}");
            assert_eq!(cluster.users_and_roles(), [""; 0], "{args:?}");
        }
        // What was kept goes as ever, also by those who may not delete users.
        let cleaned = cluster.play.xtask(&cluster.line("guest", &["test-clean"])).ok();
        assert!(cleaned.stdout.contains("removed 1 run, 1 key"), "{cleaned:?}");
        let open = cluster.run("root", &["--no-fence"]);
        assert_eq!(open.given().get("ETCDCTL_USER"), "root");
        open.end().ok();
    }
}

#[test]
fn who_may_not_create_users_is_told_so() {
    let cluster = Cluster::start(Etcd::V3_7);
    let run = cluster.run("guest", &[]);
    assert_eq!(run.given().get("ETCDCTL_USER"), "guest");
    let ended = run.end().ok();
    assert!(ended.stderr.contains("this run is not fenced: the user `guest` may not create users"), "{ended:?}");
    let refused = cluster.play.xtask(&cluster.line("guest", &["run", "--fence", "--", "true"]));
    refused.fails(1, &["the run cannot be fenced: the user `guest` may not create users", "hint: give --user NAME"]);
}

#[test]
fn without_users_nothing_is_asked() {
    let play = play();
    let server = Etcd::V3_7.alone(&[]);
    let url = server.endpoints().remove(0);
    let run = play.xtask(&["run", "--endpoints", &url, "--", "true"]).ok();
    assert!(!run.stderr.contains("fence"), "{run:?}");
    let metrics = minreq::get(format!("{url}/metrics")).with_timeout(10).send().unwrap();
    let asked =
        |line: &&str| line.starts_with("grpc_server_started_total") && line.contains("Auth") && !line.ends_with(" 0");
    assert_eq!(metrics.as_str().unwrap().lines().find(asked), None);
    play.xtask(&["run", "--fence", "--endpoints", &url, "--", "true"])
        .fails(1, &["the run cannot be fenced: the connection has no user", "hint: give --user NAME"]);
}

/// Killed as soon as there is a record, a role, a user, a command.
#[test]
fn killed_runs_leave_no_user_and_no_role() {
    let cluster = Cluster::start(Etcd::V3_7);
    let index = json!({ "key": base64("/Inventory/v1/Test/.runs/"), "range_end": base64("/Inventory/v1/Test/.runs0") });
    let runs =
        || cluster.ask(&cluster.root, "kv/range", &index).unwrap()["kvs"].as_array().cloned().unwrap_or_default();
    let runs = || runs().iter().map(|kv| kv["key"].to_string()).collect::<Vec<_>>();
    // The start of a run may sweep others meanwhile.
    let new = |now: Vec<String>, before: &[String]| now.iter().filter(|name| !before.contains(name)).count();
    let mut left = 0;
    for n in 0..std::env::var(KILLED_VARIABLE).map_or(KILLED, |runs| runs.parse().unwrap()) {
        let (users, before) = (cluster.users_and_roles(), runs());
        let run = cluster.run("root", &["--quiet"]);
        let reached = match n % 4 {
            0 => eventually(|| new(runs(), &before) > 0),
            1 => eventually(|| new(cluster.users_and_roles(), &users) > 0),
            2 => eventually(|| new(cluster.users_and_roles(), &users) > 1),
            _ => run.given().0.contains("test-run-"),
        };
        assert!(reached, "{n}");
        run.kill();
        left = left.max(cluster.users_and_roles().len());
    }
    assert!(left > 0, "no run was killed while it had a user");
    // Who may not delete the users leaves the records of their runs.
    // A run counts as alive until its heartbeat has expired.
    let clean = cluster.line("guest", &["test-clean"]);
    assert!(eventually(|| cluster.play.xtask(&clean).ok().stdout.contains("fenced: it has a user of its own")));
    // The next runs sweep them.
    let next = cluster.line("root", &["run", "--", "true"]);
    assert!(eventually(|| {
        cluster.play.xtask(&next).ok();
        runs().is_empty()
    }));
    assert_eq!((cluster.users_and_roles(), runs()), (Vec::new(), Vec::new()));
}

#[test]
fn a_user_that_is_removed_under_a_run_is_said() {
    let cluster = Cluster::start(Etcd::V3_7);
    let run = cluster.run("guest", &[]);
    run.given();
    cluster.ask(&cluster.root, "auth/user/delete", &json!({ "name": "guest" })).unwrap();
    let ended = run.end();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for words in [
        "refused by etcd: authentication failed, invalid user ID or password (as the user `guest`)",
        "its keys are still there",
        "the run could not be swept",
        "does it once etcd answers, and lets the user in",
    ] {
        assert!(ended.stderr.contains(words), "`{words}` is missing: {ended:#?}");
    }
    // Somebody else does.
    let clean = cluster.line("root", &["test-clean"]);
    assert!(eventually(|| cluster.play.xtask(&clean).ok().stdout.contains("removed 1 run")));
}

#[test]
fn a_run_on_an_ephemeral_cluster_with_users_is_fenced() {
    /// As the run's user, then as nobody.
    const CHILD: &str = r#"echo "user $ETCDCTL_USER"; "$0" put "${ETCD_TEST_PREFIX}k" v
        "$0" put /outside v; unset ETCDCTL_USER ETCDCTL_PASSWORD; "$0" get "${ETCD_TEST_PREFIX}k""#;
    let play = play();
    let xtask = env!("CARGO_BIN_EXE_xtask");
    for members in ["1", "3"] {
        let run = play.xtask(&["run", "--auth", "--members", members, "--", "sh", "-c", CHILD, xtask]);
        assert!(run.stdout.contains("user test-run-"), "{run:#?}");
        assert_eq!(run.stderr.matches("permission denied").count(), 1, "{run:#?}");
        assert!(run.stderr.contains("user name is empty") || run.stderr.contains("without a user"), "{run:#?}");
    }
    let open = play.xtask(&["run", "--auth", "--no-fence", "--", "sh", "-c", CHILD, xtask]);
    assert!(open.stdout.contains("user root") && !open.stderr.contains("permission denied"), "{open:#?}");
    let elsewhere = play.xtask(&["run", "--auth", "--endpoints", "http://127.0.0.1:1", "--", "true"]);
    assert!(elsewhere.code == Some(2) && elsewhere.stderr.contains("'--auth' cannot be used with"), "{elsewhere:#?}");
}
