//! No circles: of the modules in one folder, none uses another that uses it in turn, however long the way round. And the
//! order of modules in `crates/README.md` is true. By the `use` lines and `crate::` paths of the sources. A module and the
//! folder of its name are one module here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which sibling uses which, by the folder that they are in.
type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn sources(dir: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
        if path.is_dir() {
            sources(&path, &module, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !["lib", "main"].contains(&name) {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\nmod tests {").next().unwrap();
            let lines = code.lines().map(|line| line.split("//").next().unwrap());
            found.insert(module, lines.collect::<Vec<_>>().join(" "));
        }
    }
}

/// The paths of a `use`, without its braces: `a::{b, c::{d, e}}` has three.
fn paths(tree: &str, before: &str, found: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        found.push(format!("{before}{path}"));
        return;
    };
    let (mut depth, mut start) = (0, 0);
    let inner = &rest[..rest.rfind('}').unwrap_or(rest.len())];
    for (at, char) in inner.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                paths(&inner[start..at], &format!("{before}{}", head.trim()), found);
                start = at + 1;
            }
            _ => {}
        }
    }
    paths(&inner[start..], &format!("{before}{}", head.trim()), found);
}

/// All paths into the crate that a source has, from the crate's root.
fn used(module: &str, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(&format!("use {start}")) {
            paths(code[at + 4..].split(';').next().unwrap(), "", &mut found);
        }
    }
    let is_path = |char: char| char.is_alphanumeric() || "_:".contains(char);
    let plain = code.match_indices("crate::").map(|(at, _)| code[at..].split(|char| !is_path(char)).next().unwrap());
    found.extend(plain.map(str::to_owned));
    let here: Vec<_> = module.split("::").map(str::to_owned).collect();
    let absolute = |path: String| {
        let (first, rest) = path.split_once("::").unwrap_or((&path, ""));
        let above = match first {
            "crate" => &[],
            "super" => &here[..here.len() - 1],
            _ => &here[..],
        };
        above.iter().cloned().chain(rest.split("::").map(str::to_owned)).collect()
    };
    found.into_iter().map(absolute).collect()
}

fn uses(root: &Path) -> Uses {
    let mut modules = BTreeMap::new();
    sources(root, "", &mut modules);
    let mut uses = Uses::new();
    for (module, code) in &modules {
        let here: Vec<&str> = module.split("::").collect();
        for path in used(module, code) {
            let shared = here.iter().zip(&path).take_while(|(here, there)| *here == there).count();
            let folder = here[..shared].join("::");
            let Some((mine, other)) = here.get(shared).zip(path.get(shared)) else { continue };
            let other_module = [&here[..shared], &[other.as_str()]].concat().join("::");
            if modules.contains_key(&other_module) {
                let siblings = uses.entry(folder).or_default();
                siblings.entry((*mine).to_owned()).or_default().insert(other.clone());
            }
        }
    }
    uses
}

fn reachable<'a>(from: &'a String, siblings: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(siblings.get(module).into_iter().flatten().filter(|other| seen.insert(*other)));
    }
    seen
}

/// The modules that are on a way back to themselves.
fn circles(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, siblings) in uses(root) {
        let in_circle: Vec<_> =
            siblings.keys().filter(|module| reachable(module, &siblings).contains(module)).collect();
        if !in_circle.is_empty() {
            let dir = if folder.is_empty() { root.to_owned() } else { root.join(folder.replace("::", "/")) };
            found.push(format!("{}: {in_circle:?}", dir.display()));
        }
    }
    found
}

#[test]
fn no_modules_use_one_another_in_a_circle() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crates = fs::read_dir(workspace.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let roots: Vec<PathBuf> = crates.chain([workspace.join("xtask/src")]).filter(|root| root.is_dir()).collect();
    assert!(roots.len() > 8, "{roots:?}");
    let found: Vec<_> = roots.iter().flat_map(|root| circles(root)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The modules in the order of `crates/README.md`, line by line, of each crate that the page lists.
fn listed(page: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let sections = page.split("\nInside `").skip(1);
    let section = |text: &str| {
        let (name, rest) = text.split_once('`').unwrap();
        let block = rest.split("\n\n").nth(1).unwrap();
        // The second line of an explanation begins with more spaces.
        let lines = block.lines().filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with(' ')));
        let modules = lines.map(|line| line.split("  ").next().unwrap().split(", "));
        let modules = modules.map(|names| names.map(|name| name.trim_end_matches('/').to_owned()).collect());
        (name.to_owned(), modules.collect())
    };
    sections.map(section).collect()
}

/// What is not so in a crate: a module that the page does not name once, a name without a module, and a module that uses
/// one on a later line.
fn out_of_order(root: &Path, lines: &[Vec<String>]) -> Vec<String> {
    /// Only for tests and for fuzzing.
    const UNLISTED: [&str; 2] = ["fakes", "fuzzing"];
    let mut modules = BTreeMap::new();
    sources(root, "", &mut modules);
    modules.retain(|name, _| !name.contains("::") && !UNLISTED.contains(&name.as_str()));
    let line_of = |module: &str| lines.iter().position(|line| line.iter().any(|name| name == module));
    let named: Vec<&String> = lines.iter().flatten().collect();
    let mut wrong = Vec::new();
    for module in modules.keys() {
        match named.iter().filter(|name| **name == module).count() {
            1 => {}
            count => wrong.push(format!("{module} is named {count} times")),
        }
    }
    wrong.extend(named.iter().filter(|name| !modules.contains_key(**name)).map(|name| format!("{name} is no module")));
    for (module, used) in uses(root).remove("").unwrap_or_default() {
        let below = used.iter().filter(|other| line_of(other) > line_of(&module) && line_of(&module).is_some());
        wrong.extend(below.map(|other| format!("{module} uses {other}, which stands below it")));
    }
    wrong.into_iter().map(|wrong| format!("{}: {wrong}", root.display())).collect()
}

#[test]
fn modules_use_only_what_the_architecture_page_puts_above_them() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("crates");
    let listed = listed(&fs::read_to_string(crates.join("README.md")).unwrap());
    assert!(listed.len() > 5, "{listed:?}");
    let wrong = listed.iter().flat_map(|(name, lines)| out_of_order(&crates.join(name).join("src"), lines));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_page_that_is_not_true_is_found() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.rs"), "use crate::b::B;").unwrap();
    fs::write(dir.path().join("b.rs"), "").unwrap();
    let wrong = |lines: &str| {
        let listed = listed(&format!("x\nInside `c`, say:\n\n{lines}\n\nmore"));
        let found = out_of_order(dir.path(), &listed["c"]);
        found.into_iter().map(|wrong| wrong.rsplit_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert!(wrong("    b     one\n          more\n    a/    two").is_empty() && wrong("    a, b    both").is_empty());
    assert_eq!(wrong("    a    one\n    b    two"), ["a uses b, which stands below it"]);
    assert_eq!(wrong("    b, c, b    all"), ["a is named 0 times", "b is named 2 times", "c is no module"]);
}

#[test]
fn a_circle_is_found_however_long_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\nmod c;");
    write("a.rs", "mod inner;\nuse crate::{\n    b::{B, X},\n    d::D,\n};");
    write("a/inner.rs", "use super::A;\n// use crate::c::C;");
    write("b.rs", "fn b() { crate::c::c() }\n#[cfg(test)]\nmod tests { use crate::a::A; }");
    write("c.rs", "");
    assert_eq!(circles(dir.path()), Vec::<String>::new());
    write("c.rs", "use super::a::inner::I;");
    let found = circles(dir.path());
    assert!(found.len() == 1 && found[0].ends_with(r#": ["a", "b", "c"]"#), "{found:?}");
}
