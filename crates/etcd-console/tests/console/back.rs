//! What `watch` says of time, and of an etcd that went away and is back.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use etcd_local::{Instance, Port};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, TIMEOUT, builder_in, finish, next_line, program};

#[test]
fn times_are_local_with_their_offset_and_utc_for_programs() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    for (format, zone, ends) in [("text", "XST-5:30", "+05:30"), ("text", "UTC0", "+00:00"), ("json", "XST-5:30", "Z")]
    {
        let mut command =
            cluster.command(&["watch", "/t/", "--prefix", "--rev", &(past + 1).to_string(), "--format", format]);
        let mut child = command.env("TZ", zone).spawn().unwrap();
        let (_, _stderr) = next_line(BufReader::new(child.stderr.take().unwrap()));
        cluster.put("/t/a", format);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line =
            lines.into_iter().find(|line| !line.starts_with("earlier") && !line.contains("null,\"type")).unwrap();
        let time = match format {
            "json" => serde_json::from_str::<serde_json::Value>(&line).unwrap()["time"].as_str().unwrap().to_owned(),
            _ => line.split(' ').next().unwrap().to_owned(),
        };
        assert!(time.ends_with(ends) && time.len() == "2026-11-28T04:32:10.115".len() + ends.len(), "{line}");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        child.wait().unwrap();
    }
    let old = cluster.run(&["watch", "/t/", "--prefix", "--rev", &(past + 1).to_string(), "-n", "1"]).ok().stdout;
    assert!(old.starts_with(&format!("{:29} PUT /t/a", "earlier")), "as wide as a time: {old}");
}

/// Does not outlive its test.
struct Stopping(Instance);

impl Drop for Stopping {
    fn drop(&mut self) {
        drop(self.0.down());
    }
}

#[test]
fn a_watch_says_that_etcd_is_back_before_anything_happens() {
    let dir = tempfile::tempdir().unwrap();
    let instance = builder_in(dir.path()).port(Port::Auto).peer_port(Port::Auto).instance("w").unwrap();
    let Stopping(instance) = &Stopping(instance);
    let up = instance.up().unwrap();
    let endpoint = &up.status.endpoints[0];
    let mut child = program().args(["--endpoints", endpoint, "watch", "/w"]).stdin(Stdio::null()).spawn().unwrap();
    let (sender, said) = std::sync::mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let wait_for = |words: &str| while !said.recv_timeout(TIMEOUT).unwrap().contains(words) {};
    wait_for("watching `/w` at ");
    for _ in 0..2 {
        instance.down().unwrap();
        wait_for("; waiting for it, and then reporting what was missed");
        assert_eq!(&instance.up().unwrap().status.endpoints[0], endpoint);
        wait_for(&format!("etcd answers again at {endpoint}"));
    }
    finish(program().args(["--endpoints", endpoint, "put", "/w", "seen"]).spawn().unwrap()).ok();
    let (line, _) = next_line(BufReader::new(child.stdout.take().unwrap()));
    assert!(line.contains("PUT /w  seen"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
