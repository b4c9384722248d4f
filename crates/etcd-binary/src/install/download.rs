//! One file over HTTP, by `curl`: it knows the user's proxies, certificates and .netrc, and keeps a TLS stack out of
//! everybody's build. Bytes are summed up as they are written; what they are is for the caller to check.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::Sha256;
use crate::command::{CommandError, Helper, without_credentials};
use crate::env::Env;
use crate::reporter::{Event, Reporter};
use crate::sha256::Hasher;

/// Four times the largest release archive there is.
const LARGEST: u64 = 200 << 20;

/// How long a download may take. Fields, so that tests can be quick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(super) connect: Duration,
    /// How long it may be all but idle: below 1 KiB a second.
    pub(super) stall: Duration,
    pub(super) overall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(20), overall: Duration::from_secs(15 * 60) }
    }
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// There is no curl.
    #[error("`curl`, which is needed to download `{url}`, is not on PATH")]
    NoCurl {
        /// What was to be downloaded.
        url: String,
    },
    /// The server answered with an error.
    #[error("{}", refused(url, *status))]
    Refused {
        /// What was asked for.
        url: String,
        /// The status of its answer; `None`: it was no HTTP server, and has no such file.
        status: Option<u16>,
        /// What curl said.
        source: CommandError,
    },
    /// The server could not be reached.
    #[error("the server of `{url}` cannot be reached{}", said(source))]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What curl said.
        source: CommandError,
    },
    /// Nothing, or next to nothing, came for too long.
    #[error("the download of `{url}` stalled{}", said(source))]
    Stalled {
        /// What was asked for.
        url: String,
        /// What curl said.
        source: CommandError,
    },
    /// More came than any release archive has.
    #[error("`{url}` is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The largest size that is taken.
        limit: u64,
    },
    /// It broke off, or failed in some other way.
    #[error("the download of `{url}` failed{}", said(source))]
    Failed {
        /// What was asked for.
        url: String,
        /// What curl said.
        source: CommandError,
    },
}

fn refused(url: &str, status: Option<u16>) -> String {
    match status {
        None => format!("there is no `{url}`"),
        Some(status @ (404 | 410)) => format!("the server has no `{url}` (HTTP {status})"),
        Some(407) => format!("the proxy wants to know who asks for `{url}` (HTTP 407)"),
        Some(status @ (401 | 403)) => format!("the server does not let this user have `{url}` (HTTP {status})"),
        Some(429) => format!("the server of `{url}` has been asked too often (HTTP 429)"),
        Some(status @ 500..) => format!("the server of `{url}` has failed (HTTP {status})"),
        Some(status) => format!("the server answered HTTP {status} for `{url}`"),
    }
}

/// What curl said, without the command line, which is long.
fn said(error: &CommandError) -> String {
    match error {
        CommandError::Failed { stderr, .. } if !stderr.is_empty() => format!(": {stderr}"),
        _ => String::new(),
    }
}

/// A download to be made.
pub(super) struct Download<'a> {
    pub(super) url: &'a str,
    pub(super) to: &'a Path,
    pub(super) env: &'a Env,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) timeouts: Timeouts,
}

/// What arrived.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) sha256: Sha256,
    /// A captive portal or an error page in place of the file.
    pub(super) web_page: bool,
}

impl Download<'_> {
    pub(super) fn run(&self) -> Result<Received, DownloadError> {
        let headers = self.to.with_extension("headers");
        let curl = self.curl(&headers)?;
        let mut file = File::create_new(self.to).map_err(|source| self.unwritten(&curl, source))?;
        let (mut hasher, mut received, mut total, mut first) = (Hasher::new(), 0_u64, None, None);
        let streamed = curl.stream(self.timeouts.overall, LARGEST, &mut |bytes| {
            file.write_all(bytes)?;
            hasher.update(bytes);
            first = first.or_else(|| bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace()));
            total = total.or_else(|| content_length(&headers));
            received = received.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            self.reporter.report(&Event::Downloading { received, total });
            Ok(())
        });
        streamed.map_err(|error| self.explain(error, http_status(&headers)))?;
        Ok(Received { sha256: hasher.finish(), web_page: first == Some(b'<') })
    }

    fn curl(&self, headers: &Path) -> Result<Helper, DownloadError> {
        let curl = Helper::on_path("curl", self.env).map_err(|_| DownloadError::NoCurl { url: self.shown() })?;
        Ok(curl
            .args(["--fail", "--location", "--silent", "--show-error", "--globoff", "--netrc-optional"])
            .args(["--proto", "=http,https,file", "--proto-redir", "=http,https"])
            .args(["--connect-timeout", &seconds(self.timeouts.connect)])
            .args(["--speed-limit", "1024", "--speed-time", &seconds(self.timeouts.stall)])
            .args(["--max-filesize", &LARGEST.to_string()])
            .args([Path::new("--dump-header"), headers])
            // It may have a password, and everybody sees arguments.
            .args(["--config", "-"])
            .input(format!("url = \"{}\"\n", self.url.replace('\\', "\\\\").replace('"', "\\\""))))
    }

    /// curl's exit statuses are documented in curl(1) and never change their meaning.
    fn explain(&self, error: CommandError, answered: Option<u16>) -> DownloadError {
        let status = match &error {
            CommandError::Failed { status, .. } => status.code(),
            CommandError::TooMuchOutput { .. } => Some(63),
            CommandError::TimedOut { .. } => Some(28),
            _ => None,
        };
        let (url, source) = (self.shown(), error);
        match status {
            Some(5..=7) => DownloadError::Unreachable { url, source },
            // 56: the proxy answered with an error.
            Some(22 | 37 | 56) if status != Some(56) || answered.is_some_and(|status| status >= 400) => {
                DownloadError::Refused { url, status: answered, source }
            }
            Some(28) => DownloadError::Stalled { url, source },
            Some(63) => DownloadError::TooLarge { url, limit: LARGEST },
            _ => DownloadError::Failed { url, source },
        }
    }

    fn unwritten(&self, curl: &Helper, source: io::Error) -> DownloadError {
        DownloadError::Failed { url: self.shown(), source: CommandError::Output { command: curl.line(), source } }
    }

    fn shown(&self) -> String {
        without_credentials(self.url)
    }
}

/// curl takes whole seconds in every version.
fn seconds(duration: Duration) -> String {
    duration.as_secs().max(1).to_string()
}

/// Of the last answer of a chain of redirects.
fn http_status(headers: &Path) -> Option<u16> {
    let text = std::fs::read(headers).ok()?;
    let text = String::from_utf8_lossy(&text);
    let answers = text.lines().filter(|line| line.starts_with("HTTP/"));
    answers.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).next_back()
}

/// From the last answer of a chain of redirects.
fn content_length(headers: &Path) -> Option<u64> {
    let text = std::fs::read(headers).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut lengths = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    lengths.next_back()
}

#[cfg(test)]
mod tests;
