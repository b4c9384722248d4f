//! Hints, followed: what the first one names is done, and then the same command succeeds, or says something else.
//! Hints of odd situations are followed by the table of situations; here are those of mistakes.

use crate::keys::play;
use crate::playground::{Playground, Run, TRUE};

/// A command that fails, in a workspace without an etcd unless it says so.
struct Mistake {
    /// Done before.
    before: &'static [&'static [&'static str]],
    line: &'static [&'static str],
    endpoints: Option<&'static str>,
    /// What the hint says.
    hint: &'static str,
    /// What it means: commands, and then the line as it is to be.
    follow: &'static [&'static [&'static str]],
    /// Without `ETCD_ENDPOINTS`, as it says.
    unset: bool,
}

const NOBODY: &str = "http://127.0.0.1:1";
const UP: &[&str] = &["etcd-up"];
const OF_VARIABLE: &str = "ETCD_ENDPOINTS leads there: unset it, or give `--instance default`";
const OF_FLAG: &str = "--endpoints leads there; without it the workspace's own etcd is meant";
const BOTH: &[&[&str]] =
    &[UP, &["put", "/Inventory/v1/a", "v"], &["put", "/Inventory/v1/b", "v"], &["del", "/k", "--yes"]];

const MISTAKE: Mistake = Mistake { before: &[], line: &[], endpoints: None, hint: "", follow: &[], unset: false };

const MISTAKES: &[Mistake] = &[
    Mistake { line: &["get", "/k"], hint: "`cargo xtask etcd-up` starts it", follow: &[UP, &["get", "/k"]], ..MISTAKE },
    Mistake { line: &["env"], hint: "`cargo xtask etcd-up` starts it", follow: &[UP, &["env"]], ..MISTAKE },
    Mistake {
        line: &["run", "--keep", "--", TRUE],
        hint: "`cargo xtask etcd-up` starts an etcd that keeps its keys",
        follow: &[UP, &["run", "--keep", "--", TRUE]],
        ..MISTAKE
    },
    Mistake {
        line: &["run", "--instance", "two", "--", TRUE],
        hint: "`cargo xtask etcd-up --instance two` starts it",
        follow: &[&["etcd-up", "--instance", "two"], &["run", "--instance", "two", "--", TRUE]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["run", "--", TRUE],
        endpoints: Some(NOBODY),
        hint: OF_VARIABLE,
        follow: &[&["run", "--instance", "default", "--", TRUE]],
        ..MISTAKE
    },
    Mistake {
        line: &["run", "--", TRUE],
        endpoints: Some(NOBODY),
        hint: OF_VARIABLE,
        follow: &[&["run", "--", TRUE]],
        unset: true,
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["runs"],
        endpoints: Some(NOBODY),
        hint: OF_VARIABLE,
        follow: &[&["runs", "--instance", "default"]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["run", "--endpoints", NOBODY, "--", TRUE],
        hint: OF_FLAG,
        follow: &[&["run", "--", TRUE]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["member", "list", "--endpoints", NOBODY],
        hint: OF_FLAG,
        follow: &[&["member", "list"]],
        ..MISTAKE
    },
    Mistake {
        before: BOTH,
        line: &["get", "/Inventory/v1", "--print-value-only"],
        hint: "2 keys begin with `/Inventory/v1/`: `cargo xtask get /Inventory/v1/ --prefix`",
        follow: &[&["get", "/Inventory/v1/", "--prefix"]],
        ..MISTAKE
    },
    Mistake {
        before: BOTH,
        line: &["del", "/Inventory/v1/a", "/Inventory/v1/c"],
        hint: "`--yes --expect-count 2` does it",
        follow: &[&["del", "/Inventory/v1/a", "/Inventory/v1/c", "--yes", "--expect-count", "2"]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["etcd-reset"],
        hint: "`cargo xtask etcd-reset --yes` does it",
        follow: &[&["etcd-reset", "--yes"]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["etcd-up", "--etcd", "3.6.7"],
        hint: "`--instance NAME` starts another instance beside it",
        follow: &[&["etcd-up", "--etcd", "3.6.7", "--instance", "two"]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["etcd-up", "--foreground"],
        hint: "`cargo xtask etcd-down` stops it",
        follow: &[&["etcd-down"], &["etcd-up"]],
        ..MISTAKE
    },
    Mistake {
        line: &["etcd-logs"],
        hint: "`cargo xtask etcd-up` starts a server, which writes one",
        follow: &[UP, &["etcd-logs"]],
        ..MISTAKE
    },
    Mistake {
        before: &[UP],
        line: &["test-clean", "--run", "20261124T203427Z-e8d31b4a2bff14066c46c9f97f273d87"],
        hint: "`cargo xtask runs` lists them",
        follow: &[&["runs"]],
        ..MISTAKE
    },
];

fn call(play: &Playground, line: &[&str], endpoints: Option<&str>) -> Run {
    let mut command = play.command(line);
    command.envs(endpoints.map(|url| ("ETCD_ENDPOINTS", url)));
    crate::playground::finish(command)
}

#[test]
fn a_hint_that_is_followed_changes_the_situation() {
    for Mistake { before, line, endpoints, hint, follow, unset } in MISTAKES {
        let play = play();
        for line in *before {
            play.xtask(line).ok();
        }
        let failed = call(&play, line, *endpoints);
        assert_ne!(failed.code, Some(0), "{line:?}: {failed:?}");
        let said = failed.stderr.lines().any(|said| said.starts_with("hint: ") && said.contains(hint));
        assert!(said, "`{hint}` is not the hint of {line:?}: {failed:?}");
        for line in *follow {
            call(&play, line, endpoints.filter(|_| !unset)).ok();
        }
    }
}
