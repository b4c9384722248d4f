//! The house rules that a machine can check: who may depend on whom. By the lock file, which knows every system's
//! packages without having them: a fresh machine has those of its own system only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every package that the lock file has below `package`, on every system. Tests' own are among those of ours,
/// which makes the rules stricter than they need be.
fn below(package: &str) -> BTreeSet<String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    let named = |line: &str| line.split('"').nth(1).unwrap().split(' ').next().unwrap().to_owned();
    // Versions aside: a package is what it is in each of them.
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.lines().find(|line| line.starts_with("name = ")).unwrap();
        let below = package.lines().filter(|line| line.starts_with(" \"")).map(named);
        packages.entry(named(name)).or_default().extend(below);
    }
    let (mut found, mut next) = (BTreeSet::new(), vec![package.to_owned()]);
    while let Some(name) = next.pop() {
        for name in packages.get(&name).unwrap_or_else(|| panic!("`{name}` is not locked")) {
            if found.insert(name.clone()) {
                next.push(name.clone());
            }
        }
    }
    found
}

fn rules(package: &str, strangers: &[&str]) {
    let below = below(package);
    assert!(below.len() > 10, "{below:?}");
    for stranger in strangers {
        assert!(!below.contains(*stranger), "`{package}` must not depend on `{stranger}`");
    }
}

#[test]
fn xtask_and_the_engine_are_light() {
    for package in
        ["xtask", "etcd-binary", "etcd-local", "etcd-system", "etcd-workspace", "etcd-xtask", "etcd-console-cli"]
    {
        rules(package, &["tokio", "tonic", "prost", "prost-build", "hyper", "etcd-client", "openssl-sys", "rustls"]);
    }
}

#[test]
fn the_engine_knows_nothing_of_the_command_line_or_of_us() {
    rules("etcd-local", &["clap", "anyhow", "indicatif", "xtask", "etcd-keys", "etcd-sandbox", "etcd-console"]);
}

#[test]
fn which_etcd_to_run_is_known_without_instances() {
    rules("etcd-binary", &["clap", "anyhow", "etcd-local", "etcd-keys", "etcd-sandbox", "minreq"]);
    rules("etcd-system", &["clap", "anyhow", "etcd-binary", "etcd-local", "etcd-keys", "etcd-sandbox", "minreq"]);
}

#[test]
fn what_a_workspace_says_is_read_without_an_engine() {
    rules("etcd-workspace", &["clap", "anyhow", "etcd-local", "etcd-keys", "etcd-sandbox", "which", "minreq"]);
}

#[test]
fn the_keyspace_knows_no_tests_and_no_command_line() {
    rules("etcd-keys", &["clap", "xtask", "etcd-sandbox", "etcd-console", "cloudchamber-store"]);
}

#[test]
fn sandboxes_know_no_command_line() {
    rules("etcd-sandbox", &["clap", "xtask", "etcd-console", "cloudchamber-store"]);
}

/// Links to places in a page are taken for links to the page.
#[test]
fn links_of_the_pages_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = docs.chain(["README.md", "CONTRIBUTING.md", "crates/README.md"].map(|page| root.join(page)));
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "`{}` links to `{link}`", page.display());
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// Source files below `dir` that have such a line.
fn files_with(dir: &Path, is_such: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.fold(Vec::new(), |mut found, path| {
        if path.is_dir() {
            found.extend(files_with(&path, is_such));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && std::fs::read_to_string(&path).unwrap().lines().any(is_such)
        {
            found.push(path);
        }
        found
    })
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")
}

/// Any product can use these crates. What is Cloud Chamber's own is in its store and in this workspace's `Cargo.toml`.
#[test]
fn crates_for_everybody_do_not_name_our_product() {
    let all = files_with(&crates(), &|line| line.contains("CloudChamber"));
    let (ours, generic): (Vec<PathBuf>, Vec<PathBuf>) =
        all.into_iter().partition(|path| path.starts_with(crates().join("cloudchamber-store")));
    assert!(!ours.is_empty() && generic.is_empty(), "{generic:#?}");
}

/// Programs that have no `cargo xtask` show the errors of these crates, too.
#[test]
fn libraries_name_no_commands() {
    let names_one = |line: &str| line.contains("cargo xtask") && !line.trim_start().starts_with("//");
    let libraries = ["etcd-binary", "etcd-keys", "etcd-local", "etcd-sandbox", "etcd-system", "etcd-workspace"];
    let found = libraries.map(|library| files_with(&crates().join(library).join("src"), &names_one)).concat();
    assert_eq!(found, [crates().join("etcd-sandbox/src/hint.rs")]);
}

/// A test that only another test runs does nothing by itself; it is not shown as ignored.
#[test]
fn no_test_is_ignored() {
    let ignores = |line: &str| line.trim_start().starts_with("#[ignore");
    let found = [crates(), crates().join("../xtask")].map(|dir| files_with(&dir, &ignores)).concat();
    assert!(found.is_empty(), "{found:#?}");
}
