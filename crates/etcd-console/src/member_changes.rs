//! `member add`, `remove` and `promote`: what is checked before etcd is asked, and what its refusals mean.

use std::time::Duration;

use anyhow::Result;
use etcd_keys::{Connection, Error, ErrorKind, Member};
use etcd_workspace::ClientConfig;

use crate::context::Context;
use crate::failure::{Exit, Failure};

/// A cluster whose members are to change.
pub(crate) struct Changing<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) connection: &'a Connection,
    pub(crate) config: &'a ClientConfig,
    pub(crate) members: &'a [Member],
}

/// A member's name and id.
pub(crate) fn shown(member: &Member) -> String {
    match member.name.as_str() {
        "" => format!("{:016x} (not started, at {})", member.id, member.peer_urls.join(",")),
        name => format!("`{name}` ({:016x})", member.id),
    }
}

impl Changing<'_> {
    pub(crate) async fn add(&self, peer_url: &str, is_learner: bool) -> Result<Member> {
        let added = self.connection.add_member(peer_url, is_learner).await.map_err(|error| self.explained(error))?;
        added
            .ok_or_else(|| failure(Exit::Failure, "etcd does not tell which member it added", "`member list` shows it"))
    }

    pub(crate) async fn remove(&self, member: &str, force: bool) -> Result<Member> {
        let member = self.find(member)?;
        if !force && !member.is_learner {
            self.refuse_loss_of_quorum(member).await?;
        }
        self.connection.remove_member(member.id).await.map_err(|error| self.explained(error))?;
        Ok(member.clone())
    }

    pub(crate) async fn promote(&self, member: &str) -> Result<Member> {
        let member = self.find(member)?;
        if !member.is_learner {
            let what = format!("member {} is not a learner: it votes already", shown(member));
            return Err(failure(Exit::Usage, what, "`member list` shows which members are learners"));
        }
        let promoted = self.connection.promote_member(member.id).await;
        promoted.map_err(|error| match says(&error, "in sync with leader") {
            true => {
                let what = format!("member {} cannot vote yet: it does not have what the leader has", shown(member));
                failure(
                    Exit::Failure,
                    what,
                    "start it if it does not run, and give the same command again when it has caught up",
                )
            }
            false => self.explained(error),
        })?;
        let mut promoted = member.clone();
        promoted.is_learner = false;
        Ok(promoted)
    }

    /// How a member that was added is started.
    pub(crate) async fn how_to_start(&self, added: &Member) -> Result<String> {
        let members = self.connection.members().await?;
        let of = |member: &Member| {
            let name = if member.id == added.id { "NAME" } else { &member.name };
            member.peer_urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>()
        };
        let urls = added.peer_urls.join(",");
        let kind = if added.is_learner { "learner" } else { "member" };
        Ok(format!(
            "added {kind} {:016x}; start it with an empty data directory:\n  etcd --name NAME --initial-cluster-state existing \\\n    \
             --initial-cluster {} \\\n    --initial-advertise-peer-urls {urls} --listen-peer-urls {urls} …\n",
            added.id,
            members.iter().flat_map(of).collect::<Vec<_>>().join(",")
        ))
    }

    /// The member of this name or id.
    fn find(&self, wanted: &str) -> Result<&Member> {
        let named: Vec<_> = self.members.iter().filter(|member| member.name == wanted).collect();
        let id = u64::from_str_radix(wanted, 16).ok();
        let found = match named.as_slice() {
            [one] => Some(*one),
            [] => self.members.iter().find(|member| Some(member.id) == id),
            _ => {
                let what = format!("{} members have the name `{wanted}`", named.len());
                let ids: Vec<_> = named.iter().map(|member| format!("{:016x}", member.id)).collect();
                return Err(failure(Exit::Usage, what, format!("name it by its id: {}", ids.join(", "))));
            }
        };
        let no_such = || {
            let all: Vec<_> = self.members.iter().map(shown).collect();
            let what = format!("the cluster has no member `{wanted}`");
            failure(Exit::Usage, what, format!("its members are {}", all.join(", ")))
        };
        found.ok_or_else(no_such)
    }

    /// The workspace's own instances have records of their members.
    pub(crate) fn refuse_own_instance(&self, verb: &str) -> Result<()> {
        let Some(name) = self.cx.own_instance(self.connection, self.config) else { return Ok(()) };
        let what = format!("refused to {verb} etcd `{name}`: its record would not be true any more");
        let next = format!(
            "`cargo xtask etcd-member replace NAME --instance {name}` replaces a member; `cargo xtask etcd-up --instance NAME \
             --members N` creates an instance with another number of members"
        );
        Err(failure(Exit::Refused, what, next))
    }

    /// Without the member, a majority of the others must be healthy.
    async fn refuse_loss_of_quorum(&self, member: &Member) -> Result<()> {
        let mut others = Vec::new();
        for other in self.members.iter().filter(|other| other.id != member.id && !other.is_learner) {
            others.push((other, self.is_healthy(other).await));
        }
        let healthy: Vec<_> =
            others.iter().filter(|(_, is_healthy)| *is_healthy).map(|(other, _)| shown(other)).collect();
        if healthy.len() > others.len() / 2 {
            return Ok(());
        }
        let what = match others.len() {
            0 => format!("refused to remove member {}: no other member votes", shown(member)),
            all => format!(
                "refused to remove member {}: the cluster would lose its quorum; of the {all} other voting members, {} \
                 healthy{}{}",
                shown(member),
                if healthy.is_empty() { "none is" } else { "only these are" },
                if healthy.is_empty() { "" } else { ": " },
                healthy.join(", ")
            ),
        };
        Err(failure(Exit::Refused, what, "start other members first; with `--force` etcd alone decides"))
    }

    /// Whether it answers at one of its client URLs, and knows of a leader. One that denies this to our user serves, too.
    async fn is_healthy(&self, member: &Member) -> bool {
        const TIMEOUT: Duration = Duration::from_secs(3);
        if member.client_urls.is_empty() {
            return false;
        }
        let config = ClientConfig { endpoints: member.client_urls.clone(), ..self.config.clone() };
        let ask = async {
            let has_leader = self.cx.connect_with(&config).await.ok()?.has_leader().await;
            Some(has_leader.unwrap_or_else(|error| matches!(error.kind, ErrorKind::Denied(_))))
        };
        tokio::time::timeout(TIMEOUT, ask).await.ok().flatten().unwrap_or(false)
    }

    /// Refusals of etcd with a next step of their own.
    fn explained(&self, error: Error) -> anyhow::Error {
        let unhealthy = says(&error, "unhealthy cluster");
        let next = if unhealthy {
            "etcd changes its members only while all of them have been connected for five seconds: start those that do not run, \
             or remove one that is gone for good"
        } else if says(&error, "not enough started members") {
            "a member that was added before has not started: start it, or remove it"
        } else if says(&error, "Peer URLs already exists") || says(&error, "member ID already exist") {
            "`member list` shows which member has this URL"
        } else if says(&error, "too many learner members") {
            "promote or remove the learner that `member list` shows"
        } else if says(&error, "URLs are invalid") {
            "write http://IP:PORT or https://IP:PORT"
        } else if matches!(&error.kind, ErrorKind::Etcd { code, .. } if code == "Unimplemented") {
            "this etcd is too old for it: learners came with etcd 3.4"
        } else {
            return error.into();
        };
        failure(Exit::Failure, error.to_string(), next)
    }
}

fn says(error: &Error, words: &str) -> bool {
    match &error.kind {
        ErrorKind::CannotServe(said) | ErrorKind::Invalid(said) | ErrorKind::Etcd { message: said, .. } => {
            said.contains(words)
        }
        _ => false,
    }
}

fn failure(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    Failure { exit, what: what.into(), next: next.into() }.into()
}
