//! The words that users read, kept as snapshots: changed on purpose, never by accident.

use std::fs;

use crate::playground::{Playground, Run, fake_etcd};

/// What was said, without what differs from run to run and from machine to machine: places and numbers.
fn said(play: &Playground, run: &Run) -> String {
    let text = format!("{}{}", run.stdout, run.stderr).replace(play.dir.path().to_str().unwrap(), "/play");
    let lines = text.lines().map(|line| match line.split_once(':') {
        Some((label @ ("  binary" | "  cluster"), _)) => format!("{label}: …\n"),
        _ => format!("{}\n", without_numbers(line)),
    });
    lines.collect::<String>().trim_end().to_owned()
}

fn without_numbers(line: &str) -> String {
    let mut words = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if words.ends_with('N') => {}
            '0'..='9' => words.push('N'),
            _ => words.push(c),
        }
    }
    words
}

#[test]
fn up_and_down() {
    let play = Playground::new();
    // Only the first test of a new target folder would say that etcd is installed.
    play.xtask(&["etcd-install"]).ok();
    let mut all = String::new();
    let lines: [&[&str]; 10] = [
        &["etcd-status"],
        &["etcd-up"],
        &["etcd-up"],
        &["etcd-status"],
        &["env"],
        &["etcd-reset"],
        &["etcd-up", "--etcd", "3.6.7"],
        &["etcd-down"],
        &["etcd-down"],
        &["etcd-logs", "--instance", "other"],
    ];
    for line in lines {
        let run = play.xtask(line);
        all.push_str(&format!("$ {}\n{}\n[exit code {}]\n\n", line.join(" "), said(&play, &run), run.code.unwrap()));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_failed_start() {
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    fake_etcd(&bin, r#"echo '{"level":"fatal","msg":"discovery failed","error":"wal: crc mismatch"}' >&2; exit 1"#);
    let play = play.with("ETCDBINPATH", &bin);
    insta::assert_snapshot!(said(&play, &play.xtask(&["etcd-up"])));
}

#[test]
fn the_help() {
    let play = Playground::new();
    insta::assert_snapshot!(play.xtask(&["--help"]).ok().stdout);
    insta::assert_snapshot!(play.xtask(&["etcd-up", "--help"]).ok().stdout);
}
