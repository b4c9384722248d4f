//! What cargo and rustup add to the environment of what they run. `cargo run` describes the package that it runs, and
//! rustup names the toolchain that it chose: both are about this program, and wrong for the programs that it runs.
//!
//! A value that replaced one of the user's is lost. Everything else can be told apart: by its name, by where a path
//! leads, by what rustup says of its choice, and by `[env]` of Cargo's configuration. SSL_CERT_FILE and SSL_CERT_DIR
//! cannot, and stay: cargo sets them, where they are not set, to the system's own certificates.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(super) type Vars = BTreeMap<OsString, OsString>;

/// Where programs look for shared libraries: cargo and rustup put directories of theirs first.
const LIBRARIES: &str = if cfg!(windows) {
    "PATH"
} else if cfg!(target_os = "macos") {
    "DYLD_FALLBACK_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// Takes out of `vars` what cargo and rustup added, and returns it. Nothing, where cargo did not start `exe`.
pub(super) fn take(vars: &mut Vars, cwd: &Path, exe: Option<&Path>) -> Vars {
    let mut added = Vars::new();
    if !vars.contains_key(OsStr::new("CARGO_MANIFEST_DIR")) {
        return added;
    }
    let above = Above::of(vars, cwd, exe);
    for (name, value) in std::mem::take(vars) {
        let rest = above.users_part(&name, &value);
        if rest.as_ref() != Some(&value) {
            added.insert(name.clone(), value);
        }
        vars.extend(rest.map(|rest| (name, rest)));
    }
    added
}

/// What started us.
struct Above {
    /// `[env]` of Cargo's configuration.
    configured: Vec<(String, OsString)>,
    /// Where the shared libraries of the build and of the toolchain are.
    libraries: Vec<PathBuf>,
    toolchain: Toolchain,
    /// Where Cargo and rustup keep their files unless a variable says otherwise.
    default_homes: [Option<PathBuf>; 2],
}

#[derive(PartialEq, Eq)]
enum Toolchain {
    /// There is no rustup.
    Plain,
    /// The user's RUSTUP_TOOLCHAIN, or a rustup before 1.29, which does not say who chose it.
    MaybeUsers,
    /// A file, an override, `+toolchain`, or the default.
    RustupsChoice,
}

impl Above {
    fn of(vars: &Vars, cwd: &Path, exe: Option<&Path>) -> Self {
        let var = |name: &str| vars.get(OsStr::new(name));
        let home = var(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from);
        let default_homes = [".cargo", ".rustup"].map(|name| home.as_ref().map(|home| home.join(name)));
        let toolchain = match (var("RUST_RECURSION_COUNT"), var("RUSTUP_TOOLCHAIN_SOURCE")) {
            (None, _) => Toolchain::Plain,
            (Some(_), Some(source)) if source != "env" => Toolchain::RustupsChoice,
            (Some(_), _) => Toolchain::MaybeUsers,
        };
        // `<target>/debug/xtask`; tests and examples lie a directory deeper.
        let built = exe.and_then(Path::parent);
        let built = built.map(|dir| if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir });
        let sysroot = var("CARGO").and_then(|cargo| Some(Path::new(cargo).parent()?.parent()?.to_owned()));
        let libraries = built.map(Path::to_owned).into_iter().chain(sysroot.map(|root| root.join("lib"))).collect();
        let cargo_home = var("CARGO_HOME").map(|dir| cwd.join(dir)).or_else(|| default_homes[0].clone());
        Self { configured: configured(cwd, cargo_home.as_deref()), libraries, toolchain, default_homes }
    }

    /// What the user had in a variable; `None`: the user did not have the variable.
    fn users_part(&self, name: &OsStr, value: &OsStr) -> Option<OsString> {
        let rustup = self.toolchain != Toolchain::Plain;
        let is_added = match name.to_str().unwrap_or_default() {
            // The last one is the alias's.
            "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "XTASK_ALIAS" => true,
            name if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_EXE_") => true,
            "OUT_DIR" => is_out_dir(Path::new(value)),
            "CARGO_HOME" => rustup && self.default_homes[0].as_deref() == Some(Path::new(value)),
            "RUSTUP_HOME" => rustup && self.default_homes[1].as_deref() == Some(Path::new(value)),
            "RUSTUP_TOOLCHAIN" => self.toolchain == Toolchain::RustupsChoice,
            "RUSTUP_TOOLCHAIN_SOURCE" => rustup,
            "RUST_RECURSION_COUNT" => return one_less(value),
            LIBRARIES => return self.without_libraries(value),
            // Windows does not tell `Path` from `PATH`.
            name if cfg!(windows) && name.eq_ignore_ascii_case(LIBRARIES) => return self.without_libraries(value),
            name => self.configured.iter().any(|(set, to)| set == name && to == value),
        };
        (!is_added).then(|| value.to_owned())
    }

    fn without_libraries(&self, value: &OsStr) -> Option<OsString> {
        let is_ours = |dir: &PathBuf| match self.libraries.iter().find_map(|ours| dir.strip_prefix(ours).ok()) {
            Some(below) => ["", "deps", "build", "rustlib"].iter().any(|ours| {
                let mut parts = below.components();
                parts.next().map_or(OsStr::new(""), |part| part.as_os_str()) == *ours
            }),
            None => false,
        };
        let (ours, users): (Vec<_>, Vec<_>) = std::env::split_paths(value).partition(is_ours);
        if ours.is_empty() {
            return Some(value.to_owned());
        }
        std::env::join_paths(&users).ok().filter(|_| !users.is_empty())
    }
}

/// rustup counts how deep its programs are nested.
fn one_less(value: &OsStr) -> Option<OsString> {
    match value.to_str().map(str::parse::<u32>) {
        Some(Ok(0 | 1)) => None,
        Some(Ok(count)) => Some((count - 1).to_string().into()),
        _ => Some(value.to_owned()),
    }
}

/// `…/build/xtask-0123456789abcdef/out`, of the package's build script.
fn is_out_dir(path: &Path) -> bool {
    path.ends_with("out") && path.ancestors().nth(2).is_some_and(|dir| dir.ends_with("build"))
}

/// What `[env]` of Cargo's configuration sets for the programs that cargo runs in `dir`, the nearest file first.
pub(super) fn configured(dir: &Path, cargo_home: Option<&Path>) -> Vec<(String, OsString)> {
    let places = dir.ancestors().map(|dir| dir.join(".cargo")).chain(cargo_home.map(Path::to_owned));
    places
        .flat_map(|place| ["config", "config.toml"].map(|name| place.join(name)))
        .flat_map(|file| read(&file))
        .collect()
}

/// A file that is not there, or not Cargo's, sets nothing.
fn read(file: &Path) -> Vec<(String, OsString)> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        env: BTreeMap<String, Value>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Plain(String),
        Detailed {
            value: String,
            #[serde(default)]
            relative: bool,
        },
    }

    let text = std::fs::read_to_string(file).unwrap_or_default();
    let Ok(config) = toml::from_str::<Config>(&text) else { return Vec::new() };
    let base = file.ancestors().nth(2).unwrap_or(file);
    let set = config.env.into_iter().map(|(name, value)| match value {
        Value::Detailed { value, relative: true } => (name, base.join(value).into_os_string()),
        Value::Detailed { value, .. } | Value::Plain(value) => (name, value.into()),
    });
    set.collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const RUN_BY_CARGO: &[(&str, &str)] = &[
        ("CARGO", "/home/u/.rustup/toolchains/stable/bin/cargo"),
        ("CARGO_MANIFEST_DIR", "/w/xtask"),
        ("CARGO_MANIFEST_PATH", "/w/xtask/Cargo.toml"),
        ("CARGO_PKG_NAME", "xtask"),
        ("CARGO_PKG_VERSION_PRE", ""),
        ("OUT_DIR", "/w/target/debug/build/xtask-7a4a4fbc2440a56b/out"),
        ("HOME", "/home/u"),
    ];
    const BY_RUSTUP: &[(&str, &str)] = &[
        ("CARGO_HOME", "/home/u/.cargo"),
        ("RUSTUP_HOME", "/home/u/.rustup"),
        ("RUSTUP_TOOLCHAIN", "stable-x86_64-unknown-linux-gnu"),
        ("RUSTUP_TOOLCHAIN_SOURCE", "default"),
        ("RUST_RECURSION_COUNT", "1"),
    ];

    /// What is left of these variables, as `NAME=value`, after cargo's own, and HOME, went.
    fn left(more: &[&[(&str, &str)]], cwd: &Path) -> Vec<String> {
        let all = [RUN_BY_CARGO].iter().chain(more).copied().flatten();
        let mut vars: Vars = all.map(|(name, value)| (name.into(), value.into())).collect();
        take(&mut vars, cwd, Some(Path::new("/w/target/debug/xtask")));
        vars.remove(OsStr::new("HOME"));
        vars.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
    }

    #[test]
    fn nothing_of_cargo_and_rustup_is_left() {
        assert!(left(&[], Path::new("/w")).is_empty());
        assert!(left(&[BY_RUSTUP], Path::new("/w")).is_empty());
    }

    #[test]
    fn what_the_user_set_stays() {
        let users: &[(&str, &str)] = &[
            ("CARGO_HOME", "/opt/cargo"),
            ("CARGO_NET_OFFLINE", "true"),
            ("CARGO_TARGET_DIR", "/elsewhere"),
            ("OUT_DIR", "/my/out"),
            ("RUSTUP_HOME", "/opt/rustup"),
            ("RUSTUP_TOOLCHAIN", "nightly"),
            ("RUST_RECURSION_COUNT", "3"),
        ];
        let mut expected: Vec<String> = users.iter().map(|(name, value)| format!("{name}={value}")).collect();
        expected[6] = "RUST_RECURSION_COUNT=2".to_owned();
        assert_eq!(left(&[BY_RUSTUP, users, &[("RUSTUP_TOOLCHAIN_SOURCE", "env")]], Path::new("/w")), expected);
    }

    #[test]
    fn without_cargo_above_everything_is_the_users() {
        let mut vars: Vars = BY_RUSTUP.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let before = vars.clone();
        assert!(take(&mut vars, Path::new("/w"), None).is_empty());
        assert_eq!(vars, before);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_libraries_of_the_build_and_the_toolchain_go() {
        let toolchain = "/home/u/.rustup/toolchains/stable/lib";
        let ours = format!(
            "/w/target/debug/build/ring-1/out:/w/target/debug:/w/target/debug/deps:{toolchain}/rustlib/a/lib:{toolchain}"
        );
        let left = |value: &str| left(&[&[("LD_LIBRARY_PATH", value)]], Path::new("/w"));
        assert!(left(&ours).is_empty());
        assert_eq!(
            left(&format!("{ours}:/opt/mine:{toolchain}64")),
            [format!("LD_LIBRARY_PATH=/opt/mine:{toolchain}64")]
        );
        assert_eq!(left("/opt/mine::"), ["LD_LIBRARY_PATH=/opt/mine::"], "as it was");
    }

    #[test]
    fn what_the_configuration_sets_is_not_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("a"), dir.path().join("a/b"));
        for (dir, text) in [
            (&outer, "[env]\nPROTOC = { value = \"scripts/protoc\", relative = true }\nFAR = \"1\""),
            (&inner, "[env]\nNEAR = { value = \"x\", force = true }\n[build]\njobs = 3"),
        ] {
            std::fs::create_dir_all(dir.join(".cargo")).unwrap();
            std::fs::write(dir.join(".cargo/config.toml"), text).unwrap();
        }
        let protoc = outer.join("scripts/protoc");
        let set = [("PROTOC", protoc.to_str().unwrap()), ("FAR", "1"), ("NEAR", "x")];
        assert!(left(&[&set], &inner).is_empty());
        assert_eq!(left(&[&set], &outer), ["NEAR=x"]);
        assert_eq!(left(&[&[("PROTOC", "/my/protoc"), ("FAR", "2")]], &inner), ["FAR=2", "PROTOC=/my/protoc"]);
    }
}
