//! `install.json`: what a directory of the cache holds, and how to tell that it still is what was installed.
//! A file of the same size and time is believed; any other is hashed.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{CacheError, Damage};
use crate::{Sha256, Source, Tool};

const FILE: &str = "install.json";
const SCHEMA: u32 = 1;

/// The content of `install.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    schema: u32,
    pub(crate) tool: Tool,
    pub(crate) version: String,
    pub(crate) platform: String,
    pub(crate) source: Source,
    /// The sum of the archive that it was unpacked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archive_sha256: Option<Sha256>,
    /// The program itself: a key of `files`.
    pub(crate) program: String,
    /// Everything that can be run, by its path in the directory, with `/` between the parts.
    pub(crate) files: BTreeMap<String, Stamp>,
}

/// A file as it was when it was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    sha256: Sha256,
    size: u64,
    /// Nanoseconds since 1970.
    mtime_ns: u64,
}

impl Stamp {
    fn matches(&self, metadata: &Metadata) -> bool {
        metadata.is_file() && metadata.len() == self.size && mtime_ns(metadata) == self.mtime_ns
    }
}

/// 0 for what the system does not tell: no stamp of ours has it, so such a file is always hashed.
fn mtime_ns(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

impl Record {
    /// The record of files that lie in `dir` and were just checked to have these sums. The first is the program.
    pub(crate) fn of(
        (tool, version, platform): (Tool, &Version, &str),
        source: Source,
        archive_sha256: Option<Sha256>,
        dir: &Path,
        sums: &[(String, Sha256)],
    ) -> Result<Self, CacheError> {
        let mut files = BTreeMap::new();
        for (name, sha256) in sums {
            let path = dir.join(name);
            let metadata = std::fs::metadata(&path).map_err(CacheError::io("read", &path))?;
            files.insert(name.clone(), Stamp { sha256: *sha256, size: metadata.len(), mtime_ns: mtime_ns(&metadata) });
        }
        let program = sums.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let (version, platform) = (version.to_string(), platform.to_owned());
        Ok(Self { schema: SCHEMA, tool, version, platform, source, archive_sha256, program, files })
    }

    /// The record in `dir`; one that is missing, broken or of a later schema is none.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
        serde_json::from_str(&text).ok().filter(|record: &Self| record.schema == SCHEMA)
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), CacheError> {
        let path = dir.join(FILE);
        let write = || -> io::Result<()> {
            let file = File::create_new(&path)?;
            serde_json::to_writer_pretty(&file, self)?;
            file.sync_all()
        };
        write().map_err(CacheError::io("write", &path))
    }

    /// `None` for a record that contradicts itself.
    pub(crate) fn into_installed(self, dir: PathBuf) -> Option<Installed> {
        let sha256 = self.files.get(&self.program)?.sha256;
        Some(Installed {
            tool: self.tool,
            version: Version::parse(&self.version).ok()?,
            platform: self.platform.clone(),
            source: self.source,
            path: joined(&dir, &self.program)?,
            sha256,
            dir,
            record: self,
        })
    }
}

/// `None` for a name that leads out of the directory.
fn joined(dir: &Path, name: &str) -> Option<PathBuf> {
    let sane =
        name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':']));
    sane.then(|| name.split('/').fold(dir.to_owned(), |path, part| path.join(part)))
}

/// A program in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Installed {
    /// What it is.
    pub tool: Tool,
    /// Its version; for protoc that of the crate it came in.
    pub version: Version,
    /// The platform that it was built for, as its publisher spells it.
    pub platform: String,
    /// Where it came from.
    pub source: Source,
    /// The program.
    pub path: PathBuf,
    /// The sum that the program had when it was installed.
    pub sha256: Sha256,
    /// The directory that holds all of it.
    pub dir: PathBuf,
    record: Record,
}

impl Installed {
    /// Whether the caller's sum is the program's, or that of the archive it was unpacked from.
    pub(crate) fn has_sum(&self, sum: Sha256) -> bool {
        self.sha256 == sum || self.record.archive_sha256 == Some(sum)
    }

    /// Checks that the program still is what was installed. Hashes it only where its size or its time has changed.
    ///
    /// # Errors
    /// If the program has changed or is gone. It must not be run then.
    pub fn check(&self) -> Result<(), CacheError> {
        self.check_file(&self.record.program).map(drop)
    }

    /// Another program that was installed with it, checked likewise; `None` if there was none.
    pub(crate) fn companion(&self, name: &str) -> Option<PathBuf> {
        self.check_file(name).ok()
    }

    fn check_file(&self, name: &str) -> Result<PathBuf, CacheError> {
        let (Some(stamp), Some(path)) = (self.record.files.get(name), joined(&self.dir, name)) else {
            return Err(CacheError::io("find", &self.dir.join(name))(io::ErrorKind::NotFound.into()));
        };
        let metadata = std::fs::metadata(&path).map_err(CacheError::io("read", &path))?;
        if stamp.matches(&metadata) {
            return Ok(path);
        }
        let found = Sha256::of_file(&path).map_err(CacheError::io("read", &path))?;
        if found == stamp.sha256 {
            return Ok(path);
        }
        let (dir, tool, version, recorded) = (self.dir.clone(), self.tool, self.version.clone(), stamp.sha256);
        Err(Box::new(Damage { path, dir, tool, version, recorded, found }).into())
    }
}
