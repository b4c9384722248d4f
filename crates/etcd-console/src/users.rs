//! `users`: creates the users of a local etcd, and switches authentication on, for `etcd-up --auth`. Done again it changes
//! nothing, so that what was interrupted is finished by the next call. Passwords are in files, and nowhere else.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use etcd_client::{Permission, PermissionType};
use etcd_keys::{Connection, Error, ErrorKind};
use etcd_workspace::{ClientConfig, ManifestUser, Password};
use tempfile::NamedTempFile;

use crate::cli::Users;
use crate::context::Context;
use crate::failure::{Exit, Failure};

pub(crate) async fn run(args: &Users, cx: &Context) -> Result<ExitCode> {
    let users = cx.manifest()?.users;
    etcd_certificates::create_private_dir(&args.passwords)
        .with_context(|| format!("cannot create `{}`", args.passwords.display()))?;
    let password = |name: &str| password(&args.passwords.join(name));
    let root = password(ClientConfig::ROOT)?;
    let anonymous = ClientConfig { user: None, password: None, ..cx.instance_config()? };
    let as_root =
        ClientConfig { user: Some(ClientConfig::ROOT.to_owned()), password: Some(root.clone()), ..anonymous.clone() };
    let (connection, is_on) = match cx.connect_with(&as_root).await {
        Ok(connection) => (connection, true),
        Err(error) if is_refused(&error, "authentication is not enabled") => {
            (cx.connect_with(&anonymous).await?, false)
        }
        Err(error) if is_refused(&error, "authentication failed") => {
            let what = "authentication is on already, and root has another password than in its file".to_owned();
            let next = format!("write root's password to `{}`", args.passwords.join(ClientConfig::ROOT).display());
            return Err(Failure { exit: Exit::Failure, what, next }.into());
        }
        Err(error) => return Err(error),
    };
    if !is_on {
        create(&connection, ClientConfig::ROOT, &root).await.context("cannot create the user `root`")?;
    }
    for user in &users {
        let created = create(&connection, &user.name, &password(&user.name)?).await;
        let created = match created {
            Ok(()) => permit(&connection, user).await,
            failed => failed,
        };
        created.with_context(|| format!("cannot create the user `{}`", user.name))?;
    }
    if !is_on {
        connection.raw().auth_enable().await.context("cannot switch authentication on")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The password in this file. If there is no file, a new password: 128 random bits.
fn password(path: &Path) -> Result<Password> {
    let make = || -> io::Result<()> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        match file.persist_noclobber(path) {
            // Somebody else has just made it.
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            _ => Ok(()),
        }
    };
    if !path.exists() {
        make().with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(Password::from_file(path)?)
}

/// Creates a user with the role of the same name. One that is there gets this password.
async fn create(connection: &Connection, name: &str, password: &Password) -> Result<(), etcd_client::Error> {
    let mut client = connection.raw();
    if !is_new(client.user_add(name, password.reveal(), None).await)? {
        client.user_change_password(name, password.reveal()).await?;
    }
    is_new(client.role_add(name).await)?;
    client.user_grant_role(name, name).await.map(drop)
}

/// Lets a user's role use the keys below the user's prefixes.
async fn permit(connection: &Connection, user: &ManifestUser) -> Result<(), etcd_client::Error> {
    let mut client = connection.raw();
    let grants = [(PermissionType::Read, &user.read), (PermissionType::Readwrite, &user.write)];
    for (kind, prefixes) in grants {
        for prefix in prefixes {
            let permission = Permission::new(kind, format!("{prefix}/")).with_prefix();
            client.role_grant_permission(&user.name, permission).await?;
        }
    }
    Ok(())
}

/// `false`: it exists already.
fn is_new<T>(created: Result<T, etcd_client::Error>) -> Result<bool, etcd_client::Error> {
    match created {
        Err(etcd_client::Error::GRpcStatus(status)) if status.message().contains("already exists") => Ok(false),
        created => created.map(|_| true),
    }
}

fn is_refused(error: &anyhow::Error, words: &str) -> bool {
    let kind = error.downcast_ref::<Error>().map(|error| &error.kind);
    matches!(kind, Some(ErrorKind::Denied(said)) if said.contains(words))
}
