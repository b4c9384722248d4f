//! `runs` and `test-clean`: what is shown, what goes, and what never does.

use std::time::Duration;

use etcd_sandbox::etcd_keys::kv::{Put, Txn};
use etcd_sandbox::etcd_keys::{Connect, Keys};
use etcd_sandbox::runs::{Plan, Registry, Roots, Run, RunId};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, eventually, finish, program, slow_proxy};
use crate::terminal::Terminal;

const ROOT: &str = "/Inventory/v1/";
const TEST_ROOT: &str = "/Inventory/v1/Test/";

/// A cluster with runs, whose keepers live in this process.
struct Runs {
    cluster: Cluster,
    runtime: Runtime,
    registry: Registry,
}

impl Runs {
    fn new() -> Self {
        let cluster = Cluster::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connection = runtime.block_on(Connect::new(cluster.etcd.endpoints()).connect()).unwrap();
        let registry = Registry::new(&connection, Roots::new(ROOT, "Test", &[]).unwrap());
        Self { cluster, runtime, registry }
    }

    fn keys(&self) -> Keys {
        self.registry.connection().all_keys()
    }

    fn fill(&self, prefix: &str, count: usize) {
        for some in (0..count).collect::<Vec<_>>().chunks(100) {
            let puts = some.iter().fold(Txn::new(), |txn, n| txn.then(Put::new(format!("{prefix}{n:06}"), "v")));
            self.runtime.block_on(self.keys().send(puts)).unwrap();
        }
    }

    fn run(&self, plan: impl Fn(Plan) -> Plan, keys: usize) -> Run {
        let plan = plan(Plan::new(self.cluster.dir.path().join("locks"), "cargo test").ttl(Duration::from_secs(1)));
        let run = self.runtime.block_on(Run::start(&self.registry, plan)).unwrap();
        self.fill(&format!("{}t~1/", run.prefix()), keys);
        run
    }

    /// As if all of its processes had been killed.
    fn kill(&self, run: Run) -> RunId {
        let id = run.id().clone();
        drop(run);
        self.dies(id)
    }

    /// Its lease runs out.
    fn dies(&self, id: RunId) -> RunId {
        assert!(eventually(|| !self.runtime.block_on(self.registry.entry(&id)).unwrap().unwrap().alive));
        id
    }

    fn dead(&self, keys: usize) -> RunId {
        self.kill(self.run(|plan| plan, keys))
    }

    /// The state of a run, as `runs` tells it.
    fn state(&self, id: &RunId) -> String {
        let all: serde_json::Value =
            serde_json::from_str(&self.cluster.run(&["runs", "--format", "json"]).ok().stdout).unwrap();
        let runs = all["runs"].as_array().unwrap();
        let run = runs.iter().find(|run| run["run"] == id.as_str());
        run.map_or("none", |run| run["state"].as_str().unwrap()).to_owned()
    }
}

#[test]
fn runs_are_shown_as_they_stand() {
    let runs = Runs::new();
    assert_eq!(runs.cluster.run(&["runs"]).ok().stdout, format!("no runs below {TEST_ROOT}\n"));
    let alive = runs.run(|plan| plan, 3);
    let dead = runs.dead(5);
    let silent = runs.kill(runs.run(Plan::elsewhere, 7));
    let kept = runs.run(|plan| plan, 9);
    let kept_id = kept.id().clone();
    runs.runtime.block_on(kept.keep()).unwrap();
    let newer = RunId::fresh().unwrap();
    let record = Put::new(format!("{TEST_ROOT}{newer}/.run"), r#"{"schema":99}"#);
    runs.runtime.block_on(runs.keys().send(record)).unwrap();
    let damaged = RunId::fresh().unwrap();
    let record = Put::new(format!("{TEST_ROOT}{damaged}/.run"), "\u{1b}[31m");
    runs.runtime.block_on(runs.keys().send(record)).unwrap();
    runs.fill(&format!("{TEST_ROOT}Standard/"), 11);
    for (id, state) in [
        (alive.id(), "alive"),
        (&dead, "dead"),
        (&silent, "silent"),
        (&kept_id, "kept"),
        (&newer, "unknown"),
        (&damaged, "silent"),
    ] {
        assert_eq!(runs.state(id), state);
    }
    let shown = runs.cluster.run(&["runs"]).ok().stdout;
    assert_eq!(shown.lines().count(), 1 + 6 + 1, "{shown}");
    for words in ["RUN", "cargo test", "its record is damaged", "Standard/", "11 keys that belong to no run"] {
        assert!(shown.contains(words), "`{words}` is missing: {shown}");
    }
    let line = shown.lines().find(|line| line.contains(dead.as_str())).unwrap();
    assert!(line.contains("dead") && line.split_whitespace().any(|word| word == "5"), "{line}");
}

#[test]
fn what_is_dead_goes_and_what_lives_stays() {
    let runs = Runs::new();
    runs.cluster.fill(&format!("{ROOT}racks/"), 1_000);
    let alive = runs.run(|plan| plan, 3);
    let dead = [runs.dead(600), runs.dead(0)];
    let kept = runs.run(|plan| plan, 9);
    let kept_id = kept.id().clone();
    runs.runtime.block_on(kept.keep()).unwrap();
    let shown = runs.cluster.run(&["test-clean", "--dry-run"]).ok().stdout;
    assert!(shown.starts_with("would remove 3 runs, 609 keys\n"), "{shown}");
    assert!(shown.contains(&format!("left {}, 3 keys, alive", alive.id())), "{shown}");
    assert!(dead.iter().all(|id| runs.state(id) == "dead"), "a dry run removes nothing");
    let said = runs.cluster.run(&["test-clean"]).ok().stdout;
    assert!(said.starts_with("removed 3 runs, 609 keys\n"), "{said}");
    assert!(said.contains(&format!("left {}, 3 keys, alive", alive.id())), "{said}");
    assert!(dead.iter().chain([&kept_id]).all(|id| runs.state(id) == "none"));
    assert_eq!(runs.state(alive.id()), "alive");
    assert_eq!(runs.runtime.block_on(alive.sweep()).unwrap().keys, 3);
    assert_eq!(
        runs.cluster.run(&["test-clean"]).ok().stdout,
        "removed 0 runs, 0 keys\n",
        "an empty test root is not an error"
    );
    assert_eq!((runs.cluster.count(TEST_ROOT), runs.cluster.count(&format!("{ROOT}racks/"))), (0, 1_000));
}

#[test]
fn what_went_is_told_also_if_the_server_dies_before_all_has() {
    let runs = Runs::new();
    let first = runs.dead(1);
    let second = runs.dead(5_000);
    let endpoint = slow_proxy(&runs.cluster.etcd.endpoints()[0]);
    let mut command = program();
    command.args(["--home", runs.cluster.dir.path().to_str().unwrap(), "--timeout", "2", "--endpoints", &endpoint]);
    let child = command.arg("test-clean").spawn().unwrap();
    let left = || runs.cluster.count(&format!("{TEST_ROOT}{second}/t~1/"));
    assert!(eventually(|| left() < 5_000));
    runs.cluster.kill();
    let run = finish(child);
    assert!(run.stdout.starts_with(&format!("removed 1 run, 1 key\n  {first}: 1 key\n")), "{run:?}");
    run.fails(3, &["no etcd answers"]);
}

#[test]
fn one_run_is_removed_by_name() {
    let runs = Runs::new();
    let (one, other, alive) = (runs.dead(5), runs.dead(6), runs.run(|plan| plan, 7));
    runs.cluster.run(&["test-clean", "--run", one.as_str()]).ok();
    assert_eq!((runs.state(&one), runs.state(&other)), ("none".to_owned(), "dead".to_owned()));
    runs.cluster.run(&["test-clean", "--run", one.as_str()]).fails(1, &["there is no run", "cargo xtask runs"]);
    let id = alive.id().as_str();
    runs.cluster.run(&["test-clean", "--run", id]).fails(4, &["is alive", "--all"]);
    runs.cluster.run(&["test-clean", "--run", id, "--all"]).fails(4, &["1 run that may be alive", "--yes"]);
    assert_eq!(runs.state(alive.id()), "alive");
    runs.cluster.run(&["test-clean", "--run", id, "--all", "--yes"]).ok();
    runs.runtime.block_on(alive.lost());
    for id in ["..", "", "a/b", "Standard", "../racks"] {
        let run = runs.cluster.run(&["test-clean", "--run", id]);
        assert!(run.code == Some(2) && run.stderr.contains("is not a run id"), "{run:?}");
    }
    assert_eq!(runs.state(&other), "dead");
}

/// Nobody keeps it any more, and nothing shows that for as long as etcd lets its lease live, which after a restart is
/// longer.
#[test]
fn what_is_said_of_a_run_that_ended_just_now_is_true() {
    let runs = Runs::new();
    let run = runs.run(|plan| plan.ttl(Duration::from_secs(60)), 3);
    let id = run.id().clone();
    drop(run);
    let words = "alive: its heartbeat is current";
    runs.cluster.run(&["test-clean", "--run", id.as_str()]).fails(4, &[&format!("the run `{id}` is {words}")]);
    let said = runs.cluster.run(&["test-clean"]).ok().stdout;
    assert!(said.contains(&format!("left {id}, 3 keys, {words}\n")), "{said}");
}

#[test]
fn all_takes_live_runs_only_when_plainly_told() {
    let runs = Runs::new();
    runs.cluster.fill(&format!("{ROOT}racks/"), 100);
    let alive = [runs.run(|plan| plan, 5), runs.run(Plan::elsewhere, 6)];
    runs.cluster.run(&["test-clean", "--all"]).fails(4, &["2 runs that may be alive", "it cannot ask", "--yes"]);
    assert!(alive.iter().all(|run| runs.state(run.id()) == "alive"));
    let shown = runs.cluster.run(&["test-clean", "--all", "--dry-run"]).ok().stdout;
    assert!(shown.starts_with("would remove 2 runs, 11 keys\n"), "{shown}");
    runs.cluster.run(&["test-clean", "--all", "--yes"]).ok();
    for run in alive {
        runs.runtime.block_on(run.lost());
    }
    assert_eq!((runs.cluster.count(TEST_ROOT), runs.cluster.count(&format!("{ROOT}racks/"))), (0, 100));
}

#[test]
fn silent_runs_are_watched_all_at_the_same_time() {
    let runs = Runs::new();
    let silent: Vec<_> = (0..20).map(|_| runs.run(Plan::elsewhere, 5)).collect();
    let ids: Vec<_> = silent.iter().map(|run| run.id().clone()).collect();
    drop(silent);
    let silent: Vec<_> = ids.into_iter().map(|id| runs.dies(id)).collect();
    let began = std::time::Instant::now();
    let run = runs.cluster.run(&["test-clean"]);
    // One after the other, they would take twenty times ten times to live.
    assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
    assert_eq!(run.stderr.matches("watching ").count(), 20, "{run:?}");
    assert!(run.ok().stdout.starts_with("removed 20 runs, 100 keys\n"));
    assert!(silent.iter().all(|id| runs.state(id) == "none"));
}

#[test]
fn keys_of_no_run_elsewhere_are_reported_and_go_only_when_told() {
    let runs = Runs::new();
    let alive = runs.run(|plan| plan, 3);
    let dated = format!("{TEST_ROOT}2021-07-09T15:36:29.123456789-07:00/");
    runs.fill(&format!("{TEST_ROOT}Standard/"), 700);
    runs.fill(&dated, 5);
    runs.fill(&format!("{ROOT}Testament/"), 5);
    let said = runs.cluster.run(&["test-clean"]).ok().stdout;
    assert!(said.contains("Standard/") && said.contains("700 keys, unregistered") && said.contains("--unregistered"));
    assert_eq!((runs.cluster.count(&dated), runs.cluster.count(&format!("{TEST_ROOT}Standard/"))), (5, 700));
    let shown = runs.cluster.run(&["test-clean", "--unregistered", "--dry-run"]).ok().stdout;
    assert!(shown.starts_with("would remove 0 runs, 705 keys\n"), "{shown}");
    let said = runs.cluster.run(&["test-clean", "--unregistered"]).ok().stdout;
    assert!(said.starts_with("removed 0 runs, 705 keys\n"), "{said}");
    assert_eq!((runs.cluster.count(&dated), runs.cluster.count(&format!("{ROOT}Testament/"))), (0, 5));
    assert_eq!(runs.state(alive.id()), "alive");
}

/// On the workspace's own instance, too: tests that make no run may be writing them.
#[test]
fn keys_of_no_run_go_after_a_question_or_when_told() {
    let runs = Runs::new();
    let dead = runs.dead(3);
    runs.fill(&format!("{TEST_ROOT}Standard/"), 5);
    runs.cluster.record(serde_json::json!(runs.cluster.etcd.cluster_id().to_string()));
    let left = format!("left prefix `{TEST_ROOT}Standard/`, 5 keys, unregistered: it belongs to no run");
    for flags in [&["--dry-run"][..], &["--yes"], &[]] {
        let run = finish(runs.cluster.of_record(&[&["test-clean"], flags].concat()).spawn().unwrap());
        assert!(run.stdout.contains(&left) && run.stdout.contains("see --unregistered"), "{flags:?}: {run:?}");
        run.ok();
    }
    assert_eq!((runs.state(&dead), runs.cluster.count(TEST_ROOT)), ("none".to_owned(), 5));
    let another = runs.dead(3);
    for (answer, keys) in [("n", 5), ("y", 0)] {
        let terminal = Terminal::new();
        let child = terminal.run(&mut runs.cluster.of_record(&["test-clean"]));
        terminal.wait_for("Delete 5 keys that no run has registered, at http://127.0.0.1:");
        assert!(terminal.shown().contains(&format!("  prefix `{TEST_ROOT}Standard/`, 5 keys")), "{}", terminal.shown());
        terminal.type_line(answer);
        // A no is for these alone.
        assert_eq!(finish(child).code, Some(0));
        assert_eq!((runs.state(&another), runs.cluster.count(TEST_ROOT)), ("none".to_owned(), keys));
    }
    runs.fill(&format!("{TEST_ROOT}Standard/"), 5);
    let said = finish(runs.cluster.of_record(&["test-clean", "--unregistered"]).spawn().unwrap()).ok().stdout;
    assert!(said.starts_with("removed 0 runs, 5 keys\n"), "{said}");
}

/// The instance was killed, and somebody else's server has its port by now.
#[test]
fn another_cluster_is_not_taken_for_the_own_instance() {
    let cluster = Cluster::new();
    let precious = format!("{TEST_ROOT}Standard/precious");
    cluster.put(&precious, "1");
    cluster.record(serde_json::json!(format!("{:016x}", !cluster.etcd.cluster_id().0)));
    let commands: [&[&str]; 8] = [
        &["test-clean"],
        &["test-clean", "--unregistered"],
        &["runs"],
        &["get", &precious],
        &["put", &precious, "2"],
        &["del", &precious, "--yes"],
        &["watch", "-n", "1"],
        &["member", "list"],
    ];
    for command in commands {
        let words =
            ["another cluster than etcd `default` answers at http://", "`cargo xtask etcd-up` corrects the record"];
        finish(cluster.of_record(command).spawn().unwrap()).fails(3, &words);
    }
    let clean = || finish(cluster.of_record(&["test-clean"]).spawn().unwrap());
    cluster.record(serde_json::Value::Null);
    clean().fails(3, &["does not say which cluster", "cargo xtask etcd-up"]);
    cluster.record("x".into());
    clean().fails(1, &["cannot find etcd `default`", "is damaged", "`cargo xtask etcd-up` writes the record anew"]);
    cluster.unlock();
    clean().fails(3, &["etcd `default` is not running"]);
    assert_eq!(cluster.run(&["get", &precious]).ok().stdout, format!("{precious}\n1\n"));
}

#[test]
fn only_what_needs_the_products_root_asks_for_it() {
    let cluster = Cluster::new();
    for args in [&["runs"][..], &["test-clean"], &["watch", "-n", "1"], &["del", "/a", "--yes"]] {
        cluster.run_without_root(args).fails(2, &["has no `root`", "hint: add a line like `root = "]);
    }
    cluster.run_without_root(&["put", "/a", "1"]).ok();
    assert_eq!(cluster.run_without_root(&["get", "/a"]).ok().stdout, "/a\n1\n");
    cluster.run_without_root(&["watch", "/a", "--rev", "2", "-n", "1"]).ok();
}

#[test]
fn roots_that_are_none_are_refused_before_anything_goes() {
    let cluster = Cluster::new();
    cluster.put("/Inventory/v1/Test/x", "1");
    for flags in [
        ["--root", "/", "--test-root", "Test"],
        ["--root", "", "--test-root", "Test"],
        ["--root", "/Inventory/v1", "--test-root", ""],
        ["--root", "/Inventory/v1", "--test-root", "/"],
        ["--root", "/Inventory/v1", "--test-root", ".."],
        ["--root", "/Inventory/v1", "--test-root", "../v1"],
        ["--root", "/Inventory/v1/..", "--test-root", "Test"],
    ] {
        for command in ["runs", "test-clean"] {
            cluster
                .run_without_root(&[flags.as_slice(), &[command]].concat())
                .fails(2, &["root `", "[workspace.metadata.etcd]"]);
        }
    }
    let protected = ["--protected", "/Inventory/v1/Test/mine", "test-clean"];
    cluster.run(&protected).fails(2, &["protected", "/Inventory/v1/Test/mine"]);
    assert_eq!(cluster.count(""), 1);
}

#[test]
fn without_etcd_it_says_so() {
    for command in ["runs", "test-clean"] {
        let mut none = program();
        none.args(["--endpoints", "http://127.0.0.1:1", command]);
        crate::cluster::finish(none.spawn().unwrap())
            .fails(3, &["no etcd answers", "without it the workspace's own etcd is meant"]);
        let dir = tempfile::tempdir().unwrap();
        let mut none = program();
        none.args(["--home", dir.path().to_str().unwrap(), command]);
        crate::cluster::finish(none.spawn().unwrap()).fails(3, &["is not running", "cargo xtask etcd-up"]);
    }
}

/// What listing costs: requests that etcd counts itself.
#[test]
fn hundreds_of_runs_cost_a_few_requests() {
    let runs = Runs::new();
    let keys = runs.keys();
    let record = r#"{"schema":1,"state":"running","host":"elsewhere","boot":"","pid":1,"lock":"","command":"","began":"","ttl":1}"#;
    for n in 0..300 {
        let id = RunId::fresh().unwrap();
        let register = Txn::new()
            .then(Put::new(format!("{TEST_ROOT}{id}/.run"), record))
            .then(Put::new(format!("{TEST_ROOT}.runs/{id}"), ""));
        let put = |key| Put::new(format!("{TEST_ROOT}{id}/t~1/{key:02}"), "");
        runs.runtime.block_on(keys.send((0..20).map(put).fold(register, Txn::then))).unwrap();
        if n == 0 {
            runs.fill(&format!("{TEST_ROOT}{id}/t~2/"), 5_000);
        }
    }
    let before = requests(&runs.cluster);
    let shown = runs.cluster.run(&["runs"]).ok().stdout;
    let asked = requests(&runs.cluster) - before;
    assert_eq!(shown.lines().count(), 301);
    assert!(shown.contains("5020"), "{shown}");
    assert!(asked < 30, "{asked} requests for 300 runs");
}

/// gRPC calls that the server has ended.
fn requests(cluster: &Cluster) -> u64 {
    let url = format!("{}/metrics", cluster.etcd.endpoints()[0]);
    let text = minreq::get(url).with_timeout(30).send().unwrap();
    let ended = text.as_str().unwrap().lines().filter(|line| line.starts_with("grpc_server_handled_total"));
    ended.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
