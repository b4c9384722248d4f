//! A way for cargo to rebuild this program while it runs. Windows does not let a running program's file be
//! overwritten, but it can be renamed: long-running commands rename their file and leave a copy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::context::Context;

const ASIDE: &str = ".running-";

/// To be called by long-running commands. Does nothing except on Windows: other systems can replace a running program's file.
pub(crate) fn make_way(cx: &Context) {
    if !cfg!(windows) {
        return;
    }
    let result = std::env::current_exe().and_then(|exe| step_aside(&exe, std::process::id()));
    if let Err(error) = result {
        cx.output.note(format_args!("note: cargo cannot rebuild xtask until this command ends: {error}"));
    }
}

/// Deletes the renamed files of commands that have ended. The files of running commands cannot be deleted, and stay.
pub(crate) fn clean_up() {
    if !cfg!(windows) {
        return;
    }
    if let Ok(exe) = std::env::current_exe() {
        remove_aside(&exe);
    }
}

/// The program and the copy of it, by hard link, that cargo's linker writes to.
fn links(exe: &Path) -> Vec<PathBuf> {
    let deps = exe.parent().zip(exe.file_name()).map(|(dir, name)| dir.join("deps").join(name));
    std::iter::once(exe.to_owned()).chain(deps).filter(|path| path.is_file()).collect()
}

fn step_aside(exe: &Path, pid: u32) -> io::Result<()> {
    for path in links(exe) {
        let mut aside = path.clone().into_os_string();
        aside.push(format!("{ASIDE}{pid}"));
        let aside = PathBuf::from(aside);
        fs::rename(&path, &aside)?;
        if let Err(error) = fs::copy(&aside, &path) {
            fs::rename(&aside, &path)?;
            return Err(error);
        }
    }
    Ok(())
}

fn remove_aside(exe: &Path) {
    let Some(name) = exe.file_name().and_then(|name| name.to_str()) else { return };
    for dir in links(exe).iter().filter_map(|path| path.parent()) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let aside = entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_prefix(name)?.strip_prefix(ASIDE)?.parse::<u32>().ok());
            if aside.is_some() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_renamed_copied_and_swept() {
        let dir = tempfile::tempdir().unwrap();
        let (exe, deps) = (dir.path().join("xtask.exe"), dir.path().join("deps").join("xtask.exe"));
        fs::create_dir(dir.path().join("deps")).unwrap();
        fs::write(&deps, "program").unwrap();
        fs::hard_link(&deps, &exe).unwrap();
        let bystander = dir.path().join("xtask.exe.running-away");
        fs::write(&bystander, "").unwrap();
        step_aside(&exe, 7).unwrap();
        for (path, aside) in [(&exe, "xtask.exe.running-7"), (&deps, "deps/xtask.exe.running-7")] {
            assert_eq!(fs::read_to_string(path).unwrap(), "program");
            assert_eq!(fs::read_to_string(dir.path().join(aside)).unwrap(), "program");
        }
        fs::write(&exe, "rebuilt").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("xtask.exe.running-7")).unwrap(), "program");
        remove_aside(&exe);
        assert!(
            !dir.path().join("xtask.exe.running-7").exists() && !dir.path().join("deps/xtask.exe.running-7").exists()
        );
        assert!(bystander.exists());
    }
}
