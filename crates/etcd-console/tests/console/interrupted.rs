//! Commands that are ended, or whose server is, while they are at work: what is left, what is said, and that the
//! same command finishes it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, Run, eventually, finish, next_line, program, slow_proxy};

const KEYS: u64 = 5_000;

fn del(cluster: &Cluster, endpoint: &str, count: u64) -> Command {
    let mut command = program();
    command.args(["--home", cluster.dir.path().to_str().unwrap(), "--endpoints", endpoint, "--timeout", "2"]);
    command.args(["del", "/d/", "--prefix", "--yes", "--expect-count", &count.to_string()]);
    command
}

fn undo_files(cluster: &Cluster) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cluster.dir.path().join("undo"));
    entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn lines(path: &Path) -> u64 {
    BufReader::new(std::fs::File::open(path).unwrap()).lines().count() as u64
}

/// A deletion that has deleted something and still has much to do.
fn deleting(cluster: &Cluster) -> Child {
    let child = del(cluster, &slow_proxy(&cluster.etcd.endpoints()[0]), KEYS).spawn().unwrap();
    assert!(eventually(|| cluster.count("/d/") < KEYS));
    child
}

fn ended(cluster: &Cluster, end: impl FnOnce(&Child)) -> Run {
    let child = deleting(cluster);
    end(&child);
    finish(child)
}

/// What was ended before its end left some keys and all of its undo file: both ways out of there work.
fn is_undone_and_finished(cluster: &Cluster) {
    let left = cluster.count("/d/");
    assert!(left > 0 && left < KEYS, "{left}");
    let [file] = &undo_files(cluster)[..] else { panic!("{:?}", undo_files(cluster)) };
    assert_eq!(lines(file), KEYS + 2, "all keys, the header, the end");
    let file = file.to_str().unwrap();
    cluster.run(&["undo", file]).ok();
    assert_eq!(cluster.count("/d/"), KEYS);
    assert!(cluster.run(&["undo", file]).ok().stdout.starts_with("restored 0 keys"));
    del(cluster, &cluster.etcd.endpoints()[0], KEYS).stdout(Stdio::null()).status().unwrap();
    assert_eq!(cluster.count("/d/"), 0);
}

#[test]
fn ctrl_c_says_how_far_it_came_and_what_to_do() {
    let cluster = Cluster::new();
    cluster.fill("/d/", KEYS as u32);
    let run = ended(&cluster, |child| kill_process(Pid::from_child(child), Signal::INT).unwrap());
    assert_eq!((run.code, run.stdout.as_str()), (Some(130), ""), "{run:?}");
    for word in ["of 5000 keys were deleted", "the same command deletes the rest", "undo: cargo xtask undo "] {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
    is_undone_and_finished(&cluster);
}

#[test]
fn a_deletion_that_is_killed_leaves_a_whole_undo_file() {
    let cluster = Cluster::new();
    cluster.fill("/d/", KEYS as u32);
    let run = ended(&cluster, |child| kill_process(Pid::from_child(child), Signal::KILL).unwrap());
    assert_eq!(run.code, None);
    is_undone_and_finished(&cluster);
}

#[test]
fn the_same_command_deletes_the_rest() {
    let cluster = Cluster::new();
    cluster.fill("/d/", KEYS as u32);
    ended(&cluster, |child| kill_process(Pid::from_child(child), Signal::INT).unwrap());
    let endpoint = &cluster.etcd.endpoints()[0];
    // The chunk that was on its way has come by now, or soon will have.
    assert!(eventually(|| finish(del(&cluster, endpoint, cluster.count("/d/")).spawn().unwrap()).code == Some(0)));
    assert_eq!(cluster.count("/d/"), 0);
    assert_eq!(undo_files(&cluster).len(), 2);
}

#[test]
fn a_server_that_dies_under_a_deletion_is_an_error_with_a_way_back() {
    let cluster = Cluster::new();
    cluster.fill("/d/", KEYS as u32);
    let child = deleting(&cluster);
    cluster.kill();
    let run = finish(child);
    assert!(run.stderr.contains("keys were deleted; the same command deletes the rest"), "{run:?}");
    assert!(run.stderr.contains("undo: cargo xtask undo "), "{run:?}");
    run.fails(3, &["cannot delete prefix `/d/` at http://", "no etcd answers", "--endpoints leads there"]);
    assert_eq!(lines(&undo_files(&cluster)[0]), KEYS + 2);
}

#[test]
fn an_undo_file_that_is_not_finished_is_not_left_behind() {
    let cluster = Cluster::new();
    cluster.fill("/d/", KEYS as u32);
    let child = del(&cluster, &slow_proxy(&cluster.etcd.endpoints()[0]), KEYS).spawn().unwrap();
    assert!(eventually(|| !undo_files(&cluster).is_empty()));
    cluster.kill();
    let run = finish(child);
    // It may have been complete already, and the deletion begun.
    let said_what = run.stderr.contains("keys were deleted");
    assert_eq!(undo_files(&cluster).len(), usize::from(said_what), "{run:?}");
    run.fails(3, &["no etcd answers"]);
}

#[test]
fn a_server_that_dies_under_a_watch_is_waited_for_and_said_to_be() {
    let cluster = Cluster::new();
    let mut child = cluster.command(&["watch", "/w/", "--prefix"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let said = BufReader::new(child.stderr.take().unwrap());
    let shown = std::thread::spawn(move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        // Still open: a reader that has enough would end the watch.
        (line, out)
    });
    assert!(eventually(|| {
        cluster.put("/w/a", "1");
        shown.is_finished()
    }));
    let (line, _out) = shown.join().unwrap();
    assert!(line.contains("PUT /w/a"), "{line}");
    let (line, said) = next_line(said);
    assert!(line.starts_with("watching prefix `/w/` at http://"), "{line}");
    cluster.kill();
    let (line, said) = next_line(said);
    for word in ["cannot watch prefix `/w/` at http://", "no etcd answers", "waiting for it"] {
        assert!(line.contains(word), "{line}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(finish(child).code, Some(0));
    assert_eq!(next_line(said).0, "", "once is enough");
}

/// While it prints, it hears nothing; what was pressed then must not be forgotten.
#[test]
fn ctrl_c_ends_a_watch_that_is_busy() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    cluster.fill("/busy/", 40_000);
    let rev = (past + 1).to_string();
    let mut child = cluster.command(&["watch", "/busy/", "--prefix", "--rev", &rev]).spawn().unwrap();
    let (_, out) = next_line(BufReader::new(child.stdout.take().unwrap()));
    // It has much more to say than a pipe holds, and waits for us.
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let lines =
        std::thread::spawn(move || out.lines().map_while(Result::ok).filter(|line| line.contains("PUT")).count());
    assert_eq!(finish(child).code, Some(0));
    assert!(lines.join().unwrap() < 40_000, "it went on to the end");
}
