//! The etcd project's release archives as a source, or a mirror of them. An archive is checked against its sum before a
//! byte of it is parsed.

use super::archive;
use super::download::Download;
use super::source::{Delivered, Job, SourceError};
use crate::reporter::Event;

/// Where the etcd project publishes.
const UPSTREAM: &str = "https://github.com/etcd-io/etcd/releases/download";

pub(super) fn fetch(job: &Job<'_>) -> Result<Delivered, SourceError> {
    if job.binaries.offline {
        return Err(SourceError::Offline);
    }
    let (version, platform) = (&job.attempt.version, job.platform);
    let top = format!("etcd-v{version}-{}", platform.name(job.tool));
    let file = format!("{top}.{}", platform.archive_extension());
    let path = job.work().join(&file);
    let url = format!("{}/v{version}/{file}", mirror(job)?);
    let download = Download {
        url: &url,
        to: &path,
        env: &job.binaries.env,
        reporter: job.binaries.reporter.as_ref(),
        timeouts: job.binaries.download_timeouts,
    };
    let received = download.run()?;
    job.report(&Event::Downloaded);
    job.vouched(&file, received.sha256).map_err(|error| match error {
        SourceError::Mismatch { what, expected, found, .. } => {
            SourceError::Mismatch { what, expected, found, web_page: received.web_page }
        }
        other => other,
    })?;
    let programs = [platform.program("etcd"), platform.program("etcdctl")];
    let sums = archive::extract(&path, &top, &programs, &job.tree())?;
    Ok(Delivered { sums, archive_sha256: Some(received.sha256) })
}

fn mirror<'a>(job: &'a Job<'_>) -> Result<&'a str, SourceError> {
    let set = job.binaries.mirror.as_deref().or_else(|| job.binaries.env.var("ETCD_RELEASE_MIRROR"));
    let mirror = set.unwrap_or(UPSTREAM).trim().trim_end_matches('/');
    if ["https://", "http://", "file://"].iter().any(|scheme| mirror.starts_with(scheme)) {
        return Ok(mirror);
    }
    // Without a scheme it may have a password all the same.
    let shown = mirror.rsplit_once('@').map_or(mirror.to_owned(), |(_, place)| format!("…@{place}"));
    Err(SourceError::NotAMirror { mirror: shown })
}
