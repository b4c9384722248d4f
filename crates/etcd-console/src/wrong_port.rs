//! Detects a wrong port when no etcd answers: port 80 by default, or the port for other members.

use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Limits for the answer: time, and size in bytes.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 1 << 16;

/// A member, as the port for other members describes it.
#[derive(Deserialize)]
struct Member {
    #[serde(rename = "clientURLs", default)]
    clients: Vec<String>,
}

/// The next step, if an endpoint is not a port for clients.
pub(crate) async fn hint(endpoints: &[String]) -> Option<String> {
    for endpoint in endpoints {
        let (scheme, address) = endpoint.split_once("://").unwrap_or(("http", endpoint));
        if scheme != "http" {
            continue;
        }
        let address = address.trim_end_matches('/');
        if !has_port(address) {
            return Some(format!("`{endpoint}` without a port means port 80; etcd's default is {endpoint}:2379"));
        }
        if let Ok(Some(clients)) = tokio::time::timeout(TIMEOUT, clients(address)).await {
            return Some(format!("`{endpoint}` is the port for other members; clients use {}", clients.join(",")));
        }
    }
    None
}

fn has_port(address: &str) -> bool {
    // The colons inside of `[::1]` do not count.
    address.rsplit_once(']').map_or(address, |(_, rest)| rest).contains(':')
}

/// The client URLs that the port for other members reports; `None` if this is not such a port.
async fn clients(address: &str) -> Option<Vec<String>> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /members HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // The server may keep the connection open.
    let members = loop {
        if let Some(members) = members(&answer) {
            break members;
        }
        if answer.len() > MAX_BYTES || stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    };
    let clients: Vec<String> = members.into_iter().flat_map(|member| member.clients).collect();
    // The URLs are printed, so they must be plain text.
    let is_plain = |url: &String| url.starts_with("http") && url.chars().all(|c| c.is_ascii_graphic());
    (!clients.is_empty() && clients.iter().all(is_plain)).then_some(clients)
}

/// The members in an answer, once it is complete.
fn members(answer: &[u8]) -> Option<Vec<Member>> {
    let (_, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    serde_json::from_str(body.get(body.find('[')?..=body.rfind(']')?)?).ok()
}
