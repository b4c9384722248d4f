//! How the server of a run did, by what its members counted meanwhile: fsyncs, changes of the leader, restarts. For reports;
//! a server that tells nothing never changes how a run ends.

use etcd_local::Counters;
use serde::Serialize;

use crate::context::Context;
use crate::runs::server::Server;

/// How one member did.
#[derive(Serialize)]
pub(crate) struct MemberHealth {
    /// Its name, or its URL.
    member: String,
    fsyncs: Option<u64>,
    /// `null` also if there were none, or they took longer than etcd distinguishes.
    fsync_p99_seconds: Option<f64>,
    leader_changes: Option<u64>,
    fault: Option<&'static str>,
}

/// What the members had counted when the run began.
#[derive(Default)]
pub(crate) struct ServerHealth(Vec<(String, String, Option<Counters>)>);

impl ServerHealth {
    pub(crate) fn begin(server: &Server, cx: &Context) -> Self {
        let members = server.plain_urls(cx);
        let counters = read(members.iter().map(|(_, url)| url.as_str()));
        Self(members.into_iter().zip(counters).map(|((name, url), counters)| (name, url, counters)).collect())
    }

    /// How the members did since then. `None`: nothing is known of any.
    pub(crate) fn end(self) -> Option<Vec<MemberHealth>> {
        let counters = read(self.0.iter().map(|(_, url, _)| url.as_str()));
        let is_known = counters.iter().any(Option::is_some) || self.0.iter().any(|(_, _, before)| before.is_some());
        let members = self.0.into_iter().zip(counters);
        is_known.then(|| members.map(|((member, _, before), now)| did(member, before.as_ref(), now.as_ref())).collect())
    }
}

fn did(member: String, before: Option<&Counters>, now: Option<&Counters>) -> MemberHealth {
    let counted = before.zip(now).map(|(before, now)| now.since(before));
    MemberHealth {
        member,
        fsyncs: counted.map(|counted| counted.fsyncs),
        fsync_p99_seconds: counted.and_then(|counted| counted.fsync_p99),
        leader_changes: counted.map(|counted| counted.leader_changes),
        fault: match (now, before) {
            (None, _) => Some("does not answer at the end"),
            (_, None) => Some("did not answer at the beginning"),
            _ if counted.is_some_and(|counted| counted.was_restarted) => Some("was restarted"),
            _ => None,
        },
    }
}

/// Asks all members at once: some may not answer.
fn read<'a>(urls: impl Iterator<Item = &'a str>) -> Vec<Option<Counters>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = urls.map(|url| scope.spawn(move || Counters::read(url))).collect();
        asked.into_iter().map(|answer| answer.join().unwrap_or_default()).collect()
    })
}
