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

use self::additions::{has, with_line, with_member, with_tables};
use crate::cli::Init;

const MANIFEST: &str = include_str!("../../examples/adopter/Cargo.toml");
const CONFIG: &str = include_str!("../../examples/adopter/.cargo/config.toml");
const PACKAGE: &str = include_str!("../../examples/adopter/xtask/Cargo.toml");
const MAIN: &str = include_str!("../../examples/adopter/xtask/src/main.rs");
const CI: &str = include_str!("../../examples/adopter/.github/workflows/etcd.yml");

/// A file of the workspace.
struct File {
    path: &'static str,
    /// What the file is for.
    purpose: &'static str,
    /// The text before; `None`: there is no file.
    old: Option<String>,
    new: New,
}

/// What a file is to become.
enum New {
    Text(String),
    /// The file has all that it needs, or is another's.
    Same,
    /// The lines to add cannot be added without changing other lines.
    ByHand(String),
}

pub(crate) fn run(args: &Init, cx: &Context) -> Result<Exit> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this program was built in no checkout")?;
    let workspace = find_workspace(cx)?;
    if workspace == checkout {
        let what = format!("`{}` is the workspace that these commands come from", workspace.display());
        return Err(Failure::with_exit(Exit::USAGE, what, "run `init` in the workspace that is to have the commands"));
    }
    check_root(&args.root)?;
    let crates = shown_path(&checkout.join("crates"));
    let files = plan(&workspace, &args.root, &crates)?;
    for File { path, new, .. } in &files {
        if let New::Text(text) = new {
            let path = workspace.join(path);
            let dir = path.parent().context("a file is in a directory")?;
            fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
            fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        }
    }
    output::answer_text(&summary(&workspace, &files, checkout)?)?;
    let by_hand = files.iter().any(|file| matches!(file.new, New::ByHand(_)));
    Ok(if by_hand { Exit::FAILURE } else { Exit::SUCCESS })
}

/// The workspace of the current directory, which is not the one that this program belongs to.
fn find_workspace(cx: &Context) -> Result<PathBuf> {
    let mut cargo = cx.command("cargo");
    cargo.args(["locate-project", "--workspace", "--message-format", "plain"]);
    let located = cargo.output().context("cannot run `cargo locate-project`")?;
    if !located.status.success() {
        let what = String::from_utf8_lossy(&located.stderr).trim().trim_start_matches("error: ").to_owned();
        return Err(Failure::with_exit(Exit::USAGE, what, "run `init` in the workspace that is to have the commands"));
    }
    let manifest = PathBuf::from(String::from_utf8_lossy(&located.stdout).trim());
    manifest.parent().map(Path::to_owned).context("cargo found no manifest")
}

fn check_root(root: &str) -> Result<()> {
    let parsed = ManifestSettings::parse(&format!("[workspace.metadata.etcd]\n{}\n", root_line(root)));
    match parsed {
        Ok(_) => Ok(()),
        Err(why) => {
            // The line is not the user's.
            let why = why.split(" at line ").next().unwrap_or_default();
            let what = format!("`--root {root}` cannot be used: {why}");
            Err(Failure::with_exit(Exit::USAGE, what, "give the prefix of your product's keys, like `/my-product/v1`"))
        }
    }
}

fn root_line(root: &str) -> String {
    format!("root = {root:?}")
}

/// A path as TOML has it on any system.
fn shown_path(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

fn plan(workspace: &Path, root: &str, crates: &str) -> Result<Vec<File>> {
    let dependency = format!("etcd-xtask = {{ path = \"{crates}/etcd-xtask\" }}");
    let mut files = Vec::new();
    let mut add = |path, purpose, to_new: &dyn Fn(Option<&str>) -> New| -> Result<()> {
        let old = read(&workspace.join(path))?;
        let new = match to_new(old.as_deref()) {
            New::Text(text) if old.as_ref() == Some(&text) => New::Same,
            new => new,
        };
        files.push(File { path, purpose, old, new });
        Ok(())
    };
    add("Cargo.toml", "the member `xtask`, settings, a dev profile", &|old| manifest(old.unwrap_or_default(), root))?;
    add(".cargo/config.toml", "the alias, a protoc", &|old| old.map_or_else(|| New::Text(CONFIG.to_owned()), config))?;
    add("xtask/Cargo.toml", "the package of the commands", &|old| match old {
        None => New::Text(package(&dependency)),
        Some(old) if old.contains("etcd-xtask") => New::Same,
        Some(_) => New::ByHand(format!("[dependencies]\n{dependency}\n")),
    })?;
    add("xtask/src/main.rs", "its program", &|old| match old {
        None => New::Text(MAIN.to_owned()),
        Some(old) if old.contains("etcd_xtask") => New::Same,
        Some(_) => New::ByHand("the commands, as the documentation of etcd-xtask shows\n".to_owned()),
    })?;
    add(".github/workflows/etcd.yml", "a CI job", &|old| old.map_or_else(|| New::Text(CI.to_owned()), |_| New::Same))?;
    Ok(files)
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

fn manifest(old: &str, root: &str) -> New {
    let root = root_line(root);
    let new = with_member(old, "xtask").and_then(|text| with_line(&text, "workspace.metadata.etcd", "root", &root));
    match new {
        None => {
            New::ByHand(format!("`\"xtask\"` in the members of [workspace], and\n[workspace.metadata.etcd]\n{root}\n"))
        }
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
  These paths are right on this machine only. For CI and your team, replace `path` by `git = \"URL\"` of the repository.
  More: {checkout}/docs/adopt.md
"
    )?;
    Ok(text)
}
