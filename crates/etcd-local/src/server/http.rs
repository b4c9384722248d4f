//! Plain HTTP to a local server: one request, one answer of bounded size, within a bounded time.

use std::io::Read;

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) is_success: bool,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Asks within so many seconds; minreq counts in whole ones. The error names the URL.
pub(crate) fn get(url: &str, seconds: u64) -> Result<Answer, String> {
    send(url, minreq::get(url), seconds)
}

/// The same, with a body.
pub(crate) fn post(url: &str, body: &str, seconds: u64) -> Result<Answer, String> {
    send(url, minreq::post(url).with_body(body), seconds)
}

fn send(url: &str, request: minreq::Request, seconds: u64) -> Result<Answer, String> {
    // Whoever answers need not be etcd: nothing of theirs may fill our memory.
    const LARGEST: u16 = 16 * 1024;
    let request = request.with_timeout(seconds).with_max_headers_size(usize::from(LARGEST));
    let response = request.with_max_status_line_length(1024).with_follow_redirects(false).send_lazy();
    let mut response = response.map_err(|error| format!("{url}: {error}"))?;
    let (headers, is_success) = (std::mem::take(&mut response.headers), response.status_code == 200);
    let mut body = Vec::new();
    response.take(LARGEST.into()).read_to_end(&mut body).map_err(|error| format!("{url}: {error}"))?;
    Ok(Answer { is_success, headers, body })
}
