//! Tests never see one another's keys: in threads, in processes, in several runs on one etcd.

use std::process::Child;

use etcd_sandbox::runs::{Liveness, Run};

use crate::fixture::{Canaries, FORMS, Finished, Server, TEST_ROOT, count, entry, finish, finished};

#[tokio::test]
async fn every_form_of_a_test_works_and_leaves_nothing() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = finished(server.subject(&["forms::"])).await;
    run.passed(FORMS);
    run.says(&["that_panics - should panic ... ok", "of_rstest::case_2"]);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    assert_eq!(std::fs::read_dir(server.lock_dir()).unwrap().count(), 0);
}

#[test]
fn opening_a_sandbox_asks_etcd_nothing() {
    let server = Server::start();
    finish(server.scenario("opens_without_asking").spawn().unwrap()).passed(1);
}

#[tokio::test]
async fn a_thousand_tests_in_one_process_never_meet() {
    let server = Server::start();
    let registry = server.registry().await;
    let mut command = server.subject(&["crowd"]);
    command.env("SUBJECT_TESTS", "1000");
    finished(command).await.passed(1);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

#[test]
fn any_name_is_good_for_a_sandbox() {
    let server = Server::start();
    finish(server.subject(&["names"]).spawn().unwrap()).passed(1);
}

#[tokio::test]
async fn processes_join_the_run_that_they_are_told_of() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let before = count(&registry, TEST_ROOT).await;
    let children: Vec<Child> = (0..2)
        .map(|_| server.subject(&["crowd"]).env("SUBJECT_TESTS", "100").envs(run.variables()).spawn().unwrap())
        .collect();
    let other = server.subject(&["names"]).envs(run.variables()).spawn().unwrap();
    let done = tokio::task::spawn_blocking(|| children.into_iter().chain([other]).map(finish).collect::<Vec<_>>());
    done.await.unwrap().iter().for_each(|child| child.passed(1));
    // A process that joins a run neither registers nor sweeps one.
    assert_eq!(registry.list().await.unwrap().runs.len(), 1);
    assert!(count(&registry, TEST_ROOT).await >= before + 10);
    assert!(run.sweep().await.unwrap().keys > 10);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

/// As under nextest: a process for each test, many at once, half of them in one run, the others in runs of their own.
#[tokio::test]
async fn many_processes_never_meet() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 100).await;
    let run = server.run(&registry, |plan| plan, 0).await;
    let processes = crate::fixture::rounds(24);
    let mut running = tokio::task::JoinSet::new();
    for n in 0..processes {
        let mut command = server.subject(&["crowd"]);
        command.env("SUBJECT_TESTS", "5").env("NEXTEST_ATTEMPT_ID", format!("x:crowd$test@stress-{n}"));
        if n % 2 == 0 {
            command.envs(run.variables());
        }
        running.spawn(finished(command));
        // As many at a time as nextest has on a machine with eight processors.
        if running.len() >= 8 {
            running.join_next().await.unwrap().unwrap().passed(1);
        }
    }
    running.join_all().await.iter().for_each(|child: &Finished| child.passed(1));
    run.sweep().await.unwrap();
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    canaries.check(&registry).await;
}

/// Two checkouts, or two CI jobs: each sweeps dead runs when it begins, and its own run at its end.
#[tokio::test]
async fn two_workspaces_on_one_etcd_do_not_disturb_each_other() {
    let server = Server::start();
    let (first, second) = (server.registry().await, server.registry().await);
    let elsewhere = tempfile::tempdir().unwrap();
    for _ in 0..crate::fixture::rounds(3) {
        let one = server.run(&first, |plan| plan, 50).await;
        let plan = etcd_sandbox::runs::Plan::new(elsewhere.path(), "another").ttl(std::time::Duration::from_secs(1));
        let other = Run::start(&second, plan.elsewhere()).await.unwrap();
        crate::fixture::fill(&second.connection().all_keys(), &format!("{}t~1/", other.prefix()), 50).await;
        for (registry, dir) in [(&first, server.lock_dir()), (&second, elsewhere.path().to_owned())] {
            assert_eq!(registry.sweep_dead(&dir).await.unwrap(), 0);
        }
        assert_eq!(one.sweep().await.unwrap().keys, 50);
        let left = entry(&second, other.id()).await;
        assert!(matches!(second.liveness(&left), Liveness::Alive(_)) && left.keys == 50);
        assert_eq!(other.sweep().await.unwrap().keys, 50);
    }
    assert_eq!(count(&first, TEST_ROOT).await, 0);
}

#[tokio::test]
async fn a_test_may_have_a_cluster_whose_members_it_kills_and_restarts() {
    let server = Server::start();
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let mut command = server.subject(&["private_members"]);
    command.env("ETCD_LOCAL_CACHE", cache);
    let run = finished(command).await;
    run.passed(1);
    let pids = run.out.lines().find_map(|line| Some(line.split_once("members ")?.1)).unwrap();
    assert_eq!(pids.split(' ').count(), 3);
    crate::fixture::eventually("the members are gone", async || {
        pids.split(' ').all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    })
    .await;
}

#[tokio::test]
async fn a_test_may_have_a_cluster_with_users_and_tls() {
    let server = Server::start();
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let mut command = server.subject(&["private_members_with_users", "private_members_with_tls_and_users"]);
    command.env("ETCD_LOCAL_CACHE", cache);
    finished(command).await.passed(2);
}

#[tokio::test]
async fn a_private_server_is_its_tests_alone_and_goes_with_it() {
    let server = Server::start();
    let registry = server.registry().await;
    registry.connection().all_keys().put("/shared", "1").await.unwrap();
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let mut command = server.subject(&["private"]);
    command.env("ETCD_LOCAL_CACHE", cache);
    let run = finished(command).await;
    run.passed(1);
    // The shared etcd has seen neither users nor compaction, nor any key of the test.
    assert_eq!(registry.connection().all_keys().prefix("").await.unwrap().kvs.len(), 1);
    let said = run.out.lines().find(|line| line.contains("private pid ")).unwrap();
    let words: Vec<_> = said.split("private pid ").nth(1).unwrap().split(' ').collect();
    crate::fixture::eventually("the private server is gone", async || {
        !std::path::Path::new(&format!("/proc/{}", words[0])).exists() && !std::path::Path::new(words[2]).exists()
    })
    .await;
}
