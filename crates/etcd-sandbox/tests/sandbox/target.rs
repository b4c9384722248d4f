//! Which etcd a test uses if ETCD_ENDPOINTS is not set: the workspace's running instance, by its lock, and no other.

use std::fs::File;
use std::path::Path;

use etcd_local::Record;
use etcd_sandbox::etcd_keys::Connect;
use etcd_sandbox::runs::{Plan, Registry, Roots, Run};
use etcd_workspace::{TlsFiles, home, member_lock, open_exclusive};

use testkit::Etcd;
use testkit::secure::{Ca, Secure, Validity};

use crate::fixture::{Finished, Server, finished, subject, workspace};

/// The record of this etcd, as if it were an instance.
fn record(server: &Server) -> Record {
    Record {
        schema: etcd_local::SCHEMA,
        instance: "default".to_owned(),
        endpoints: server.etcd.endpoints(),
        peer_url: "http://127.0.0.1:1".to_owned(),
        member: "m".to_owned(),
        version: server.etcd.version().clone(),
        binary: server.etcd.binary().to_owned(),
        data_dir: server.dir.path().join("data"),
        log: server.etcd.log(),
        cluster_id: Some(server.etcd.cluster_id()),
        pids: vec![server.etcd.pid()],
        process: None,
        ready_ms: None,
        password_file: None,
        tls: None,
        peer_tls: None,
        metrics_url: None,
        members: Vec::new(),
    }
}

/// Writes the record of the instance `default`.
fn write(workspace: &Path, record: &Record) {
    let dir = home(workspace, None).join("default");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("instance.json"), serde_json::to_vec(record).unwrap()).unwrap();
}

/// The lock that the instance's server holds while it lives.
fn lock(workspace: &Path) -> File {
    open_exclusive(&member_lock(&home(workspace, None).join("default"))).unwrap().unwrap()
}

/// One test under plain `cargo test`.
async fn test_in(workspace: &Path) -> Finished {
    finished(subject(workspace, &["forms::plain"])).await
}

async fn nothing_was_written(server: &Server) {
    let all = server.registry().await.connection().all_keys().prefix("").await.unwrap();
    assert_eq!(all.revision, 1);
}

#[tokio::test]
async fn the_instance_is_used_while_its_lock_is_held_and_no_other_cluster() {
    let server = Server::start();
    let workspace = server.dir.path();
    let ours = record(&server);
    let foreign = Record { cluster_id: Some(etcd_local::ClusterId(!server.etcd.cluster_id().0)), ..ours.clone() };
    let unknown = Record { cluster_id: None, ..ours.clone() };
    let starting = Record { pids: Vec::new(), ..ours.clone() };
    write(workspace, &ours);
    // As after a crash, a reboot, or in a copy of the workspace.
    test_in(workspace).await.says(&["etcd `default` of `", "is not running", "hint: `cargo xtask etcd-up` starts it"]);
    let _lock = lock(workspace);
    for (record, words) in [
        (&foreign, ["another cluster answers at http://", "`cargo xtask etcd-up` corrects the record"]),
        (&unknown, ["does not say which cluster", "`cargo xtask etcd-up` waits"]),
        (&starting, ["is starting", "`cargo xtask etcd-up` waits"]),
    ] {
        write(workspace, record);
        test_in(workspace).await.says(&words);
    }
    std::fs::write(home(workspace, None).join("default/instance.json"), "damaged").unwrap();
    test_in(workspace).await.says(&["cannot be found: `", "is damaged", "`cargo xtask etcd-status` shows"]);
    nothing_was_written(&server).await;
    write(workspace, &ours);
    let run = test_in(workspace).await;
    run.passed(1);
    run.says(&[&format!("{}, etcd `default` of `{}`", server.endpoint(), workspace.display())]);
}

/// A copy has the record and the lock file, but the server holds the original's lock.
#[tokio::test]
async fn a_copied_workspace_is_another_workspace() {
    let server = Server::start();
    write(server.dir.path(), &record(&server));
    let held = lock(server.dir.path());
    let copy = workspace();
    let copied = std::process::Command::new("cp").arg("-a").arg(server.dir.path().join(".")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    test_in(copy.path()).await.says(&["0 passed; 1 failed", "is not running"]);
    nothing_was_written(&server).await;
    // A link leads to the same workspace.
    let link = copy.path().join("link");
    std::os::unix::fs::symlink(server.dir.path(), &link).unwrap();
    test_in(&link).await.passed(1);
    // Moved, it is the same workspace: the lock file moves along.
    let moved = copy.path().join("moved");
    std::fs::rename(server.dir.path(), &moved).unwrap();
    test_in(&moved).await.passed(1);
    std::fs::rename(&moved, server.dir.path()).unwrap();
    drop(held);
}

/// Another workspace's etcd, or a service of the system, listens on the port of an instance that is not running.
#[tokio::test]
async fn an_etcd_on_the_instances_port_is_not_used_unless_it_is_named() {
    let server = Server::start();
    let endpoint = server.endpoint();
    let (_, port) = endpoint.rsplit_once(':').unwrap();
    let not_ours = format!("the etcd at {endpoint} is not this workspace's");
    let named = format!("ETCD_ENDPOINTS={endpoint} uses that one");
    for (port, words) in [
        (port, ["is not running", not_ours.as_str(), named.as_str(), "`cargo xtask etcd-up --port auto`"]),
        ("'auto'", ["is not running", "`cargo xtask etcd-up` starts it", "`cargo xtask test` brings", ""]),
    ] {
        let manifest = format!("[workspace]\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = {port}\n");
        std::fs::write(server.dir.path().join("Cargo.toml"), manifest).unwrap();
        let run = test_in(server.dir.path()).await;
        assert_eq!(run.code, Some(101), "{}", run.out);
        run.says(&words);
    }
    nothing_was_written(&server).await;
    let told = finished(server.subject(&["forms::plain"])).await;
    told.passed(1);
    told.says(&[&format!("{endpoint}, named by ETCD_ENDPOINTS")]);
}

#[tokio::test]
async fn outside_of_any_workspace_an_etcd_must_be_named() {
    let dir = tempfile::tempdir().unwrap();
    test_in(dir.path()).await.says(&["0 passed; 1 failed", "ETCD_ENDPOINTS is not set"]);
}

/// Where the record leads to certificates and a password, plain `cargo test` needs nothing else.
#[tokio::test]
async fn an_instance_with_tls_and_users_is_reached_by_its_record() {
    let dir = workspace();
    let files = TlsFiles::in_dir(dir.path().join("tls"));
    etcd_certificates::ensure(&files, std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
    let etcd = testkit::builder(env!("CARGO_MANIFEST_DIR")).auth(true).tls(files.clone()).start_ephemeral().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, etcd.root().unwrap().password()).unwrap();
    let server = Server { etcd, dir };
    let (workspace, plain) = (server.dir.path(), record(&server));
    let tls = Some(files.dir().to_owned());
    let _lock = {
        write(workspace, &plain);
        lock(workspace)
    };
    test_in(workspace).await.says(&["0 passed; 1 failed"]);
    write(workspace, &Record { tls: tls.clone(), ..plain.clone() });
    test_in(workspace).await.says(&["permission"]);
    write(workspace, &Record { tls, password_file: Some(password), ..plain });
    test_in(workspace).await.passed(1);
}

/// A cluster that wants TLS and a user is reached as etcdctl's variables say.
#[tokio::test]
async fn a_secure_cluster_is_reached_by_etcdctls_variables() {
    let ca = Ca::new();
    let server = Secure::start(Etcd::V3_7, &ca, &ca.sign(&["127.0.0.1"], "server", Validity::Now), false);
    let file = server.dir().join("ca.pem.mine");
    std::fs::write(&file, &ca.pem).unwrap();
    std::fs::write(server.dir().join("Cargo.toml"), "[workspace.metadata.etcd]\nroot = '/Inventory/v1'").unwrap();
    let run = async |with_ca: bool| {
        let mut command = subject(&server.dir(), &["forms::with_a_result"]);
        command.env("ETCD_ENDPOINTS", &server.url);
        if with_ca {
            command.env("ETCDCTL_CACERT", &file);
        }
        finished(command).await
    };
    run(true).await.passed(1);
    run(false).await.says(&["no trusted CA has signed the server's certificate"]);
}

/// Which key, as which user, in which test.
#[tokio::test]
async fn a_test_that_goes_beyond_the_fence_says_where() {
    let server = Server { etcd: Etcd::V3_7.alone(&["--bcrypt-cost=4"]), dir: workspace() };
    let mut raw = server.registry().await.connection().raw();
    raw.user_add("root", "root", None).await.unwrap();
    raw.user_grant_role("root", "root").await.unwrap();
    raw.auth_enable().await.unwrap();
    let root = Connect::new([server.endpoint()]).user("root", "root").connect().await.unwrap();
    let registry = Registry::new(&root, Roots::new("/Inventory/v1", "Test", &[]).unwrap());
    let run = Run::start(&registry, Plan::new(server.lock_dir(), "a test").fenced(true)).await.unwrap();
    let fence = run.credentials().unwrap();
    let mut test = server.scenario("uses_a_foreign_key");
    test.env("ETCDCTL_USER", &fence.user).env("ETCDCTL_PASSWORD", &fence.password);
    test.env("ETCD_TEST_RUN", run.id().to_string()).env("ETCD_TEST_PREFIX", run.prefix());
    let finished = finished(test).await;
    assert_eq!(finished.code, Some(101), "{finished:?}");
    finished.says(&[
        "cannot read `/Inventory/v1/racks` at ",
        &format!("permission denied (as the user `{}`)", fence.user),
        "hint: this run is fenced: its tests can use only keys below ETCD_TEST_PREFIX",
        "test subject::scenario ... FAILED",
    ]);
}
