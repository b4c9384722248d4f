//! Whether a run is fenced: whether it gets a user of its own, who can use the run's keys and nothing else. Decides it before
//! the run is registered, and says where a run on a cluster with users is not fenced.

use anyhow::Result;
use etcd_keys::{Connection, Error, ErrorKind};
use etcd_workspace::ClientConfig;

use crate::cli::Fence;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// The role that may do everything.
const ROOT: &str = "root";

/// Whether a run of this connection can be fenced.
enum Verdict {
    Possible,
    /// As far as can be told, the cluster has no users.
    NoUsers,
    /// The cluster has users, and why the run cannot have one of its own.
    Impossible(String),
}

/// Whether to fence a run. Asks etcd nothing if the connection has neither a user nor a client certificate.
pub(crate) async fn is_wanted(fence: Fence, to: &Connection, config: &ClientConfig, cx: &Context) -> Result<bool> {
    if fence == Fence::Never {
        return Ok(false);
    }
    let (why, next) = match verdict(to, config, cx).await? {
        Verdict::Possible => return Ok(true),
        Verdict::NoUsers if fence == Fence::Auto => return Ok(false),
        Verdict::Impossible(why) if fence == Fence::Auto => {
            cx.note(format_args!("this run is not fenced: {why}; its tests can use all keys that this user can use"));
            return Ok(false);
        }
        Verdict::NoUsers => {
            let why = "the connection has no user who could create a user for the run".to_owned();
            (why, "give --user NAME with the role root on a cluster with users, or leave out --fence")
        }
        Verdict::Impossible(why) => (why, "give --user NAME of a user with the role root, or leave out --fence"),
    };
    Err(Failure { exit: Exit::Failure, what: format!("the run cannot be fenced: {why}"), next: next.to_owned() }.into())
}

async fn verdict(to: &Connection, config: &ClientConfig, cx: &Context) -> Result<Verdict> {
    let Some(user) = &config.user else {
        let has_certificate = config.cert.is_some();
        return Ok(if has_certificate && is_user(to.users().await)? {
            Verdict::Impossible("its user is that of the client certificate, which its tests need, too".to_owned())
        } else {
            Verdict::NoUsers
        });
    };
    if !to.roles_of(user).await?.iter().any(|role| role == ROOT) {
        return Ok(Verdict::Impossible(format!("the user `{user}` may not create users, without the role root")));
    }
    if config.cert.is_some() {
        // The tests need the certificate. If it is a user by itself, they could do without the run's user.
        let nobody = ClientConfig { user: None, password: None, ..config.clone() };
        if is_user(cx.connect_with(&nobody).await?.users().await)? {
            let why = "the client certificate, which its tests need, too, is a user by itself";
            return Ok(Verdict::Impossible(why.to_owned()));
        }
    }
    Ok(Verdict::Possible)
}

/// Whether a client certificate is a user by itself, by the answer to a connection that has nothing else.
fn is_user(users: Result<Vec<String>, Error>) -> Result<bool, Error> {
    match users {
        // Authentication is not enabled, or never was and some users are prepared: the certificate may be one of them.
        Ok(users) => Ok(!users.is_empty()),
        Err(error) if error.kind.is_without_user() => Ok(false),
        Err(Error { kind: ErrorKind::Denied(_), .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
