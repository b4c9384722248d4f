//! What a command takes to be true of the instance, told from what it says, and the exit code that goes with it.

use super::rows::{Concern, Row};
use crate::playground::Run;

/// What is true of an instance, as a user would put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Running,
    Stopped,
    /// Runs, but its process cannot be seen from here.
    Hidden,
    /// Runs, but its files were deleted.
    Orphaned,
    /// Runs, and does not answer.
    Mute,
    /// Somebody else's etcd is where it should be.
    Foreign,
    /// Its files may not be read, or not be changed.
    Forbidden,
    /// The disk is full.
    DiskFull,
    /// Runs, and takes no more keys.
    StoreFull,
    /// Runs, and wants to know who asks.
    LockedOut,
    /// The file system is read-only.
    ReadOnly,
    /// Its record is of a later version of these commands.
    Newer,
    /// `ETCD_ENDPOINTS` leads to nobody.
    Misled,
    /// Nothing is said of it.
    Unsaid,
    /// Something failed, and for no reason that is known here.
    Unknown,
}

/// Words, and what they say. The first that is found counts: whoever says why something failed says more than that it did.
const WORDS: &[(&str, Class)] = &[
    ("not visible from here", Class::Hidden),
    (r#""state":"hidden""#, Class::Hidden),
    ("its lock file was deleted", Class::Orphaned),
    (r#""state":"orphaned""#, Class::Orphaned),
    ("its data was deleted before", Class::Orphaned),
    ("a newer version of this tool wrote", Class::Newer),
    ("Permission denied", Class::Forbidden),
    ("belongs to another user", Class::Forbidden),
    ("No space left", Class::DiskFull),
    ("less than an etcd needs", Class::DiskFull),
    ("database space exceeded", Class::StoreFull),
    ("NOSPACE", Class::StoreFull),
    ("Read-only file system", Class::ReadOnly),
    ("read-only file system", Class::ReadOnly), // in Go's words
    ("ETCD_ENDPOINTS leads there", Class::Misled),
    ("user name is empty", Class::LockedOut),
    ("authentication is enabled", Class::LockedOut),
    ("\"auth_enabled\":true", Class::LockedOut),
    ("does not answer", Class::Mute),
    ("no answer in time", Class::Mute),
    ("but is not ready", Class::Mute),
    (r#""state":"starting""#, Class::Mute),
    (r#""state":"stopped""#, Class::Stopped),
    ("is not running", Class::Stopped),
    ("was not running", Class::Stopped),
    ("an ephemeral etcd", Class::Stopped),
    ("is taken by", Class::Foreign),
];

impl Class {
    pub(super) fn of(row: &Row, run: &Run) -> Self {
        let text = match row.concern {
            Concern::Checks => findings(&run.stdout),
            // The log is etcd's word, not ours.
            Concern::Shows => run.stderr.clone(),
            Concern::Nothing if run.code == Some(0) => String::new(),
            _ => format!("{}{}", run.stdout, run.stderr),
        };
        let said = WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, class)| *class);
        let started = text.contains("is ready after");
        match (said, run.code, row.concern) {
            (Some(class), ..) => class,
            (None, Some(0), Concern::Shows | Concern::Nothing) => Self::Unsaid,
            (None, Some(0), Concern::Checks) if !text.contains("is ready at") => Self::Unsaid,
            // It runs now, and did not before.
            (None, Some(0), Concern::Starts) if started => Self::Stopped,
            // It does not run now, and so it did not before.
            (None, Some(0), Concern::Wipes) if !started => Self::Stopped,
            (None, Some(0), _) => Self::Running,
            (None, ..) => Self::Unknown,
        }
    }

    /// The exit code that the README gives a command that finds this.
    pub(super) fn code(self, row: &Row) -> i32 {
        use Concern::{Checks, Describes, Nothing, Points, Reaches, Runs, Shows, Starts, Stops, Wipes};

        match (self, row.concern) {
            (_, Nothing) | (Self::Running | Self::Unsaid, _) => 0,
            (Self::Stopped, Describes | Points | Reaches) => 3,
            (Self::Stopped, Runs | Starts | Stops | Wipes | Checks | Shows) => 0,
            // As a stopped one: there is no etcd where one is needed.
            (Self::Misled, _) => 3,
            // The log is where it is.
            (Self::Newer, Shows) => 0,
            // It runs: that is the answer.
            (
                Self::Hidden | Self::Orphaned | Self::Mute | Self::StoreFull | Self::LockedOut,
                Describes | Checks | Shows,
            ) => 0,
            _ => 1,
        }
    }
}

/// What doctor says of instances, and what it calls a failure.
fn findings(json: &str) -> String {
    let all: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let matters = |one: &&serde_json::Value| one["subject"] == "instance" || one["level"] == "failure";
    all.iter().filter(matters).filter_map(|one| Some(format!("{}\n", one["finding"].as_str()?))).collect()
}
