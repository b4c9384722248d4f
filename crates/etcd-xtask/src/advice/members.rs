//! Hints for errors about one of several members.

use etcd_local::{HealthError, MemberError};

use super::Advice;
use crate::cli::Which;
use crate::exit::Exit;
use crate::health::ways_out_of_auth;

pub(super) fn on(error: &MemberError, which: &Which) -> Advice {
    let up = which.command("etcd-up");
    match error {
        MemberError::OneMember { .. } => Advice::hint(format!(
            "{} stops it, {up} starts it; `cargo xtask etcd-up --instance NAME --members 3` creates an instance of three \
             members",
            which.command("etcd-down")
        ))
        .with_exit(Exit::USAGE),
        MemberError::NoSuchMember { members, .. } => {
            Advice::hint(format!("its members are {}", members.join(", "))).with_exit(Exit::USAGE)
        }
        MemberError::Port { .. } => Advice::hint(format!("stop the other process, then run {up} again")),
        MemberError::DataGone { member, .. } | MemberError::Damaged { member, .. } => Advice {
            hints: vec![
                "put the member's own data back, if you have it".to_owned(),
                format!("{} makes its data anew from the others'", which.command(&format!("etcd-member replace {member}"))),
            ],
            ..Advice::default()
        },
        MemberError::OtherCluster { member, data_dir, .. } => Advice::hint(format!(
            "put the member's own data back; or move `{}` away, and {} makes the member's data anew from the others'",
            data_dir.display(),
            which.command(&format!("etcd-member replace {member}"))
        )),
        MemberError::QuorumLost { left, .. } => {
            let mut advice = Advice::hint("put the data of enough members back, if you have it");
            let (reset, flag) = (which.command("etcd-reset"), which.flag());
            advice.hints.push(match left.first() {
                Some(left) => format!(
                    "`cargo xtask etcd-member recover {left}{flag}` goes on with the keys that {left} has: what only the \
                     others had is lost"
                ),
                None => format!("{reset} begins with an empty database"),
            });
            advice
        }
        MemberError::Learner { .. } => {
            let status = which.command("etcd-status");
            Advice::hint(format!("{status} shows which members are no learners: name one that has its data"))
                .with_exit(Exit::USAGE)
        }
        MemberError::OneLearner { .. } => Advice::hint("give `--learners 1`, or `--etcd 3.6` or later"),
        MemberError::HasQuorum { .. } => {
            Advice::hint(format!("{up} starts its members, and replaces those whose data is gone")).with_exit(Exit::REFUSED)
        }
        MemberError::NoMajority { .. } => Advice::hint(format!("{up} starts the members that do not run")),
        MemberError::Stranger { peer_url, .. } => Advice::hint(format!(
            "`cargo xtask member list{flag}` shows its id; `cargo xtask etcdctl{flag} -- member remove ID` removes the member \
             at {peer_url}",
            flag = which.flag()
        )),
        MemberError::Downgrade { to, .. } => Advice::hint(format!(
            "`cargo xtask etcd-up --instance NAME --members 3 --etcd {to}` creates another instance; {} and {}, \
             then {}, delete the data of this one and start it with {to}",
            which.command("etcd-down"),
            which.command("etcd-reset"),
            which.command(&format!("etcd-up --etcd {to}"))
        )),
        MemberError::Jump { from, .. } => {
            let next = format!("{}.{}", from.major, from.minor + 1);
            let up = which.command(&format!("etcd-up --etcd {next}"));
            Advice::hint(format!("{up} upgrades its members to {next}; then the same command again"))
        }
        MemberError::Refused { source: HealthError::NeedsUser(_), .. } => Advice::hint(ways_out_of_auth(which)),
        MemberError::Refused { .. } | MemberError::OthersNotReady { .. } => Advice::hint(format!(
            "{} shows how each member does; the same command may be given again",
            which.command("etcd-status")
        )),
        _ => Advice::hint("`cargo xtask doctor` shows what it finds"),
    }
}
