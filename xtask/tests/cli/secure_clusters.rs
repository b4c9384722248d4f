//! Clusters elsewhere that are reached by TLS and as a user: by flags, by etcdctl's variables, and by their name in the
//! manifest. Whatever leads there leads a run's children there, too, and no password shows.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use testkit::Etcd;
use testkit::secure::{Ca, Secure, Validity};

use crate::keys::play;
use crate::playground::Playground;

/// No other process has it among its arguments.
const PASSWORD: &str = "s3cret-0f-ci";

/// A cluster that wants a user, and a workspace that names it `ci`.
pub(crate) struct World {
    pub(crate) server: Secure,
    pub(crate) play: Playground,
    ca: PathBuf,
}

pub(crate) fn world(password: &str) -> World {
    let ca = Ca::new();
    let server = Secure::start(Etcd::V3_7, &ca, &ca.sign(&["127.0.0.1"], "server", Validity::Now), false);
    let call = |path: &str, body: &str| {
        let url = format!("{}/v3/{path}", server.plain);
        let answer = minreq::post(url).with_body(body).with_timeout(10).send().unwrap();
        assert_eq!(answer.status_code, 200, "{path}: {}", answer.as_str().unwrap());
    };
    call("auth/user/add", &format!(r#"{{"name":"root","password":"{password}"}}"#));
    call("auth/user/grant", r#"{"user":"root","role":"root"}"#);
    call("auth/user/add", r#"{"name":"guest","password":"guest"}"#);
    call("auth/enable", "{}");
    let play = play();
    for (name, text) in [("ca.pem", &ca.pem), ("other.pem", &Ca::new().pem)] {
        fs::write(play.path(name), text).unwrap();
    }
    fs::write(play.path("password"), format!("{password}\n")).unwrap();
    let cluster = format!("endpoints = [\"{}\"]\ncacert = \"ca.pem\"\nuser = \"root\"", server.url);
    play.configure(&format!(
        "port = \"auto\"\n[workspace.metadata.etcd.clusters.ci]\n{cluster}\npassword-file = \"password\"\n\
         [workspace.metadata.etcd.clusters.no-password]\n{cluster}"
    ));
    let ca = play.path("ca.pem");
    World { server, play, ca }
}

#[test]
fn a_cluster_is_reached_by_flags_by_variables_and_by_name() {
    let World { server, play, ca } = world("shown");
    let ca = ca.to_str().unwrap();
    let flags = ["--endpoints", &server.url, "--cacert", ca, "--user", "root", "--password-file", "password"];
    play.xtask(&[&["put", "a", "1"][..], &flags].concat()).ok();
    assert_eq!(play.xtask(&["get", "a", "--print-value-only", "--cluster", "ci"]).ok().stdout, "1\n");
    let shown = ["get", "a", "--endpoints", &server.url, "--cacert", ca, "--user", "root", "--password", "shown"];
    play.xtask(&shown).ok();
    let member = play.xtask(&["member", "list", "--cluster", "ci"]).ok().stdout;
    assert!(member.contains("started, tls"), "{member}");

    let with_variables = |args: &[&str], user: &str| {
        let mut command = play.command(args);
        command.env("ETCD_ENDPOINTS", &server.url).env("ETCDCTL_CACERT", ca).env("ETCDCTL_USER", user);
        testkit::finish(command)
    };
    let root = "root:shown".to_owned();
    assert_eq!(with_variables(&["get", "a", "--print-value-only"], &root).ok().stdout, "1\n");
    with_variables(&["get", "a"], "guest:guest").fails(1, &["cannot read `a`", "permission denied", "hint: "]);
    with_variables(&["get", "a"], "root:wrong").fails(1, &["authentication failed"]);
    // The workspace's own etcd is another one: it has no users, and another cluster's user is not sent there.
    play.up(&[]);
    let mut own = play.command(&["put", "own", "1"]);
    own.env("ETCDCTL_USER", &root).env("ETCDCTL_CACERT", ca);
    testkit::finish(own).ok();
}

#[test]
fn each_failure_has_its_next_step() {
    let World { server, play, .. } = world("none");
    let url = server.url.as_str();
    let fails = |args: &[&str], code: i32, words: &[&str]| {
        play.xtask(&[&["get", "a"][..], args].concat()).fails(code, words);
    };
    fails(&["--endpoints", url], 1, &["no trusted CA has signed", "hint: --cacert FILE names the CA"]);
    fails(&["--endpoints", url, "--cacert", "other.pem"], 1, &["no trusted CA has signed"]);
    fails(&["--endpoints", &url.replace("https", "http")], 1, &["speaks TLS only", "hint: write https://"]);
    let plain = server.plain.replace("http", "https");
    fails(&["--endpoints", &plain, "--cacert", "ca.pem"], 1, &["does not speak TLS", "hint: write http://"]);
    fails(&["--endpoints", url, "--cacert", "none.pem"], 2, &["cannot read the CA file `none.pem`"]);
    fails(&["--endpoints", url, "--cert", "a.pem"], 2, &["needs both `cert` and `key`", "hint: give both"]);
    fails(&["--endpoints", url, "--user", "root"], 2, &["`root` has no password", "hint: set ETCDCTL_PASSWORD"]);
    fails(&["--cluster", "no-password"], 2, &["`root` has no password"]);
    fails(&["--cluster", "cii"], 2, &["there is no cluster `cii`", "there are: ci, no-password"]);
    fails(&["--endpoints", url, "--user", "root", "--password-file", "none"], 2, &["password file `none`"]);
    play.xtask(&["run", "--cluster", "cii", "--", "true"]).fails(2, &["there is no cluster `cii`"]);
}

/// The child, its keeper and whoever looks at the list of processes.
#[test]
fn a_run_hands_on_everything_and_shows_no_password() {
    let World { server, play, ca } = world(PASSWORD);
    let script = "env | grep ^ETCD; ! grep -aqsFf password /proc/[0-9]*/cmdline || echo shown; \
                  xtask put \"${ETCD_TEST_PREFIX}k\" v";
    let script = script.replace("xtask", env!("CARGO_BIN_EXE_xtask"));
    fs::write(play.path("script"), script).unwrap();
    let run = play.xtask(&["run", "--cluster", "ci", "--no-fence", "--", "sh", "script"]).ok();
    for line in [
        format!("ETCD_ENDPOINTS={}", server.url),
        format!("ETCDCTL_ENDPOINTS={}", server.url),
        format!("ETCDCTL_CACERT={}", ca.display()),
        "ETCDCTL_USER=root".to_owned(),
        format!("ETCDCTL_PASSWORD={PASSWORD}"),
    ] {
        assert!(run.stdout.lines().any(|said| said == line), "{line}: {run:?}");
    }
    assert!(run.stdout.lines().all(|said| said != "shown"), "{run:?}");
    assert!(run.stderr.contains("1 key swept") && !run.stderr.contains(PASSWORD), "{run:?}");
    let runs: Value =
        serde_json::from_str(&play.xtask(&["runs", "--cluster", "ci", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!(runs["runs"], serde_json::json!([]));
    // `env` prints the same, for a shell.
    let printed = play.xtask(&["env", "--cluster", "ci", "--format", "json"]).ok().stdout;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (printed["ETCDCTL_USER"].as_str(), printed["ETCDCTL_PASSWORD"].as_str()),
        (Some("root"), Some(PASSWORD))
    );
    let kept = play.xtask(&["run", "--cluster", "ci", "--keep", "--", "sh", "script"]).ok();
    assert!(kept.stderr.contains(" --cluster ci"), "{kept:?}");
    play.xtask(&["test-clean", "--cluster", "ci", "--all", "--yes"]).ok();
}

#[test]
fn a_cluster_is_compared_with_an_instance() {
    let World { server: _server, play, .. } = world(PASSWORD);
    play.xtask(&["diff", "cluster:ci", "instance:default"])
        .fails(3, &["etcd `default` is not running", "hint: `cargo xtask etcd-up` starts it"]);
    play.up(&[]);
    play.xtask(&["put", "/Inventory/v1/racks/1", r#"{"blades":8}"#]).ok();
    play.xtask(&["put", "/Inventory/v1/racks/1", r#"{"blades":9}"#, "--cluster", "ci"]).ok();
    for here in ["instance:default", "0"] {
        let shown = play.xtask(&["diff", "cluster:ci", here]).ok().stdout;
        assert_eq!(shown, "~ /Inventory/v1/racks/1  .blades 9 → 8\n", "{here}");
    }
    play.xtask(&["diff", "0", "cluster:other"]).fails(2, &["`other`", "hint: "]);
    play.xtask(&["diff", "0", "instance:../x"]).fails(2, &["`../x` is not an instance name"]);
}
