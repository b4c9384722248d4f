//! `certificates`: makes the certificates of a local etcd, for `etcd-up --tls`, and `certificate-days`: reads one, for
//! `doctor`. They cannot do it themselves: xtask has no cryptography.

use std::process::ExitCode;

use anyhow::Result;
use etcd_workspace::TlsFiles;

use crate::cli::{CertificateDays, Certificates};
use crate::output;

pub(crate) fn run(args: &Certificates) -> Result<ExitCode> {
    etcd_certificates::ensure(&TlsFiles::in_dir(&args.dir), args.host)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints nothing for a file without a certificate.
pub(crate) fn days(args: &CertificateDays) -> Result<ExitCode> {
    if let Some(days) = etcd_certificates::days_left(&args.file) {
        output::text(&format!("{days}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
