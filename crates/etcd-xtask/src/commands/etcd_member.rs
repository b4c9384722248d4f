//! `etcd-member`: stops, starts and replaces one of several members of an instance.

use anyhow::Result;
use etcd_local::{Instance, MemberStatus, State, Status};
use serde::Serialize;

use crate::cli::{EtcdMember, Format, MemberAction};
use crate::commands::etcd_reset::confirm;
use crate::context::Context;
use crate::exit::Exit;
use crate::{membership, output};

pub(crate) fn run(args: &EtcdMember, cx: &Context) -> Result<Exit> {
    let name = &args.which.instance;
    let instance = membership::of_instance(cx.builder()?, name, cx)?.instance(name)?;
    let changed = match args.action {
        MemberAction::Stop => stop(&instance, args, cx)?,
        MemberAction::Start => start(&instance, args, cx)?,
        MemberAction::Restart => {
            stop(&instance, args, cx)?;
            start(&instance, args, cx)?
        }
        MemberAction::Replace => {
            let status = instance.replace_member(&args.member)?.status;
            tell(args, cx, &status, "was replaced, and is ready")?;
            true
        }
        MemberAction::Recover => {
            let what = format!(
                "etcd `{}` with the keys of member `{}`; what only other members have is lost",
                instance.name(),
                args.member
            );
            let command = args.which.command(&format!("etcd-member recover {} --yes", args.member));
            if !args.yes && !confirm("recover", &what, &command, cx)? {
                return Ok(Exit::REFUSED);
            }
            let status = instance.recover_from(&args.member)?.status;
            tell(args, cx, &status, "is the origin of all keys now; all members are ready")?;
            true
        }
    };
    let status = instance.status()?;
    if args.answer.format == Format::Json {
        output::json(&Answer { status: &status, member: &args.member, changed })?;
    }
    note_lost_quorum(&status, args, cx);
    Ok(Exit::SUCCESS)
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    status: &'a Status,
    member: &'a str,
    /// Whether the command changed whether the member runs.
    changed: bool,
}

fn stop(instance: &Instance, args: &EtcdMember, cx: &Context) -> Result<bool> {
    let was_running = !instance.stop_member(&args.member)?.stopped.is_empty();
    let member = format!("member `{}` of etcd `{}`", args.member, instance.name());
    let text = if was_running { format!("stopped {member}\n") } else { format!("{member} was not running\n") };
    say(args, cx, &text)?;
    Ok(was_running)
}

fn start(instance: &Instance, args: &EtcdMember, cx: &Context) -> Result<bool> {
    let up = instance.start_member(&args.member)?;
    let found = member(&up.status, &args.member);
    let how = match found.map(|member| member.state) {
        Some(State::Ready) if up.started => "is ready",
        Some(State::Ready) => "is already up",
        _ => "runs, and waits for the others",
    };
    tell(args, cx, &up.status, how)?;
    Ok(up.started)
}

fn member<'a>(status: &'a Status, name: &str) -> Option<&'a MemberStatus> {
    status.members.iter().find(|member| member.name == name)
}

fn tell(args: &EtcdMember, cx: &Context, status: &Status, how: &str) -> Result<()> {
    let endpoint = member(status, &args.member).map(|member| member.endpoint.as_str()).unwrap_or_default();
    say(args, cx, &format!("member `{}` of etcd `{}` {how}: {endpoint}\n", args.member, status.instance))
}

fn say(args: &EtcdMember, cx: &Context, text: &str) -> Result<()> {
    match args.answer.format {
        Format::Text => cx.output.report(text),
        Format::Json => Ok(()),
    }
}

/// Warns if so many members are stopped that etcd takes no write.
fn note_lost_quorum(status: &Status, args: &EtcdMember, cx: &Context) {
    let voters = || status.members.iter().filter(|member| !member.learner);
    let all = voters().count();
    let running = voters().filter(|member| member.state != State::Stopped).count();
    if running <= all / 2 {
        let up = args.which.command("etcd-up");
        cx.output.warn(format_args!(
            "etcd `{}` has no quorum: {running} of {all} members run, and it takes no write until {} run; {up} starts the \
             others",
            status.instance,
            all / 2 + 1
        ));
    }
}
