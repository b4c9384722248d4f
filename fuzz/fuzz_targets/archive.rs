//! Release archives: nothing but the expected programs is ever written, and nothing outside the directory.
#![no_main]

use std::fs;
use std::io::Write;
use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let dir = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    let taken = match kind % 3 {
        0 => etcd_local::fuzzing::archive(true, bytes, &into),
        1 => etcd_local::fuzzing::archive(false, bytes, &into),
        _ => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
            gzip.write_all(bytes).unwrap();
            etcd_local::fuzzing::archive(false, &gzip.finish().unwrap(), &into)
        }
    };
    let names = |dir: &Path| -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(dir.path()), ["into"], "something was written outside");
    let written = names(&into);
    assert!(written.iter().all(|name| ["etcd", "etcdctl"].contains(&name.as_str())), "{written:?}");
    assert!(!taken || written == ["etcd", "etcdctl"], "{written:?}");
    for name in written {
        assert!(fs::symlink_metadata(into.join(name)).unwrap().is_file());
    }
});
