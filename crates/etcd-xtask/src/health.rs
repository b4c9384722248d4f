//! How the database of an instance does, in words: its size, and what is wrong with it, with the way out.

use std::fmt;

use etcd_local::{DbSize, Health, State, Status};

use crate::cli::Which;
use crate::output::megabytes;

/// Something that is wrong with a database.
pub(crate) struct Trouble {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// What a server says of its database.
#[derive(Default)]
pub(crate) struct Report {
    /// `None`: the server is not ready, or does not tell.
    pub(crate) health: Option<Health>,
    pub(crate) troubles: Vec<Trouble>,
}

/// Asks an instance's server, if it is ready.
pub(crate) fn of(status: &Status) -> Report {
    let which = Which::named(Some(&status.instance));
    let endpoint = status.endpoints.first().filter(|_| status.state == State::Ready);
    match endpoint.map(|endpoint| Health::of(endpoint)) {
        None => Report::default(),
        Some(Ok(health)) => Report { troubles: troubles(&health, &which), health: Some(health) },
        Some(Err(error)) => {
            let remedy = format!("{} may say more", which.command("etcd-logs"));
            Report { health: None, troubles: vec![Trouble { what: error.to_string(), remedy }] }
        }
    }
}

/// A database's size, for people.
pub(crate) fn size(health: &Health) -> Option<String> {
    let DbSize { total, in_use, quota } = health.db?;
    let quota = quota.map(|quota| format!(", quota {}", megabytes(quota))).unwrap_or_default();
    Some(format!("{}, {} in use{quota}", megabytes(total), megabytes(in_use)))
}

fn troubles(health: &Health, which: &Which) -> Vec<Trouble> {
    let size = size(health).map(|size| format!(" ({size})")).unwrap_or_default();
    let alarm = |name: &String| {
        let (what, remedy) = match name.as_str() {
            "NOSPACE" => (
                format!("the database is full{size}, and every write is refused (alarm NOSPACE)"),
                format!("{} frees space and ends the alarm", which.command("etcd-compact")),
            ),
            "CORRUPT" => (
                "the database is damaged, and every request is refused (alarm CORRUPT)".to_owned(),
                format!("{} deletes it and starts anew", which.command("etcd-reset")),
            ),
            name => (format!("etcd's alarm {name} is on"), format!("{} may say why", which.command("etcd-logs"))),
        };
        Trouble { what, remedy }
    };
    let mut troubles: Vec<Trouble> = health.alarms.iter().map(alarm).collect();
    if health.auth_enabled {
        troubles.push(Trouble {
            what: "authentication is enabled, and every request without a user is refused".to_owned(),
            remedy: ways_out_of_auth(which),
        });
    }
    if health.db.as_ref().is_some_and(DbSize::is_nearly_full) && !health.is_full() {
        troubles.push(Trouble {
            what: format!("the database is nearly full{size}; when it is, every write is refused"),
            remedy: format!("{} frees what the history of keys takes", which.command("etcd-compact")),
        });
    }
    troubles
}

/// What to do where somebody, a test say, enabled authentication.
pub(crate) fn ways_out_of_auth(which: &Which) -> String {
    format!(
        "{} deletes users and keys; `cargo xtask etcdctl{} -- --user root auth disable` keeps them, if you know root's \
         password",
        which.command("etcd-reset"),
        which.flag()
    )
}
