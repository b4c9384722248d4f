//! Data directories: which are ours, what is in them, and how to wipe one. Deletes nothing that does not
//! carry our marker.

pub(crate) mod cluster;
mod trash;
pub(crate) mod wal;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::{ClusterId, InstanceError, NotYours, RECORD, Record};
use semver::Version;
use serde::{Deserialize, Serialize};

pub(crate) use self::trash::Trash;
use crate::file::{self, PathError, cannot};
use crate::wait::{self, Deadline};
use crate::{lock, os, random};

/// The file in a data directory that says it is ours. etcd ignores it, with one warning in its log.
pub(crate) const MARKER: &str = ".etcd-local.json";
const SCHEMA: u32 = 1;
/// How long a server that has ended may still hold the lock of its database.
const RELEASE: Duration = Duration::from_millis(500);

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    schema: u32,
    /// The instance directory whose `etcd-reset` may wipe this.
    owner: PathBuf,
    /// The `--initial-cluster-token`; a fresh one after each wipe, so that watchers of the old data notice.
    pub(crate) cluster_token: String,
    pub(crate) cluster_id: Option<ClusterId>,
    /// The newest etcd that has used this data: an older minor version refuses it. Absent until one was ready.
    pub(crate) newest_version: Option<Version>,
    /// Whether authentication is on in it, with a password that is in a file of the instance's.
    #[serde(default)]
    pub(crate) has_users: bool,
}

impl Marker {
    /// A marker that says nothing we understand makes nothing ours.
    ///
    /// # Errors
    /// The schema of one that a newer version of these programs wrote: it may say that the data is ours, and what of it
    /// must not be done.
    fn parse(text: &[u8]) -> Result<Option<Self>, u32> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }

        match serde_json::from_slice(text) {
            Ok(Schema { schema }) if schema > SCHEMA => Err(schema),
            Ok(Schema { schema: SCHEMA }) => Ok(serde_json::from_slice(text).ok()),
            _ => Ok(None),
        }
    }

    pub(crate) fn is_owned_by(&self, owner: &Path) -> bool {
        self.owner == owner
    }
}

/// A directory that etcd may use as `--data-dir`.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    /// `None`: it holds data that somebody else created. We serve it and never wipe it.
    pub(crate) marker: Option<Marker>,
}

/// Why a directory cannot be etcd's data directory, or cannot be wiped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A symbolic link could point anywhere tomorrow.
    #[error("the data directory `{}` is a symbolic link", .0.display())]
    Symlink(PathBuf),
    /// There is a file of that name.
    #[error("the data directory `{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// A newer version of these programs uses it, and may know something of it that we do not.
    #[error("a newer version of this tool wrote `{}`", .0.join(MARKER).display())]
    NewerMarker(PathBuf),
    /// The directory holds something, but neither our marker nor etcd's `member`.
    #[error("`{}` holds files that are not etcd's", .0.display())]
    NotEtcds(PathBuf),
    /// The directory does not carry our marker: we did not create it.
    #[error("`{}` was not created by this instance", .0.display())]
    NotOurs(PathBuf),
    /// Some etcd has the data open.
    #[error("another etcd has the data in `{}` open", .0.display())]
    InUse(PathBuf),
    /// The data was written by a newer etcd than the one to be started.
    #[error("the data in `{}` was written by etcd {data}; etcd {binary} cannot read it", path.display())]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The version that wrote it.
        data: Version,
        /// The version that was to be started.
        binary: Version,
    },
    /// The data was written by an etcd too old for the one to be started: etcd upgrades one minor version at a time.
    #[error(
        "the data in `{}` was written by etcd {data}; etcd {binary} cannot upgrade it: etcd upgrades data by one minor \
         version at a time",
        path.display()
    )]
    Older {
        /// The data directory.
        path: PathBuf,
        /// The version that wrote it.
        data: Version,
        /// The version that was to be started.
        binary: Version,
    },
    /// No random bits for a fresh cluster token.
    #[error("cannot draw a cluster token: {0}")]
    Random(getrandom::Error),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl DataDir {
    /// Looks at what is there; `None`: nothing, or an empty directory.
    ///
    /// # Errors
    /// If it is not a directory of this user's that etcd could use.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>, DataError> {
        let path = &plain(path);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("look at", path)(error).into()),
        };
        if metadata.is_symlink() {
            return Err(DataError::Symlink(path.to_owned()));
        }
        if !metadata.is_dir() {
            return Err(DataError::NotADirectory(path.to_owned()));
        }
        NotYours::check(path).map_err(cannot("use", path))?;
        let marker = match fs::read(path.join(MARKER)) {
            Ok(text) => Marker::parse(&text).map_err(|_| DataError::NewerMarker(path.to_owned()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot("read the marker in", path)(error).into()),
        };
        if marker.is_none() && !path.join("member").is_dir() {
            let mut entries = match fs::read_dir(path) {
                // Another command has just wiped it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                entries => entries.map_err(cannot("list", path))?,
            };
            // A marker that was being written when its writer was killed is no content.
            let is_content = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with(file::SCRATCH);
            return match entries.any(|entry| entry.as_ref().map_or(true, is_content)) {
                true => Err(DataError::NotEtcds(path.to_owned())),
                false => Ok(None),
            };
        }
        Ok(Some(Self { path: path.to_owned(), marker }))
    }

    /// The directory, created with a fresh token if there is nothing.
    pub(crate) fn find_or_create(path: &Path, owner: &Path) -> Result<Self, DataError> {
        match Self::find(path)? {
            Some(found) => Ok(found),
            None => Self::create(path, owner, fresh_token()?),
        }
    }

    /// A new directory, for a member of the cluster of this token.
    pub(crate) fn create(path: &Path, owner: &Path, cluster_token: String) -> Result<Self, DataError> {
        let path = &plain(path);
        os::create_private_dir(path).map_err(cannot("create", path))?;
        let marker = Marker {
            schema: SCHEMA,
            owner: owner.to_owned(),
            cluster_token,
            cluster_id: None,
            newest_version: None,
            has_users: false,
        };
        let created = Self { path: path.to_owned(), marker: Some(marker) };
        created.save()?;
        Ok(created)
    }

    /// Whether etcd has bootstrapped here: from then on its own record of peer URLs and ids counts.
    pub(crate) fn has_members(&self) -> bool {
        self.path.join("member").join("wal").is_dir()
    }

    /// Whether an etcd was ready on it: then it may hold what somebody misses.
    pub(crate) fn was_used(&self) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.newest_version.is_some())
    }

    /// What etcd cannot do without, of data that an etcd has used, and how it is: a write-ahead log that is missing or
    /// empty. etcd begins another then, to which the data does not belong: it hangs, or loses writes in silence.
    pub(crate) fn damaged_file(&self) -> Option<(PathBuf, &'static str)> {
        let member = self.path.join("member");
        if self.marker.is_none() || !self.was_used() || !member.join("snap").join("db").is_file() {
            return None;
        }
        let wal = Path::new("member").join("wal");
        let entries = fs::read_dir(self.path.join(&wal)).into_iter().flatten().flatten();
        let mut files = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "wal"));
        match files.next() {
            None => Some((wal, "it is missing")),
            Some(file) => std::iter::once(file)
                .chain(files)
                .find(|file| file.metadata().is_ok_and(|file| file.len() == 0))
                .map(|file| (wal.join(file.file_name()), "it is empty")),
        }
    }

    /// Readies the directory for `binary` in a cluster with these peer URLs: checks that `binary` can read or upgrade the
    /// data and that nobody has it open, and writes down the id of a cluster that is about to be made.
    pub(crate) fn claim(&mut self, peer_urls: &[String], binary: &Version) -> Result<(), DataError> {
        if self.is_open()? {
            return Err(DataError::InUse(self.path.clone()));
        }
        let bootstrapped = self.has_members();
        let Some(marker) = &mut self.marker else { return Ok(()) };
        file::remove_scratch(&self.path);
        if let Some(data) = marker.newest_version.as_ref().filter(|_| bootstrapped) {
            let (path, data, binary) = (self.path.clone(), data.clone(), binary.clone());
            if minor(&data) > minor(&binary) {
                return Err(DataError::Newer { path, data, binary });
            }
            if is_jump(&data, &binary) {
                return Err(DataError::Older { path, data, binary });
            }
        }
        let id = cluster::cluster_id(peer_urls, &marker.cluster_token);
        if !bootstrapped && marker.cluster_id.replace(id) != Some(id) {
            self.save()?;
        }
        Ok(())
    }

    /// Writes down that an etcd of this version has used the data: an older minor version refuses it from now on. Returns
    /// the version that the data had, if that is an older minor one.
    pub(crate) fn used_by(&mut self, version: &Version) -> Result<Option<Version>, DataError> {
        let Some(marker) = &mut self.marker else { return Ok(None) };
        if marker.newest_version.as_ref().is_some_and(|newest| newest >= version) {
            return Ok(None);
        }
        let before = marker.newest_version.replace(version.clone());
        self.save()?;
        Ok(before.filter(|before| minor(before) < minor(version)))
    }

    /// Writes down that authentication is on.
    pub(crate) fn has_users(&mut self) -> Result<(), DataError> {
        if let Some(marker) = &mut self.marker {
            marker.has_users = true;
            self.save()?;
        }
        Ok(())
    }

    /// Whether `binary` is of a later minor version than the data.
    pub(crate) fn is_upgraded_by(&self, binary: &Version) -> bool {
        let newest = self.marker.as_ref().and_then(|marker| marker.newest_version.as_ref());
        newest.is_some_and(|newest| minor(newest) < minor(binary))
    }

    /// Whether any etcd, of whatever version or origin, has the data open. A second one would wait silently
    /// with its port open and take over later, so nobody is started or wiped without asking this. A server that has just
    /// ended may hold the lock a little longer: its database is in its memory, and a program that looks at a process, such
    /// as `ps`, keeps that.
    pub(crate) fn is_open(&self) -> Result<bool, DataError> {
        let db = self.path.join("member").join("snap").join("db");
        let free = || lock::is_held(&db).map(|is_held| (!is_held).then_some(()));
        let found = wait::until(Deadline::after(RELEASE), free).map_err(cannot("probe the lock of", &db))?;
        Ok(found.is_none())
    }

    pub(crate) fn save(&self) -> Result<(), DataError> {
        let Some(marker) = &self.marker else { return Ok(()) };
        let text = serde_json::to_vec_pretty(marker).map_err(io::Error::other);
        let write = |text: Vec<u8>| file::replace(&self.path.join(MARKER), &text);
        Ok(text.and_then(write).map_err(cannot("write the marker in", &self.path))?)
    }

    /// Whether `owner`, an instance directory, may wipe it: it created it, or has it in itself and was moved or copied
    /// since.
    pub(crate) fn is_owned_by(&self, owner: &Path) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.is_owned_by(owner) || self.came_with(owner, marker))
    }

    /// Whether it lies in `owner`'s own directory, with no link on the way that could lead to another's, and whoever
    /// created it does not say that it keeps its data just here.
    fn came_with(&self, owner: &Path, marker: &Marker) -> bool {
        let is_real = |dir: &Path| fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir());
        let creator = Some(&marker.owner).filter(|creator| !file::is_same(creator, owner));
        let keeps_it_here = |creator: &PathBuf| match Record::read(&creator.join(RECORD)) {
            Ok(record) => record.is_some_and(|record| file::is_same(&record.data_dir, &self.path)),
            Err(InstanceError::Damaged { .. }) => false,
            // What cannot be read may say so.
            Err(_) => true,
        };
        self.path.parent() == Some(owner)
            && is_real(owner)
            && owner.parent().is_some_and(is_real)
            && !creator.is_some_and(keeps_it_here)
    }

    /// Takes the data away, in one step, to a name beside it that [`Trash`] knows; whoever looks afterwards
    /// finds nothing where it was, which is returned.
    ///
    /// # Errors
    /// If it is not `owner`'s, or open.
    pub(crate) fn put_away(self, owner: &Path) -> Result<PathBuf, DataError> {
        self.move_away(owner).map(|_| self.path)
    }

    /// The same; what is returned can be put back.
    pub(crate) fn move_away(&self, owner: &Path) -> Result<Trash, DataError> {
        if !self.is_owned_by(owner) {
            return Err(DataError::NotOurs(self.path.clone()));
        }
        if self.is_open()? {
            return Err(DataError::InUse(self.path.clone()));
        }
        Trash::of(&self.path)
    }
}

/// The `--initial-cluster-token` of a new cluster.
pub(crate) fn fresh_token() -> Result<String, DataError> {
    Ok(format!("etcd-local-{}", random::hex().map_err(DataError::Random)?))
}

/// Without a slash at the end, with which the system would follow a link, and refuse to rename.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Whether a minor version lies between the two. Where the major versions differ, etcd itself decides.
pub(crate) fn is_jump(data: &Version, binary: &Version) -> bool {
    data.major == binary.major && binary.minor > data.minor + 1
}

fn minor(version: &Version) -> (u64, u64) {
    (version.major, version.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn only_our_own_data_can_be_put_away() {
        let dir = tempfile::tempdir().unwrap();
        let (data, owner) = (dir.path().join("data"), Path::new("/instance"));
        fs::create_dir_all(data.join("member")).unwrap();
        let foreign = DataDir::find(&data).unwrap().unwrap();
        assert!(foreign.marker.is_none());
        assert!(matches!(foreign.put_away(owner), Err(DataError::NotOurs(_))));

        let ours = dir.path().join("ours");
        DataDir::find_or_create(&ours, owner).unwrap();
        let again = || DataDir::find(&ours).unwrap().unwrap();
        assert!(matches!(again().put_away(Path::new("/other")), Err(DataError::NotOurs(_))));
        again().put_away(owner).unwrap();
        assert!(!ours.exists());
        assert_eq!(Trash::left_beside(&ours, Path::new("/other")).len(), 0);
        let mut trash = Trash::left_beside(&ours, owner);
        assert_eq!(trash.len(), 1);
        trash.pop().unwrap().delete().unwrap();
        assert_eq!(Trash::left_beside(&ours, owner).len(), 0);
    }

    /// As when a program that looks at processes keeps the memory of a server that has ended.
    #[test]
    fn a_lock_that_is_given_up_soon_after_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::find_or_create(&dir.path().join("data"), Path::new("/instance")).unwrap();
        let snap = data.path.join("member/snap");
        fs::create_dir_all(&snap).unwrap();
        let held = fs::File::create(snap.join("db")).unwrap();
        held.lock().unwrap();
        assert!(data.is_open().unwrap());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| data.is_open());
            drop(held);
            assert!(!asked.join().unwrap().unwrap());
        });
    }

    #[test]
    fn what_is_not_a_data_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(DataDir::find(&file), Err(DataError::NotADirectory(_))));
        assert!(matches!(DataDir::find(dir.path()), Err(DataError::NotEtcds(_))));
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join(".tmp-x"), "precious").unwrap();
        assert!(matches!(DataDir::find(&theirs), Err(DataError::NotEtcds(_))));
        #[cfg(unix)]
        {
            let link = dir.path().join("link");
            std::os::unix::fs::symlink(dir.path(), &link).unwrap();
            assert!(matches!(DataDir::find(&link), Err(DataError::Symlink(_))));
            for end in ["", "."] {
                assert!(matches!(DataDir::find(&link.join(end)), Err(DataError::Symlink(_))), "{end}");
            }
        }
    }

    #[test]
    fn a_slash_at_the_end_is_no_part_of_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let (data, owner) = (dir.path().join("data"), Path::new("/instance"));
        let created = DataDir::find_or_create(&data.join(""), owner).unwrap();
        assert!(!created.path.to_str().unwrap().ends_with('/'));
        created.put_away(owner).unwrap();
        DataDir::find_or_create(&data, owner).unwrap();
        DataDir::find(&data.join("")).unwrap().unwrap().put_away(owner).unwrap();
        assert!(!data.exists());
        assert_eq!(Trash::left_beside(&data.join(""), owner).len(), 2);
    }

    #[test]
    fn a_damaged_marker_makes_nothing_ours() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        DataDir::find_or_create(&data, Path::new("/instance")).unwrap();
        fs::create_dir(data.join("member")).unwrap();
        for damage in ["", "{", "null", r#"{"schema":0,"owner":"/instance","cluster_token":"t"}"#] {
            fs::write(data.join(MARKER), damage).unwrap();
            let found = DataDir::find(&data).unwrap().unwrap();
            assert!(matches!(found.put_away(Path::new("/instance")), Err(DataError::NotOurs(_))), "{damage}");
        }
        fs::write(data.join(MARKER), r#"{"schema":99,"owners":["/instance"]}"#).unwrap();
        assert!(matches!(DataDir::find(&data), Err(DataError::NewerMarker(_))));
    }

    #[test]
    fn an_older_minor_version_is_kept_from_newer_data() {
        let dir = tempfile::tempdir().unwrap();
        let mut data = DataDir::find_or_create(&dir.path().join("data"), Path::new("/instance")).unwrap();
        data.claim(&["http://127.0.0.1:1".to_owned()], &version("3.7.2")).unwrap();
        data.claim(&["http://127.0.0.1:1".to_owned()], &version("3.5.27")).unwrap(); // the start before has failed
        fs::create_dir_all(dir.path().join("data/member/wal")).unwrap();
        data.used_by(&version("3.7.2")).unwrap();
        let mut again = DataDir::find(&data.path).unwrap().unwrap();
        assert!(matches!(
            again.claim(&["http://127.0.0.1:1".to_owned()], &version("3.6.9")),
            Err(DataError::Newer { .. })
        ));
        assert!(matches!(
            again.claim(&["http://127.0.0.1:1".to_owned()], &version("3.9.0")),
            Err(DataError::Older { .. })
        ));
        again.claim(&["http://127.0.0.1:1".to_owned()], &version("3.8.0")).unwrap();
        again.claim(&["http://127.0.0.1:1".to_owned()], &version("3.7.0")).unwrap();
        again.used_by(&version("3.7.0")).unwrap();
        assert_eq!(again.marker.unwrap().newest_version, Some(version("3.7.2")));
    }

    #[test]
    fn a_later_minor_version_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut data = DataDir::find_or_create(&dir.path().join("data"), Path::new("/instance")).unwrap();
        let mut used_by = |binary| data.used_by(&version(binary)).unwrap();
        assert_eq!((used_by("3.5.0"), used_by("3.5.9")), (None, None));
        assert_eq!((used_by("3.6.5"), used_by("3.6.9")), (Some(version("3.5.9")), None));
    }

    #[test]
    fn a_new_start_draws_a_new_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::find_or_create(&path, Path::new("/i")).unwrap().marker.unwrap().cluster_token;
        DataDir::find(&path).unwrap().unwrap().put_away(Path::new("/i")).unwrap();
        let second = DataDir::find_or_create(&path, Path::new("/i")).unwrap().marker.unwrap().cluster_token;
        assert_ne!(first, second);
    }
}
