//! `init`: adds these commands to another workspace. It writes what `docs/adopt.md` tells people to write, from the files of
//! `examples/adopter`. It adds to files, and never changes or removes a line.

mod additions;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use etcd_workspace::ManifestSettings;
use etcd_xtask::{Context, Exit, Failure, output};
use serde_json::Value;

use self::additions::{has, with_line, with_member, with_tables};
use crate::cli::Init;

const MANIFEST: &str = include_str!("../../examples/adopter/Cargo.toml");
const CONFIG: &str = include_str!("../../examples/adopter/.cargo/config.toml");
const PACKAGE: &str = include_str!("../../examples/adopter/xtask/Cargo.toml");
const MAIN: &str = include_str!("../../examples/adopter/xtask/src/main.rs");
const CI: &str = include_str!("../../examples/adopter/.github/workflows/etcd.yml");

/// The workspace to which the commands are added.
struct Workspace {
    root: PathBuf,
    /// The directory of its package `xtask`, below the root, if there is such a package.
    xtask: Option<String>,
}

/// A file of the workspace.
struct File {
    path: String,
    /// What the file is for.
    purpose: &'static str,
    /// The text before; `None`: there is no file.
    old: Option<String>,
    new: New,
}

/// The new content of a file.
enum New {
    Text(String),
    /// The file needs no change, or is unrelated.
    Same,
    /// The lines to add cannot be added without changing other lines.
    ByHand(String),
}

pub(crate) fn run(args: &Init, cx: &Context) -> Result<Exit> {
    let checkout =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this program was not built in a checkout")?;
    let workspace = Workspace::find(cx)?;
    if workspace.root == checkout {
        return Err(elsewhere(format!("`{}` is the workspace that these commands come from", checkout.display())));
    }
    workspace.check_root(&args.root)?;
    let files = workspace.plan(&args.root, &shown_path(&checkout.join("crates")))?;
    for File { path, new, .. } in &files {
        if let New::Text(text) = new {
            let path = workspace.root.join(path);
            let dir = path.parent().context("a file is in a directory")?;
            fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
            fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        }
    }
    output::answer_text(&summary(&workspace.root, &files, checkout)?)?;
    let by_hand = files.iter().any(|file| matches!(file.new, New::ByHand(_)));
    Ok(if by_hand { Exit::FAILURE } else { Exit::SUCCESS })
}

fn elsewhere(what: String) -> anyhow::Error {
    Failure::with_exit(Exit::USAGE, what, "run `init` in the workspace to which to add the commands")
}

impl Workspace {
    /// The workspace of the current directory, which is not the one that this program belongs to.
    fn find(cx: &Context) -> Result<Self> {
        let mut cargo = cx.command("cargo");
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = cargo.output().context("cannot run `cargo metadata`")?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(elsewhere(stderr.trim().trim_start_matches("error: ").to_owned()));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` did not print JSON")?;
        let root = PathBuf::from(
            text(&metadata, "workspace_root").context("`cargo metadata` did not print the workspace's root")?,
        );
        let packages = metadata.get("packages").and_then(Value::as_array);
        let xtask = packages.into_iter().flatten().find(|package| text(package, "name") == Some("xtask"));
        let manifest = xtask.and_then(|package| text(package, "manifest_path"));
        let dir = manifest.and_then(|manifest| Path::new(manifest).parent()?.strip_prefix(&root).ok());
        let xtask = dir.map(shown_path);
        Ok(Self { root, xtask })
    }

    fn check_root(&self, root: &str) -> Result<()> {
        let usage = |what: String, next: &str| Err(Failure::with_exit(Exit::USAGE, what, next));
        let wanted = match ManifestSettings::parse(&format!("[workspace.metadata.etcd]\n{}\n", root_line(root))) {
            Ok(settings) => settings.root,
            Err(why) => {
                // The line is not the user's.
                let why = why.split(" at line ").next().unwrap_or_default();
                let what = format!("`--root {root}` cannot be used: {why}");
                return usage(what, "give the prefix of your product's keys, like `/my-product/v1`");
            }
        };
        let manifest = self.root.join("Cargo.toml");
        match ManifestSettings::parse(&read(&manifest)?.unwrap_or_default()) {
            Err(why) => usage(format!("`{}`: {why}", manifest.display()), "correct it, and run `init` again"),
            Ok(settings) => match settings.root {
                Some(other) if Some(&other) != wanted.as_ref() => {
                    let what = format!("`{}` has the root `{other}` already", manifest.display());
                    usage(what, &format!("give `--root {other}`, or change `root` in [workspace.metadata.etcd]"))
                }
                _ => Ok(()),
            },
        }
    }

    fn plan(&self, root: &str, crates: &str) -> Result<Vec<File>> {
        let dependency = format!("etcd-xtask = {{ path = \"{crates}/etcd-xtask\" }}");
        let mut files = Vec::new();
        let mut add = |path: &str, purpose, to_new: &dyn Fn(Option<&str>) -> New| -> Result<()> {
            let old = read(&self.root.join(path))?;
            let new = match to_new(old.as_deref()) {
                New::Text(text) if old.as_ref() == Some(&text) => New::Same,
                new => new,
            };
            files.push(File { path: path.to_owned(), purpose, old, new });
            Ok(())
        };
        let xtask = self.xtask.as_deref();
        let member = if xtask.is_none() { Some("xtask") } else { None };
        let purpose = "the member `xtask`, settings, a dev profile";
        add("Cargo.toml", purpose, &|old| manifest(old.unwrap_or_default(), member, root))?;
        // Cargo prefers the old name where both files are.
        let old_name = self.root.join(".cargo/config").is_file();
        let config_file = if old_name { ".cargo/config" } else { ".cargo/config.toml" };
        add(config_file, "the alias, a protoc", &|old| old.map_or_else(|| New::Text(CONFIG.to_owned()), config))?;
        let dir = xtask.unwrap_or("xtask");
        add(&format!("{dir}/Cargo.toml"), "the package of the commands", &|old| match old {
            None => New::Text(package(&dependency)),
            Some(old) if old.contains("etcd-xtask") => New::Same,
            Some(_) => New::ByHand(format!("[dependencies]\n{dependency}\n")),
        })?;
        add(&format!("{dir}/src/main.rs"), "its program", &|old| match old {
            None if xtask.is_none() => New::Text(MAIN.to_owned()),
            Some(old) if old.contains("etcd_xtask") => New::Same,
            _ => New::ByHand(format!("call the commands: see the example in {crates}/etcd-xtask/src/lib.rs\n")),
        })?;
        add(".github/workflows/etcd.yml", "a CI job", &|old| {
            old.map_or_else(|| New::Text(CI.to_owned()), |_| New::Same)
        })?;
        Ok(files)
    }
}

fn text<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key)?.as_str()
}

fn root_line(root: &str) -> String {
    format!("root = {root:?}")
}

/// A path as TOML has it on any system.
fn shown_path(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// The package of the example, whose own dependency is by a path that is right only there.
fn package(dependency: &str) -> String {
    let lines = PACKAGE.lines().map(|line| if line.starts_with("etcd-xtask") { dependency } else { line });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn manifest(old: &str, member: Option<&str>, root: &str) -> New {
    let root = root_line(root);
    let text = member.map_or_else(|| Some(old.to_owned()), |member| with_member(old, member));
    match text.and_then(|text| with_line(&text, "workspace.metadata.etcd", "root", &root)) {
        None => New::ByHand(format!("[workspace]\nmembers = [\"xtask\"]\n\n[workspace.metadata.etcd]\n{root}\n")),
        Some(text) if has(&text, &["profile", "dev"]) => New::Text(text),
        Some(text) => New::Text(with_tables(&text, profile()).unwrap_or(text)),
    }
}

/// The profile of the example, with the comment above it.
fn profile() -> &'static str {
    MANIFEST.find("# As in").and_then(|start| MANIFEST.get(start..)).unwrap_or_default()
}

fn config(old: &str) -> New {
    let line = |key: &str| CONFIG.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    let alias = with_line(old, "alias", "xtask", line("xtask"));
    match alias.and_then(|text| with_line(&text, "env", "PROTOC", line("PROTOC"))) {
        Some(text) => New::Text(text),
        None => New::ByHand(CONFIG.to_owned()),
    }
}

fn summary(workspace: &Path, files: &[File], checkout: &Path) -> Result<String> {
    let mut text = format!("workspace: {}\n", workspace.display());
    for File { path, purpose, old, new } in files {
        match (new, old) {
            (New::Text(_), None) => writeln!(text, "  created    {path} ({purpose})")?,
            (New::Text(_), Some(_)) => writeln!(text, "  extended   {path} ({purpose})")?,
            (New::Same, _) => writeln!(text, "  unchanged  {path}")?,
            (New::ByHand(lines), _) => {
                writeln!(text, "  unchanged  {path}: init cannot extend this file safely; add by hand:")?;
                lines.lines().try_for_each(|line| writeln!(text, "      {line}"))?;
            }
        }
    }
    let checkout = shown_path(checkout);
    write!(
        text,
        "next:
  cargo xtask etcd-up    # installs and starts etcd
  cargo xtask test       # runs the workspace's tests against an etcd
  Tests in sandboxes need a line in [dev-dependencies] of their crate:
      etcd-sandbox = {{ path = \"{checkout}/crates/etcd-sandbox\" }}
  These paths are valid only on this machine. For CI and your team, replace `path` by `git = \"URL\"` of the repository.
  More: {checkout}/docs/adopt.md
"
    )?;
    Ok(text)
}
