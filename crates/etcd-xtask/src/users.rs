//! The users of an instance, which `etcd-console` creates: where clients speak TLS, xtask cannot ask etcd anything.

use anyhow::Result;
use etcd_local::{Instance, Up};

use crate::build::on_demand;
use crate::cli::NetworkPolicy;
use crate::console::{self, PACKAGE};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::AlreadyReported;

/// Makes sure that authentication is on in an instance that is ready, if it is to be: because Cargo.toml says so, it
/// `is_asked_for`, or it was on in data that `etcd-reset` has wiped. Finishes what was interrupted.
pub(crate) fn switched_on(
    up: Up,
    instance: &Instance,
    is_asked_for: bool,
    network: NetworkPolicy,
    cx: &Context,
) -> Result<Up> {
    let is_wanted = cx.builder()?.settings().auth || instance.passwords().is_dir();
    if !is_asked_for && (up.status.password_file.is_some() || !is_wanted) {
        return Ok(up);
    }
    let mut command = cx.command(on_demand::program_within(network, PACKAGE, cx)?);
    command.args(console::settings(cx)?).args(["users", "--instance", instance.name(), "--passwords"]);
    if !command.arg(instance.passwords()).status()?.success() {
        return Err(AlreadyReported(Exit::FAILURE).into());
    }
    instance.note_users()?;
    Ok(Up { status: instance.status()?, ..up })
}
