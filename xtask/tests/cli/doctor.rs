//! `doctor` looks at the very thing that failed: each hint that names it is followed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use testkit::secure::{Ca, Validity};

use crate::bad_input::quiet;
use crate::playground::{Playground, Run, etcd, finish, shared_cache};

fn remount(play: &Playground, mode: &str) {
    let mut mount = Command::new("mount");
    mount.args(["-o", &format!("remount,{mode}")]).arg(play.path("small"));
    assert_eq!(finish(quiet(mount)).code, Some(0));
}

#[track_caller]
fn finds(play: &Playground, words: &[&str]) -> Run {
    let run = play.xtask(&["doctor"]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    for word in words {
        assert!(run.stdout.contains(word), "`{word}` is missing: {run:#?}");
    }
    run
}

fn small(size: &str) -> Option<Playground> {
    let play = Playground::on_tmpfs(size);
    if play.is_none() {
        eprintln!("skipped: this user may not mount a file system");
    }
    play
}

#[test]
fn the_disk_under_the_data_is_looked_at_wherever_the_data_is() {
    let Some(play) = small("8m") else { return };
    let small = play.path("small");
    play.xtask(&["etcd-up", "--data-dir", "small/data"]).fails(1, &["no space left on device"]);
    finds(&play, &["FAILURE  data directory: only ", "free some space around"]);
    let variable = Playground::new().with("ETCDDATA", small.join("by-variable"));
    finds(&variable, &["FAILURE  data directory: only "]);
    variable.configure(&format!("port = \"auto\"\ndata-dir = \"{}\"", small.join("by-manifest").display()));
    remount(&play, "ro");
    let run = play.xtask(&["doctor"]);
    let theirs = variable.xtask(&["doctor"]);
    remount(&play, "rw");
    for run in [run, theirs] {
        assert!(run.stdout.contains("FAILURE  data directory: `") && run.stdout.contains("Read-only"), "{run:#?}");
    }
}

#[test]
fn a_cache_in_which_no_program_runs_is_found() {
    let Some(play) = small("256m") else { return };
    let binary = etcd("3.7.2");
    let cache = play.path("small/cache");
    let own = cache.join(binary.strip_prefix(shared_cache()).unwrap().parent().unwrap());
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    let mut cp = Command::new("cp");
    cp.arg("-a").arg(binary.parent().unwrap()).arg(&own);
    finish(quiet(cp)).ok();
    remount(&play, "noexec");
    let play = play.with("ETCD_LOCAL_CACHE", &cache);
    play.xtask(&["etcd-up"]).fails(1, &["Permission denied", "`cargo xtask doctor`"]);
    finds(&play, &["FAILURE  cache: no program runs in `", "ETCD_LOCAL_CACHE"]);
}

/// What can be seen without etcd's API: files, settings, whether somebody listens.
#[test]
fn clusters_of_the_manifest_are_looked_at() {
    let play = Playground::new();
    let (ca, listener) = (Ca::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let listens = listener.local_addr().unwrap();
    let closed = format!("127.0.0.1:{}", testkit::free_port());
    let client = ca.sign(&[], "ci", Validity::Now);
    for (name, text) in [("ca.pem", &ca.pem), ("cert.pem", &client.certificate), ("key.pem", &client.key)] {
        fs::write(play.path(name), text).unwrap();
    }
    fs::write(play.path("password"), "secret").unwrap();
    let mode = |file: &str, mode| fs::set_permissions(play.path(file), PermissionsExt::from_mode(mode)).unwrap();
    for file in ["key.pem", "password"] {
        mode(file, 0o600);
    }
    let files =
        "cacert = \"ca.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\nuser = \"ci\"\npassword-file = \"password\"";
    let good = format!("[workspace.metadata.etcd.clusters.good]\nendpoints = [\"https://{listens}\"]\n{files}\n");
    play.configure(&format!("port = \"auto\"\n{good}"));
    let run = play.xtask(&["doctor"]);
    assert_eq!(run.stdout.matches(" cluster: ").count(), 1, "{run:#?}");
    assert!(run.stdout.contains(&format!("ok       cluster: `good` listens at https://{listens}\n")), "{run:#?}");

    mode("key.pem", 0o644);
    mode("password", 0o640);
    play.configure(&format!(
        "port = \"auto\"\n{good}\
         [workspace.metadata.etcd.clusters.half]\nendpoints = [\"{listens}\", \"{closed}\"]\ncert = \"missing.pem\"\n\
         [workspace.metadata.etcd.clusters.away]\nendpoints = [\"{closed}\"]\ncacert = \"key.pem\"\nuser = \"ci\"\n\
         [workspace.metadata.etcd.clusters.odd]\nendpoints = [\"ftp://a\"]\n[workspace.metadata.etcd.clusters.none]\n"
    ));
    let run = finds(
        &play,
        &[
            "warning  cluster: `good`: other users may use `",
            "/key.pem`, its `key` (mode 644)\n         do: `chmod 600 '",
            "/password`, its `password-file` (mode 640)",
            "FAILURE  cluster: `half`: cannot read `",
            "/missing.pem`, its `cert`: No such file",
            "FAILURE  cluster: `half`: a client certificate needs both `cert` and `key`",
            &format!("warning  cluster: `half`: 1 of 2 endpoints listen; `{closed}`: Connection refused"),
            &format!("FAILURE  cluster: `away`: nothing listens: `{closed}`: Connection refused"),
            "/key.pem`, its `cacert`, has no certificate in PEM",
            "warning  cluster: `away`: the user `ci` has no password",
            "FAILURE  cluster: `odd`: nothing listens: `ftp://a`: this is not a valid endpoint",
            "FAILURE  cluster: the cluster `none` of `[workspace.metadata.etcd.clusters]` has no `endpoints`",
        ],
    );
    assert!(!run.stdout.contains("secret"), "{run:#?}");
}

/// What reads certificates is built with the first command that needs it; without it, nothing is said of them.
#[test]
fn certificates_that_end_soon_are_told() {
    const TEN_DAYS: Duration = Duration::from_secs(10 * 24 * 60 * 60 + 60);
    let play = crate::keys::play();
    let ca = Ca::new();
    for (name, validity) in [("soon", Validity::For(TEN_DAYS)), ("past", Validity::Past)] {
        fs::write(play.path(&format!("{name}.pem")), ca.sign(&[], "ci", validity).certificate).unwrap();
    }
    play.configure(
        "port = \"auto\"\n[workspace.metadata.etcd.clusters.ci]\ncacert = \"soon.pem\"\n\
         [workspace.metadata.etcd.clusters.old]\ncacert = \"past.pem\"\n",
    );
    finds(
        &play,
        &[
            "/soon.pem`, its `cacert`, expires in 10 days\n         do: let `cacert` name a newer certificate",
            "FAILURE  cluster: `old`: `",
            "/past.pem`, its `cacert`, has expired",
        ],
    );
}
