//! Takes the programs out of a release archive: tar.gz on Linux, zip elsewhere. The caller has checked the archive's
//! SHA-256 before; nothing here guards against hostile archives. Only the named programs are written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::Sha256;
use crate::cache::{CacheError, Purpose, write_new};

/// Why the programs could not be taken out of an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive cannot be read, is truncated, or has another format.
    #[error("cannot read the archive `{}`", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A program is not in the archive.
    #[error("the archive has no `{name}`")]
    Missing {
        /// The name that was expected.
        name: String,
    },
    /// A program cannot be written.
    #[error(transparent)]
    Write(#[from] CacheError),
}

/// A member's name and content.
type Member = (String, Vec<u8>);

/// Writes the members `top/PROGRAM` to `into/PROGRAM`, and returns each program with its sum, in the order of
/// `programs`. After an error the directory may hold some of them.
pub(super) fn extract(
    archive: &Path,
    top: &str,
    programs: &[String],
    into: &Path,
) -> Result<Vec<(String, Sha256)>, ArchiveError> {
    let names: Vec<String> = programs.iter().map(|program| format!("{top}/{program}")).collect();
    #[cfg(target_os = "linux")]
    let read = read_tar_gz;
    #[cfg(not(target_os = "linux"))]
    let read = read_zip;
    let members = File::open(archive).and_then(|file| read(file, &names));
    let members = members.map_err(|source| ArchiveError::Read { path: archive.to_owned(), source })?;
    let take = |(program, name): (&String, &String)| {
        let member = members.iter().find(|(found, _)| found == name);
        let (_, content) = member.ok_or_else(|| ArchiveError::Missing { name: name.clone() })?;
        let (_, sum) = write_new(&mut content.as_slice(), &into.join(program), Purpose::Program)?;
        Ok((program.clone(), sum))
    };
    programs.iter().zip(&names).map(take).collect()
}

#[cfg(target_os = "linux")]
fn read_tar_gz(archive: File, names: &[String]) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if names.contains(&name) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            members.push((name, content));
        }
    }
    Ok(members)
}

#[cfg(any(test, not(target_os = "linux")))] // tested on every system
fn read_zip(archive: File, names: &[String]) -> io::Result<Vec<Member>> {
    let mut archive = zip::ZipArchive::new(archive)?;
    let mut members = Vec::new();
    for name in names {
        match archive.by_name(name) {
            Ok(mut member) => {
                let mut content = Vec::new();
                member.read_to_end(&mut content)?;
                members.push((name.clone(), content));
            }
            Err(zip::result::ZipError::FileNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(members)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::fakes;

    const TOP: &str = "etcd-v3.6.5-linux-amd64";

    fn files() -> [(&'static str, String); 4] {
        [
            ("Documentation/etcd", "# etcd\n".to_owned()),
            ("etcdutl", "utl".repeat(1000)),
            ("etcdctl", "ctl".repeat(1000)),
            ("etcd", "etcd".repeat(50_000)),
        ]
    }

    fn extract_bytes(archive: &[u8]) -> (tempfile::TempDir, Result<Vec<(String, Sha256)>, ArchiveError>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        std::fs::write(&path, archive).unwrap();
        std::fs::create_dir(dir.path().join("tree")).unwrap();
        let extracted = extract(&path, TOP, &["etcd", "etcdctl"].map(str::to_owned), &dir.path().join("tree"));
        (dir, extracted)
    }

    #[test]
    fn both_programs_are_taken_and_nothing_else() {
        let (dir, extracted) = extract_bytes(&fakes::packed(TOP, &files()));
        let sum = |text: &str, count| Sha256::of_bytes(text.repeat(count).as_bytes());
        let expected = [("etcd".to_owned(), sum("etcd", 50_000)), ("etcdctl".to_owned(), sum("ctl", 1000))];
        assert_eq!(extracted.unwrap(), expected);
        assert_eq!(std::fs::read_dir(dir.path().join("tree")).unwrap().count(), 2);
        for (program, sum) in expected {
            let path = dir.path().join("tree").join(program);
            assert_eq!(Sha256::of_file(&path).unwrap(), sum);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o700, 0o700);
        }
    }

    #[test]
    fn a_release_without_etcd_is_an_error_that_names_what_is_missing() {
        let (_dir, extracted) = extract_bytes(&fakes::packed(TOP, &files()[..3]));
        assert_eq!(extracted.unwrap_err().to_string(), format!("the archive has no `{TOP}/etcd`"));
    }

    #[test]
    fn a_truncated_archive_is_an_error_that_names_the_archive() {
        let whole = fakes::packed(TOP, &files());
        for length in [0, 1, whole.len() / 2] {
            let (_dir, extracted) = extract_bytes(&whole[..length]);
            let error = extracted.unwrap_err();
            assert!(error.to_string().starts_with("cannot read the archive `"), "{length}: {error}");
        }
    }

    /// Linux never reads a zip outside this test: the releases for macOS and Windows are zips.
    #[test]
    fn a_zip_is_read_as_a_tar_is() {
        let read = |archive: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, archive).unwrap();
            read_zip(file, &[format!("{TOP}/etcd"), format!("{TOP}/missing")])
        };
        let whole = fakes::zip(TOP, &files());
        assert_eq!(read(&whole).unwrap(), [(format!("{TOP}/etcd"), "etcd".repeat(50_000).into_bytes())]);
        let error = read(&whole[..whole.len() / 2]).unwrap_err().to_string();
        assert!(error.contains("zip") || error.contains("Zip"), "{error}");
    }
}
