//! `certificates`: makes the certificates of a local etcd, for `etcd-up --tls`, which cannot: xtask has no cryptography.

use std::process::ExitCode;

use anyhow::Result;
use etcd_workspace::TlsFiles;

use crate::cli::Certificates;

pub(crate) fn run(args: &Certificates) -> Result<ExitCode> {
    etcd_certificates::ensure(&TlsFiles::in_dir(&args.dir), args.host)?;
    Ok(ExitCode::SUCCESS)
}
