//! Taking the programs out of a release archive. Strict by intent: what common readers skip, strip or repair is an error
//! here, in both formats alike. Nothing is ever written but the expected files, under names of our own.

mod intake;
mod tar_gz;
mod zip;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use self::intake::Intake;
use super::Sha256;
use super::cache::CacheError;
use super::platform::ArchiveFormat;

/// Why an archive was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read, or is no intact archive of its format.
    #[error("cannot read the archive `{}`", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// It ends too early.
    #[error("the archive is cut off")]
    CutOff,
    /// Its structure is not what the format says, or uses a part of the format that no etcd release uses.
    #[error("the archive is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A member has no place in an etcd release.
    #[error("the archive's member `{name}` {fault}")]
    Member {
        /// Its name, escaped.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A program is not in it.
    #[error("the archive has no `{name}`")]
    Missing {
        /// The name that was expected.
        name: String,
    },
    /// It has more members, or more bytes, than any etcd release.
    #[error("the archive is larger than any etcd release: more than {limit}")]
    TooLarge {
        /// What was exceeded.
        limit: String,
    },
    /// A program cannot be written.
    #[error(transparent)]
    Write(#[from] CacheError),
}

/// What is wrong with a member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It would be written outside the directory, by `..`, an absolute path, a drive or a backslash.
    #[error("leads out of the directory")]
    LeadsOut,
    /// Its name is not valid UTF-8, or holds control characters or empty parts.
    #[error("has no proper name")]
    ImproperName,
    /// It lies outside the folder that the archive is named after.
    #[error("lies outside the archive's own folder")]
    OutsideTop,
    /// It is a symbolic or a hard link.
    #[error("is a link")]
    Link,
    /// It is a pipe, a device or something else that is no file.
    #[error("is neither a file nor a directory")]
    Special,
    /// A program's name belongs to a directory, or a file's to a folder.
    #[error("is a file where a directory belongs, or a directory where a file belongs")]
    WrongKind,
    /// It comes a second time, perhaps in other letters.
    #[error("comes twice")]
    Duplicate,
    /// No etcd release has it.
    #[error("is not part of any etcd release")]
    Unexpected,
    /// It is larger than any program of etcd.
    #[error("is too large")]
    TooLarge,
    /// Its content does not have the length or the checksum that the archive says.
    #[error("is not as long as the archive says, or has another checksum")]
    Corrupt,
    /// It is encrypted, or compressed in a way that no etcd release uses.
    #[error("is encrypted, or compressed in an unknown way")]
    Unreadable,
    /// The archive describes it twice, in different ways.
    #[error("is described in two ways that differ")]
    Contradictory,
}

/// What a release archive looks like inside.
pub(super) struct Layout<'a> {
    /// The one folder that everything lies in.
    pub(super) top: &'a str,
    /// The programs to take; all must be there.
    pub(super) programs: &'a [String],
    /// A program to leave.
    pub(super) ignored: &'a str,
}

/// Unpacks the programs into the directory `into`, and tells their sums in the layout's order. After an error the
/// directory may hold some of them.
pub(super) fn extract(
    format: ArchiveFormat,
    archive: &Path,
    layout: &Layout<'_>,
    into: &Path,
) -> Result<Vec<(String, Sha256)>, ArchiveError> {
    let unreadable = |source| ArchiveError::Read { path: archive.to_owned(), source };
    let file = BufReader::new(File::open(archive).map_err(unreadable)?);
    match extract_from(format, file, layout, into) {
        Ok(sums) => Ok(sums),
        Err(Stop::Archive(error)) => Err(error),
        Err(Stop::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ArchiveError::CutOff),
        Err(Stop::Io(error)) => Err(unreadable(error)),
    }
}

fn extract_from(
    format: ArchiveFormat,
    mut file: impl BufRead + Seek,
    layout: &Layout<'_>,
    into: &Path,
) -> Result<Vec<(String, Sha256)>, Stop> {
    let mut intake = Intake::new(layout, into);
    match format {
        ArchiveFormat::TarGz => tar_gz::read(&mut file, &mut intake)?,
        ArchiveFormat::Zip => zip::read(&mut file, &mut intake)?,
    }
    intake.finish().map_err(Stop::Archive)
}

/// For the fuzz target: reads an archive as [`extract`] does, into `into`; tells whether it was taken.
#[cfg(fuzzing)]
pub(crate) fn fuzz(is_zip: bool, archive: &[u8], into: &Path) -> bool {
    let format = if is_zip { ArchiveFormat::Zip } else { ArchiveFormat::TarGz };
    let programs = ["etcd", "etcdctl"].map(str::to_owned);
    let layout = Layout { top: "etcd-v3.6.7-linux-amd64", programs: &programs, ignored: "etcdutl" };
    extract_from(format, io::Cursor::new(archive), &layout, into).is_ok()
}

/// Why a reader stops: its readers give `io::Error`s, which [`extract`] gives their path.
enum Stop {
    Archive(ArchiveError),
    Io(io::Error),
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn malformed(what: &'static str) -> Stop {
    Stop::Archive(ArchiveError::Malformed { what })
}

fn at_fault(name: &[u8], fault: Fault) -> Stop {
    let name = String::from_utf8_lossy(name).escape_debug().take(200).collect();
    Stop::Archive(ArchiveError::Member { name, fault })
}

/// `N` bytes of a field of a header; too short a header is cut off.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Stop> {
    let field = at.checked_add(N).and_then(|end| bytes.get(at..end)).and_then(|field| field.try_into().ok());
    field.ok_or(Stop::Archive(ArchiveError::CutOff))
}

#[cfg(test)]
mod tests;
