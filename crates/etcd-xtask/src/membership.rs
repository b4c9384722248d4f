//! How the members of the workspace's own instances are listed and changed: where clients speak TLS or are users,
//! `etcd-console` asks etcd, because xtask has no TLS.

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::Result;
use etcd_local::{Builder, ByGateway, HealthError, Instance, ListedMember, Membership, Status};
use etcd_workspace::{ClientConfig, TlsFiles};
use serde::Deserialize;

use crate::build::on_demand;
use crate::console::{self, PACKAGE};
use crate::context::Context;

/// The builder of an instance whose members may be replaced.
pub(crate) fn of_instance(builder: Builder, name: &str, cx: &Context) -> Result<Builder> {
    let instance = builder.instance(name)?;
    Ok(builder.membership(Arc::new(OfInstance { instance, cx: cx.clone() })))
}

struct OfInstance {
    instance: Instance,
    cx: Context,
}

/// A member, as `etcd-console` prints it.
#[derive(Deserialize)]
struct Line {
    id: String,
    peer_urls: Vec<String>,
}

impl Membership for OfInstance {
    fn list(&self, endpoint: &str) -> Result<Vec<ListedMember>, HealthError> {
        let Some(flags) = self.flags()? else { return ByGateway.list(endpoint) };
        let answer = self.ask(endpoint, &flags, "member list", &["--format", "json"])?;
        let no_answer = |error: &dyn std::error::Error| HealthError::NoAnswer(error.to_string());
        let lines: Vec<Line> = serde_json::from_slice(&answer).map_err(|error| no_answer(&error))?;
        let listed = |line: Line| {
            let id = u64::from_str_radix(&line.id, 16).map_err(|error| no_answer(&error))?;
            Ok(ListedMember { id, peer_urls: line.peer_urls })
        };
        lines.into_iter().map(listed).collect()
    }

    fn remove(&self, endpoint: &str, id: u64) -> Result<(), HealthError> {
        let Some(flags) = self.flags()? else { return ByGateway.remove(endpoint, id) };
        let id = format!("{id:016x}");
        self.ask(endpoint, &flags, "member remove", &["--own-instance", "--force", &id]).map(drop)
    }

    fn add(&self, endpoint: &str, peer_url: &str, is_learner: bool) -> Result<(), HealthError> {
        let Some(flags) = self.flags()? else { return ByGateway.add(endpoint, peer_url, is_learner) };
        let kind: &[_] = if is_learner { &["--learner"] } else { &[] };
        self.ask(endpoint, &flags, "member add", &[&["--own-instance", peer_url], kind].concat()).map(drop)
    }
}

impl OfInstance {
    /// The flags that lead to the instance; `None` if it has neither TLS nor users.
    fn flags(&self) -> Result<Option<Vec<OsString>>, HealthError> {
        let status = self.instance.status().map_err(|error| HealthError::NoAnswer(error.to_string()))?;
        let Status { tls, password_file, .. } = status;
        let mut flags: Vec<OsString> = Vec::new();
        if let Some(files) = tls.map(TlsFiles::in_dir) {
            let (cert, key) = files.client();
            for (flag, file) in [("--cacert", files.ca()), ("--cert", cert), ("--key", key)] {
                flags.extend([flag.into(), file.into()]);
            }
        }
        if let Some(file) = password_file {
            flags.extend(["--user".into(), ClientConfig::ROOT.into(), "--password-file".into(), file.into()]);
        }
        Ok(Some(flags).filter(|flags| !flags.is_empty()))
    }

    /// Its answer, or what it says of etcd's refusal.
    fn ask(
        &self,
        endpoint: &str,
        flags: &[OsString],
        call: &'static str,
        args: &[&str],
    ) -> Result<Vec<u8>, HealthError> {
        let answered = || -> Result<std::process::Output> {
            let mut command = self.cx.command(on_demand::program(PACKAGE, &self.cx)?);
            command.args(console::settings(&self.cx)?).args(call.split(' ')).args(args);
            Ok(command.args(["--endpoints", endpoint]).args(flags).output()?)
        };
        let output = answered().map_err(|error| HealthError::NoAnswer(format!("{error:#}")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let message = said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Err(HealthError::Refused { endpoint: endpoint.to_owned(), call, message })
    }
}
