//! What the tests see of the machine that they run on: none of the programs that they are about, wherever it has them.

use std::ffi::OsString;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the tests keep what the next ones can use: XTASK_TEST_TMPDIR for a user who may not write to cargo's place.
pub(crate) fn kept() -> &'static Path {
    static KEPT: OnceLock<PathBuf> = OnceLock::new();
    KEPT.get_or_init(|| {
        std::env::var_os("XTASK_TEST_TMPDIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
    })
}

/// The programs that commands look for.
const HIDDEN: [&str; 4] = ["etcd", "etcdctl", "go", "protoc"];

/// This process's PATH, without these programs. A directory that has one is replaced by links to all the others.
pub(crate) fn plain_path() -> &'static Path {
    static PLAIN: OnceLock<PathBuf> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap();
        std::env::join_paths(std::env::split_paths(&path).map(|dir| without_hidden(&dir))).unwrap().into()
    })
}

fn without_hidden(dir: &Path) -> PathBuf {
    if HIDDEN.iter().all(|name| fs::symlink_metadata(dir.join(name)).is_err()) {
        return dir.to_owned();
    }
    // Made once, until something is installed there; whole or not at all, as other processes make it, too.
    let mut hash = std::hash::DefaultHasher::new();
    (dir, fs::metadata(dir).unwrap().modified().unwrap()).hash(&mut hash);
    let plain = kept().join(format!("path-{:016x}", hash.finish()));
    if !plain.exists() {
        let making = tempfile::tempdir_in(kept()).unwrap().keep();
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let name: OsString = entry.file_name();
            if HIDDEN.iter().all(|hidden| name != *hidden) {
                symlink(dir.join(&name), making.join(name)).unwrap();
            }
        }
        if fs::rename(&making, &plain).is_err() {
            fs::remove_dir_all(making).unwrap();
        }
    }
    plain
}
