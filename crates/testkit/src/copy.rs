//! Copies of directories. etcd reserves 64 MB for each file of its log: what was never written is not read and not written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Copies a directory, a file or a symbolic link, with permissions. Files that are at `to` already are overwritten.
///
/// # Panics
///
/// If anything of it cannot be read or written.
pub fn copy(from: &Path, to: &Path) {
    let metadata = fs::symlink_metadata(from).unwrap();
    if metadata.is_symlink() {
        return symlink(fs::read_link(from).unwrap(), to).unwrap();
    }
    if metadata.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        copy_data(from, to).unwrap();
    }
    fs::set_permissions(to, metadata.permissions()).unwrap();
}

fn copy_data(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    to.set_len(from.metadata()?.len())?;
    let mut at = 0;
    loop {
        at = match seek(&from, SeekFrom::Data(at)) {
            Ok(at) => at,
            // Nothing comes after `at`.
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = seek(&from, SeekFrom::Hole(at))?;
        seek(&from, SeekFrom::Start(at))?;
        seek(&to, SeekFrom::Start(at))?;
        io::copy(&mut io::Read::take(&mut from, end - at), &mut to)?;
        at = end;
    }
}
