//! No circles: of the modules in one folder, none uses another that uses it in turn, however long the way round. By the
//! `use` lines and `crate::` paths of the sources. A module and the folder of its name are one module here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of modules that still use one another in a circle. None may be added.
const REMAINING: [&str; 1] = ["etcd-sandbox/src"];

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
    let found = roots.iter().flat_map(|root| circles(root));
    let is_known = |circle: &String| REMAINING.iter().any(|folder| circle.contains(&format!("{folder}: ")));
    let new: Vec<_> = found.filter(|circle| !is_known(circle)).collect();
    assert!(new.is_empty(), "{new:#?}");
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
