//! `member`: the cluster's members, in etcdctl's columns. How they change is `member_changes`'.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::cli::{Format, Member, MemberCommand};
use crate::context::Context;
use crate::member_changes::{Changing, shown};
use crate::output;

/// A member, as a program reads it.
#[derive(Serialize)]
struct Line<'a> {
    /// 16 hexadecimal digits.
    id: String,
    name: &'a str,
    peer_urls: &'a [String],
    client_urls: &'a [String],
    learner: bool,
}

impl<'a> Line<'a> {
    fn new(member: &'a etcd_keys::Member) -> Self {
        Self {
            id: format!("{:016x}", member.id),
            name: &member.name,
            peer_urls: &member.peer_urls,
            client_urls: &member.client_urls,
            learner: member.is_learner,
        }
    }
}

pub(crate) async fn run(args: Member, cx: &Context) -> Result<ExitCode> {
    let (connection, config) = cx.connect_as().await?;
    let members = connection.members().await?;
    let cluster = Changing { cx, connection: &connection, config: &config, members: &members };
    let (changed, said, format) = match &args.command {
        MemberCommand::List { format } => {
            match format {
                Format::Json => output::json(&members.iter().map(Line::new).collect::<Vec<_>>())?,
                Format::Text => {
                    output::text(&members.iter().map(|member| text(&Line::new(member))).collect::<String>())?
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        MemberCommand::Add { peer_url, learner, own_instance, format } => {
            if !own_instance {
                cluster.refuse_own_instance("add a member to")?;
            }
            let added = cluster.add(peer_url, *learner).await?;
            let said = cluster.how_to_start(&added).await?;
            (added, said, format)
        }
        MemberCommand::Remove { member, force, own_instance, format } => {
            if !own_instance {
                cluster.refuse_own_instance("remove a member from")?;
            }
            let removed = cluster.remove(member, *force).await?;
            let said = format!("removed member {}\n", shown(&removed));
            (removed, said, format)
        }
        MemberCommand::Promote { member, format } => {
            cluster.refuse_own_instance("promote a member of")?;
            let promoted = cluster.promote(member).await?;
            let said = format!("member {} votes from now on\n", shown(&promoted));
            (promoted, said, format)
        }
    };
    match format {
        Format::Json => output::json(&Line::new(&changed))?,
        Format::Text => cx.report(&said)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(member: &Line<'_>) -> String {
    // A member that has not yet joined has no name.
    let status = if member.name.is_empty() { "unstarted" } else { "started" };
    let Line { id, name, peer_urls, client_urls, learner } = member;
    format!("{id}, {status}, {name}, {}, {}, {learner}\n", peer_urls.join(","), client_urls.join(","))
}
