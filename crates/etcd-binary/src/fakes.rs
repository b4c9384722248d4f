//! What plays a part in tests: programs that are shell scripts, releases of such programs, a mirror of releases.

#![cfg(unix)]

mod mirror;

use std::fs::File;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(crate) use self::mirror::{Answer, Mirror};
use super::Tool;
use super::platform::Platform;
use crate::reporter::{Event, Reporter};

/// Says what this machine cannot test, and why. Past the test harness, which shows nothing of tests that pass.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Writes an executable shell script.
pub(crate) fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    let mut options = File::options();
    let mut file = options.write(true).create_new(true).mode(0o755).open(&path).unwrap();
    write!(file, "#!/bin/sh\n{body}\n").unwrap();
    path
}

/// Writes a script that tells a version as etcd does.
pub(crate) fn etcd(dir: &Path, version: &str) -> PathBuf {
    script(dir, "etcd", &format!("echo 'etcd Version: {version}'"))
}

/// A directory on PATH that has `curl` and what scripts need, and none of the machine's etcd, protoc or go.
pub(crate) fn plain_path(dir: &Path) -> PathBuf {
    let bin = dir.join("plain-path");
    std::fs::create_dir_all(&bin).unwrap();
    for program in ["curl", "cargo", "sh", "sleep", "cp", "cat"] {
        if let Ok(path) = which::which(program) {
            std::os::unix::fs::symlink(path, bin.join(program)).unwrap();
        }
    }
    bin
}

/// The release of a fake etcd for this machine.
pub(crate) fn release(version: &str) -> Vec<u8> {
    let files = [
        ("README.md", "# etcd\n".to_owned()),
        ("Documentation/README.md", "# More\n".to_owned()),
        ("etcd", format!("#!/bin/sh\necho 'etcd Version: {version}'\n")),
        ("etcdctl", format!("#!/bin/sh\necho 'etcdctl version: {version}'\n")),
        ("etcdutl", "#!/bin/sh\n".to_owned()),
    ];
    packed(&release_top(version), &files)
}

/// The folder that a release for this machine consists of.
pub(crate) fn release_top(version: &str) -> String {
    format!("etcd-v{version}-{}", Platform::host().unwrap().name(Tool::Etcd))
}

/// Where a release lies on a mirror.
pub(crate) fn release_path(version: &str) -> String {
    let extension = Platform::host().unwrap().archive_extension();
    format!("/v{version}/{}.{extension}", release_top(version))
}

/// In the format of releases for this machine.
pub(crate) fn packed(top: &str, files: &[(&str, String)]) -> Vec<u8> {
    if cfg!(target_os = "linux") { tar_gz(top, files) } else { zip(top, files) }
}

/// Packed as GNU tar packs.
fn tar_gz(top: &str, files: &[(&str, String)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    tar.append_data(&mut header, format!("{top}/"), std::io::empty()).unwrap();
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, format!("{top}/{name}"), content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Packed as Info-ZIP packs.
pub(crate) fn zip(top: &str, files: &[(&str, String)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.add_directory(format!("{top}/"), options).unwrap();
    for (name, content) in files {
        zip.start_file(format!("{top}/{name}"), options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A reporter that remembers.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Event>>>);

impl Reporter for Heard {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    pub(crate) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| which(event)).count()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}
