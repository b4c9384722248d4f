//! The context of every command: the environment, the workspace, and the output.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_console_cli::Client;
use etcd_local::{Builder, Env, Instance};
use etcd_workspace::{ClientConfig, Leads, ManifestSettings};

use crate::cli::{Global, Which};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The environment, the workspace, and the output.
#[derive(Clone)]
pub struct Context {
    /// The environment.
    pub env: Env,
    /// The directory of the workspace's Cargo.toml.
    pub workspace: PathBuf,
    /// The output to the user.
    pub output: Arc<Output>,
}

impl Context {
    pub(crate) fn new(env: Env, global: &Global) -> Result<Self> {
        let workspace = find_workspace(&env)?;
        let output = Arc::new(Output::new(&env, global.quiet));
        Ok(Self { env, workspace, output })
    }

    /// A builder with this workspace's settings that reports to the user.
    ///
    /// # Errors
    /// If the settings cannot be read or used.
    pub fn builder(&self) -> Result<Builder> {
        let builder = Builder::new(self.env.clone(), &self.workspace)?;
        Ok(builder.reporter(Arc::clone(&self.output) as Arc<dyn etcd_local::Reporter>))
    }

    /// A command with the user's environment, without the variables that cargo and rustup add.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.vars());
        command
    }

    /// The same, for a program that the user names, which may be cargo in another workspace.
    pub(crate) fn users_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command(program);
        if self.is_toolchain_by_default() {
            command.env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// Whether rustup chose the toolchain by itself, where it is older than 1.29 and does not say so: it would choose the
    /// same again here.
    fn is_toolchain_by_default(&self) -> bool {
        /// rustup may look for a newer toolchain first.
        const TIMEOUT: Duration = Duration::from_secs(10);
        let var = |name: &str| self.env.var(name);
        let (Some(toolchain), Some(_), None) = (var("RUSTUP_TOOLCHAIN"), var("CARGO"), var("RUSTUP_TOOLCHAIN_SOURCE"))
        else {
            return false;
        };
        let env = self.env.clone().without("RUSTUP_TOOLCHAIN");
        let active = etcd_local::first_line("rustup", &["show", "active-toolchain"], env.cwd(), &env, TIMEOUT);
        active.is_some_and(|active| active.split(' ').next() == Some(toolchain))
    }

    /// Cargo in this workspace, of the toolchain that runs this program.
    pub(crate) fn cargo(&self) -> Command {
        self.in_workspace(Command::new("cargo"))
    }

    /// The command, run in the workspace with its toolchain and with the user's environment, which replaces the
    /// command's own.
    #[must_use]
    pub fn in_workspace(&self, command: impl Into<Command>) -> Command {
        let mut command = command.into();
        command.env_clear().envs(self.env.vars()).envs(self.env.toolchain()).current_dir(&self.workspace);
        command
    }

    /// The instance that the arguments name.
    pub(crate) fn instance(&self, which: &Which) -> Result<Instance> {
        Ok(self.builder()?.instance(&which.instance)?)
    }

    /// The cluster that ETCD_ENDPOINTS names, for commands that speak etcd's API.
    pub(crate) fn cluster_of_environment(&self) -> Option<Vec<String>> {
        let urls = self.env.var("ETCD_ENDPOINTS").filter(|urls| !urls.is_empty())?;
        Some(urls.split(',').map(|url| url.trim().to_owned()).collect())
    }

    /// Which cluster flags and environment lead to.
    pub(crate) fn client_config(&self, flags: &Client, names_instance: bool) -> Result<(Leads, ClientConfig)> {
        let resolved = flags.config().and_then(|given| {
            let manifest = || ManifestSettings::clusters(&self.manifest());
            let variable = |name: &str| self.env.var(name).map(ToOwned::to_owned);
            ClientConfig::resolve(given, flags.cluster.as_deref(), names_instance, variable, manifest)
        });
        resolved.map_err(|error| {
            let next = "`cargo xtask get --help` names the flags and variables that lead to a cluster";
            Failure::with_exit(Exit::USAGE, format!("cannot tell how to connect: {error}"), next)
        })
    }

    /// The settings of the workspace's `Cargo.toml`.
    pub(crate) fn manifest_settings(&self) -> Result<ManifestSettings> {
        Ok(ManifestSettings::read(&self.manifest())?)
    }

    /// The workspace's `Cargo.toml`.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.workspace.join("Cargo.toml")
    }

    /// The workspace's directory for our files, `.etcd` by default.
    pub(crate) fn home(&self) -> PathBuf {
        etcd_local::home(&self.workspace, &self.env)
    }

    /// The same directory, created if it does not exist.
    pub(crate) fn create_home(&self) -> Result<PathBuf> {
        Ok(etcd_local::create_home(&self.workspace, &self.env)?)
    }

    /// The directory for locks of runs and the log of a failed run: `.etcd`, or a temporary directory if `.etcd` is not
    /// writable. These files are not needed for long.
    pub(crate) fn home_of_runs(&self) -> Result<PathBuf> {
        let own = self.create_home();
        match own.and_then(|home| Ok(etcd_local::check_writable(&home).map(|()| home)?)) {
            Ok(home) => Ok(home),
            Err(error) => etcd_local::create_temporary_home(&self.env).map_err(|_| error),
        }
    }

    /// A path to show: relative to the current directory if it is inside.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(self.env.cwd()).unwrap_or(path).display()
    }
}

/// The nearest directory upwards whose Cargo.toml is a workspace's. `cargo run` says where this package is,
/// which is right also from outside the workspace (`cargo --manifest-path`).
fn find_workspace(env: &Env) -> Result<PathBuf> {
    let start = env.path_var("CARGO_MANIFEST_DIR").unwrap_or_else(|| env.cwd().to_owned());
    for dir in start.ancestors() {
        let manifest = dir.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text =
            std::fs::read_to_string(&manifest).with_context(|| format!("cannot read `{}`", manifest.display()))?;
        if text.lines().any(|line| line.trim_start().starts_with("[workspace")) {
            return Ok(dir.to_owned());
        }
    }
    let what = format!("no workspace's `Cargo.toml` in `{}` or above", start.display());
    Err(Failure::with_exit(Exit::USAGE, what, "run it in the workspace: `cargo xtask` anywhere below its Cargo.toml"))
}
