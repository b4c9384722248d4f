//! Why something cannot be done with one of several members. Shared by what starts members and what stops them.

use std::io;
use std::path::PathBuf;

use semver::Version;

use crate::server::health::HealthError;
use crate::server::launch_error::LaunchError;

/// Why something cannot be done with one of several members.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The instance has one member.
    #[error("etcd `{instance}` has only one member")]
    OneMember {
        /// The instance.
        instance: String,
    },
    /// The instance has other members.
    #[error("etcd `{instance}` has no member `{member}`")]
    NoSuchMember {
        /// The instance.
        instance: String,
        /// The name that was given.
        member: String,
        /// The names of its members.
        members: Vec<String>,
    },
    /// Another process has a port of a member, whose ports cannot change.
    #[error("member `{member}` cannot start")]
    Port {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
        /// Which port, and who has it.
        source: Box<LaunchError>,
    },
    /// etcd cannot go on with a member's data.
    #[error("member `{member}` cannot start")]
    Damaged {
        /// The member.
        member: String,
        /// What is wrong with its data.
        source: Box<LaunchError>,
    },
    /// A member that was ready once has no data: started on none, it would forget what it has promised its peers.
    #[error("the data of member `{member}` is gone: `{}` is missing or empty", data_dir.display())]
    DataGone {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
        /// Its data directory.
        data_dir: PathBuf,
    },
    /// A member's data is another cluster's.
    #[error("the data of member `{member}`, in `{}`, belongs to another cluster", data_dir.display())]
    OtherCluster {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
        /// Its data directory.
        data_dir: PathBuf,
    },
    /// The data of so many members is gone that the others cannot decide anything.
    #[error(
        "quorum is lost: the data of {} of the {members} members of `{instance}` is gone ({}), and the others are not a \
         majority",
        gone.len(),
        gone.join(", ")
    )]
    QuorumLost {
        /// The instance.
        instance: String,
        /// The members whose data is gone.
        gone: Vec<String>,
        /// The members that have theirs.
        left: Vec<String>,
        /// How many members it has.
        members: usize,
    },
    /// A learner does not vote, so that it cannot be a cluster by itself.
    #[error("member `{member}` of `{instance}` is a learner: a cluster cannot be recovered from it")]
    Learner {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
    },
    /// etcd is too old for several learners.
    #[error("etcd {version} has at most one learner, not {learners} as asked for `{instance}`")]
    OneLearner {
        /// The instance.
        instance: String,
        /// The etcd.
        version: Version,
        /// How many were asked for.
        learners: usize,
    },
    /// Nothing is lost that has to be recovered.
    #[error("etcd `{instance}` can have a quorum: {with_data} of its {members} members have their data")]
    HasQuorum {
        /// The instance.
        instance: String,
        /// How many members have data.
        with_data: usize,
        /// How many members it has.
        members: usize,
    },
    /// The others cannot decide that a member is replaced.
    #[error(
        "member `{member}` cannot be replaced: {ready} other members of `{instance}` are ready, and a majority of its \
         {members} members must be"
    )]
    NoMajority {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
        /// How many others are ready.
        ready: usize,
        /// How many members it has.
        members: usize,
    },
    /// Somebody added a member that is not in the instance's record.
    #[error(
        "member `{member}` cannot be replaced: the cluster has another member at {peer_url}, which is not one of `{instance}`'s"
    )]
    Stranger {
        /// The instance.
        instance: String,
        /// The member to replace.
        member: String,
        /// Where the other is.
        peer_url: String,
    },
    /// The others were not asked, or refused.
    #[error("member `{member}` cannot join the cluster")]
    Refused {
        /// The member.
        member: String,
        /// What they said.
        source: HealthError,
    },
    /// Members that run are not downgraded.
    #[error("etcd `{instance}` runs {from}, and cannot go back to {to}")]
    Downgrade {
        /// The instance.
        instance: String,
        /// What a member runs.
        from: Version,
        /// What was asked for.
        to: Version,
    },
    /// etcd upgrades one minor version at a time.
    #[error(
        "etcd `{instance}` runs {from}, and cannot be upgraded to {to} at once: etcd upgrades by one minor version at a time"
    )]
    Jump {
        /// The instance.
        instance: String,
        /// What a member runs.
        from: Version,
        /// What was asked for.
        to: Version,
    },
    /// A member is not upgraded while another one does not serve.
    #[error("member `{member}` of `{instance}` was not stopped for its upgrade: not all other members are ready")]
    OthersNotReady {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
    },
    /// The process does not end.
    #[error("cannot stop pid {pid} of `{instance}`")]
    Stop {
        /// The member, after its instance's name.
        instance: String,
        /// The process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}
