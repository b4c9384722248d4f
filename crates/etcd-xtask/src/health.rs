//! Describes the database of an instance: its size, and its problems with their remedies.

use std::fmt;

use etcd_local::{DbSize, Health, State, Status};

use crate::cli::Which;
use crate::output::megabytes;

/// A problem of a database.
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// The health of an instance's database.
#[derive(Default)]
pub(crate) struct Report {
    /// `None` if the server is not ready or does not report its health.
    pub(crate) health: Option<Health>,
    pub(crate) problems: Vec<Problem>,
}

/// Asks an instance's server, if it is ready.
pub(crate) fn of(status: &Status) -> Report {
    let which = Which::named(Some(&status.instance));
    if status.state != State::Ready {
        return Report::default();
    }
    // Of several members, some may not be running, and learners refuse requests.
    let ready = status.members.iter().find(|member| member.state == State::Ready && !member.learner);
    let (endpoint, metrics) = match ready {
        Some(member) => (Some(&member.endpoint), &member.metrics_url),
        None => (status.endpoints.first(), &status.metrics_url),
    };
    let has_users = status.password_file.is_some();
    let health = match metrics.as_ref().filter(|_| status.tls.is_some()) {
        // Clients speak TLS, and this does not.
        Some(url) => Health::by_metrics(url).map(|health| Health { auth_enabled: has_users, ..health }),
        None => Health::of(endpoint.map_or("", String::as_str)),
    };
    let mut report = match health {
        Ok(health) => Report { problems: problems(&health, has_users, &which), health: Some(health) },
        Err(error) => {
            let remedy = format!("{} may say more", which.command("etcd-logs"));
            Report { health: None, problems: vec![Problem { what: error.to_string(), remedy }] }
        }
    };
    for member in status.members.iter().filter(|member| member.state == State::Stopped) {
        let what = format!("member {} {}", member.name, member.state);
        report.problems.push(Problem { what, remedy: format!("{} starts it", which.command("etcd-up")) });
    }
    report
}

/// A database's size, for people.
pub(crate) fn size(health: &Health) -> Option<String> {
    let DbSize { total, in_use, quota } = health.db?;
    let quota = quota.map(|quota| format!(", quota {}", megabytes(quota))).unwrap_or_default();
    Some(format!("{}, {} in use{quota}", megabytes(total), megabytes(in_use)))
}

fn problems(health: &Health, has_users: bool, which: &Which) -> Vec<Problem> {
    let size = size(health).map(|size| format!(" ({size})")).unwrap_or_default();
    let alarm = |name: &String| {
        let (what, remedy) = match name.as_str() {
            "NOSPACE" => (
                format!("the database is full{size}, and every write is refused (alarm NOSPACE)"),
                format!("{} frees space and ends the alarm", which.command("etcd-compact")),
            ),
            "CORRUPT" => (
                "the database is damaged, and every request is refused (alarm CORRUPT)".to_owned(),
                format!("{} deletes it and starts with an empty database", which.command("etcd-reset")),
            ),
            name => (format!("etcd's alarm {name} is on"), format!("{} may say why", which.command("etcd-logs"))),
        };
        Problem { what, remedy }
    };
    let mut problems: Vec<Problem> = health.alarms.iter().map(alarm).collect();
    if health.auth_enabled && !has_users {
        problems.push(Problem {
            what: "authentication is enabled, and every request without a user is refused".to_owned(),
            remedy: ways_out_of_auth(which),
        });
    }
    if health.db.as_ref().is_some_and(DbSize::is_nearly_full) && !health.is_full() {
        problems.push(Problem {
            what: format!("the database is nearly full{size}; a full database refuses every write"),
            remedy: format!("{} frees the space of old values", which.command("etcd-compact")),
        });
    }
    problems
}

/// What to do if somebody, for example a test, enabled authentication.
pub(crate) fn ways_out_of_auth(which: &Which) -> String {
    format!(
        "{} deletes users and keys; `cargo xtask etcdctl{} -- --user root auth disable` keeps them, if you know root's \
         password",
        which.command("etcd-reset"),
        which.flag()
    )
}
