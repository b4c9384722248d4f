//! Whether the tests are built from the current sources. Tests are built before anything is started, in case they do not
//! compile. Calling cargo takes a quarter of a second, so it is called only after changes. If this check misses a change, the
//! runner builds the tests later.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use etcd_local::Env;

use crate::context::Context;

/// The last build of the tests, and this one.
pub(crate) struct Built {
    env: Env,
    workspace: PathBuf,
    stamp: PathBuf,
    /// The arguments that select the tests.
    args: String,
    /// The start of this command: files that change during the build are newer.
    began: SystemTime,
}

impl Built {
    pub(crate) fn of(args: &[String], cx: &Context) -> Self {
        let stamp = cx.home().join(".tests-are-built");
        Self {
            env: cx.env.clone(),
            workspace: cx.workspace.clone(),
            stamp,
            args: args.join("\0"),
            began: SystemTime::now(),
        }
    }

    /// Whether nothing changed since the same tests were built.
    pub(crate) fn is_fresh(&self) -> bool {
        let modified = fs::metadata(&self.stamp).and_then(|metadata| metadata.modified());
        let Ok(built) = modified else { return false };
        fs::read_to_string(&self.stamp).is_ok_and(|args| args == self.args) && !has_newer(&self.workspace, built)
    }

    /// When this command began to look at the sources.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }

    /// To be called after the build. If it fails, cargo is called again the next time.
    pub(crate) fn remember(&self) {
        let write = || -> anyhow::Result<()> {
            etcd_local::create_home(&self.workspace, &self.env)?;
            fs::write(&self.stamp, &self.args)?;
            fs::File::options().write(true).open(&self.stamp)?.set_modified(self.began)?;
            Ok(())
        };
        drop(write());
    }
}

/// Whether anything below a directory changed since; hidden files and build output are not sources.
fn has_newer(dir: &Path, than: SystemTime) -> bool {
    let is_newer = |path: &Path| {
        fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified > than)
    };
    let Ok(entries) = fs::read_dir(dir) else { return true };
    entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                !path.join("CACHEDIR.TAG").exists() && (is_newer(&path) || has_newer(&path, than))
            }
            _ => is_newer(&path),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_anywhere_means_a_build() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for file in ["a/src/lib.rs", "target/x", "target/CACHEDIR.TAG", ".git/index", "Cargo.toml"] {
            fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            fs::write(path(file), "").unwrap();
        }
        let built = |args: &str, ahead: u64| Built {
            env: Env::empty(dir.path()),
            workspace: dir.path().to_owned(),
            stamp: path(".etcd/.tests-are-built"),
            args: args.to_owned(),
            began: SystemTime::now() + Duration::from_secs(ahead),
        };
        assert!(!built("", 0).is_fresh(), "never built");
        built("-p\0a", 10).remember();
        assert!(built("-p\0a", 0).is_fresh());
        assert!(!built("-p\0b", 0).is_fresh(), "other tests");
        let touch = |name: &str| {
            let file = fs::File::options().write(true).open(path(name)).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(20)).unwrap();
        };
        touch("target/x");
        touch(".git/index");
        assert!(built("-p\0a", 0).is_fresh());
        touch("a/src/lib.rs");
        assert!(!built("-p\0a", 0).is_fresh());
    }
}
