//! Good archives of common packers, and hostile ones of every kind we know of, each refused for its own reason.

#![cfg(unix)]

mod hostile_tar;
mod hostile_zip;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::binary::fakes;

const TOP: &str = "etcd-v3.6.5-linux-amd64";

/// A scratch directory as an installation has it, with the directory to unpack into.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(scratch.tree()).unwrap();
        scratch
    }

    fn tree(&self) -> PathBuf {
        self.0.path().join("scratch").join("tree")
    }

    fn extract(&self, format: ArchiveFormat, archive: &[u8]) -> Result<Vec<(String, Sha256)>, ArchiveError> {
        let path = self.0.path().join("archive");
        std::fs::write(&path, archive).unwrap();
        let programs = ["etcd".to_owned(), "etcdctl".to_owned()];
        extract(format, &path, &Layout { top: TOP, programs: &programs, ignored: "etcdutl" }, &self.tree())
    }

    /// All that lies in the directory, without the archive itself: names in the tree by their last part.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.0.path().to_owned()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let kind = path.symlink_metadata().unwrap().file_type();
                if kind.is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(self.0.path()).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found.retain(|name| name != "archive");
        found
    }
}

/// That an archive is refused for this reason, and nothing but the programs' own names was written.
fn refused(format: ArchiveFormat, kind: &str, archive: &[u8], reason: &str) {
    let scratch = Scratch::new();
    match scratch.extract(format, archive) {
        Ok(taken) => panic!("{kind}: taken, {taken:?}"),
        Err(error) => {
            let text = crate::binary::source::with_causes(&error);
            assert!(text.contains(reason), "{kind}: expected `{reason}`, got `{text}`");
            assert!(!text.contains(|c: char| c.is_control()), "{kind}: {text:?}");
        }
    }
    for name in scratch.found() {
        assert!(["scratch/tree/etcd", "scratch/tree/etcdctl"].contains(&name.as_str()), "{kind}: wrote {name}");
    }
}

fn files() -> Vec<(&'static str, String)> {
    vec![
        ("README-etcdctl.md", "# etcdctl\n".to_owned()),
        ("Documentation/dev-guide/apispec/swagger/rpc.swagger.json", "{}".to_owned()),
        ("etcdutl", "utl".repeat(1000)),
        ("etcdctl", "ctl".repeat(1000)),
        ("etcd", "etcd".repeat(50_000)),
    ]
}

fn good(format: ArchiveFormat) -> Vec<u8> {
    match format {
        ArchiveFormat::TarGz => fakes::tar_gz(TOP, &files()),
        ArchiveFormat::Zip => fakes::zip(TOP, &files()),
    }
}

const FORMATS: [ArchiveFormat; 2] = [ArchiveFormat::TarGz, ArchiveFormat::Zip];

#[test]
fn the_programs_are_taken_and_nothing_else() {
    for format in FORMATS {
        let scratch = Scratch::new();
        let sums = scratch.extract(format, &good(format)).unwrap();
        let sum = |text: &str, count| Sha256::of_bytes(text.repeat(count).as_bytes());
        let expected = [("etcd".to_owned(), sum("etcd", 50_000)), ("etcdctl".to_owned(), sum("ctl", 1000))];
        assert_eq!(sums, expected);
        assert_eq!(scratch.found(), ["scratch/tree/etcd", "scratch/tree/etcdctl"]);
        assert_eq!(Sha256::of_file(&scratch.tree().join("etcd")).unwrap(), expected[0].1);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&scratch.tree().join("etcd").metadata().unwrap().permissions());
        assert_eq!(mode & 0o700, 0o700);
    }
}

#[test]
fn the_packers_of_this_machine_pack_what_is_taken() {
    let scratch = Scratch::new();
    let dir = scratch.0.path().join("packing");
    for (name, content) in files() {
        let path = dir.join(TOP).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let env = crate::env::Env::empty(&dir).with("PATH", "/usr/bin:/bin");
    let minute = std::time::Duration::from_secs(60);
    let mut packed = 0;
    for (format, packer, args) in [
        (ArchiveFormat::TarGz, "tar", ["cfz", "packed", TOP].as_slice()),
        (ArchiveFormat::TarGz, "tar", &["--format=pax", "-czf", "packed", TOP]),
        (ArchiveFormat::TarGz, "tar", &["--format=ustar", "-czf", "packed", TOP]),
        (ArchiveFormat::Zip, "zip", &["-qr", "packed", TOP]),
        (ArchiveFormat::Zip, "zip", &["-q0r", "packed", TOP]),
    ] {
        let Ok(helper) = crate::command::Helper::on_path(packer, &env) else { continue };
        helper.args(args).run(minute).unwrap();
        let name = if packer == "zip" { "packed.zip" } else { "packed" };
        let archive = std::fs::read(dir.join(name)).unwrap();
        std::fs::remove_file(dir.join(name)).unwrap();
        let fresh = Scratch::new();
        fresh.extract(format, &archive).unwrap_or_else(|error| panic!("{packer} {args:?}: {error}"));
        packed += 1;
    }
    assert!(packed >= 2, "every machine has tar");
}

#[test]
fn the_other_format_is_refused() {
    refused(ArchiveFormat::TarGz, "zip as tar.gz", &good(ArchiveFormat::Zip), "invalid gzip header");
    refused(ArchiveFormat::Zip, "tar.gz as zip", &good(ArchiveFormat::TarGz), "does not end with a zip directory");
    for format in FORMATS {
        refused(format, "nothing", b"", "cut off");
    }
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    for format in FORMATS {
        let whole = good(format);
        for length in (0..whole.len()).step_by(whole.len() / 97).chain(whole.len() - 30..whole.len()) {
            let scratch = Scratch::new();
            assert!(scratch.extract(format, &whole[..length]).is_err(), "{format:?} {length} of {}", whole.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_archive_is_refused_or_gives_the_very_same_programs(
        is_zip: bool,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let format = if is_zip { ArchiveFormat::Zip } else { ArchiveFormat::TarGz };
        let mut archive = good(format);
        let at = at.index(archive.len());
        archive[at] ^= flip;
        let scratch = Scratch::new();
        if let Ok(sums) = scratch.extract(format, &archive) {
            prop_assert_eq!(&sums[0].1, &Sha256::of_bytes("etcd".repeat(50_000).as_bytes()));
        }
        for name in scratch.found() {
            prop_assert!(["scratch/tree/etcd", "scratch/tree/etcdctl"].contains(&name.as_str()), "{}", name);
        }
    }

    #[test]
    fn whatever_a_member_is_called_it_is_written_under_our_names_or_not_at_all(
        name in prop_oneof![
            "(etcd-v3.6.5-linux-amd64)?[/.\\\\a-cA-C:\u{0}\u{e9}]{0,12}(etcd|etcdctl|ETCD|)?/?",
            proptest::collection::vec(any::<u8>(), 1..100).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ],
        is_directory: bool,
    ) {
        let kind = if is_directory { b'5' } else { b'0' };
        let content: &[u8] = if is_directory { b"" } else { b"evil" };
        let archive = hostile_tar::tar(&[hostile_tar::member(name.as_bytes(), kind, content)]);
        let scratch = Scratch::new();
        prop_assert!(scratch.extract(ArchiveFormat::TarGz, &archive).is_err());
        let allowed = [format!("{TOP}/etcd"), format!("{TOP}/etcdctl")];
        let written = scratch.found();
        prop_assert!(written.is_empty() || allowed.contains(&name), "{:?} wrote {:?}", name, written);
    }
}
