//! `member list`: the cluster's members, in etcdctl's columns.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::cli::{Format, Member, MemberCommand};
use crate::context::Context;
use crate::output;

#[derive(Serialize)]
struct Line<'a> {
    /// 16 hexadecimal digits.
    id: String,
    name: &'a str,
    peer_urls: &'a [String],
    client_urls: &'a [String],
    learner: bool,
}

pub(crate) async fn run(args: Member, cx: &Context) -> Result<ExitCode> {
    let MemberCommand::List { format } = args.command;
    let connection = cx.connect().await?;
    let members = connection.members().await?;
    let members: Vec<Line<'_>> = members
        .iter()
        .map(|member| Line {
            id: format!("{:016x}", member.id),
            name: &member.name,
            peer_urls: &member.peer_urls,
            client_urls: &member.client_urls,
            learner: member.is_learner,
        })
        .collect();
    match format {
        Format::Json => output::json(&members)?,
        Format::Text => {
            let lines: String = members.iter().map(text).collect();
            output::text(&lines)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(member: &Line<'_>) -> String {
    // A member that has not yet joined has no name.
    let status = if member.name.is_empty() { "unstarted" } else { "started" };
    let Line { id, name, peer_urls, client_urls, learner } = member;
    format!("{id}, {status}, {name}, {}, {}, {learner}\n", peer_urls.join(","), client_urls.join(","))
}
