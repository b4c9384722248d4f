//! Why no etcd answers at an endpoint, where that can be told: another port was meant.

use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long the other end may take, and how much it may say.
const TIMEOUT: Duration = Duration::from_secs(1);
const ENOUGH: usize = 1 << 16;

/// What a member says of each, at the port for other members.
#[derive(Deserialize)]
struct Member {
    #[serde(rename = "clientURLs", default)]
    clients: Vec<String>,
}

/// The next step, if another port than one for clients is named.
pub(crate) async fn hint(endpoints: &[String]) -> Option<String> {
    for endpoint in endpoints {
        let (scheme, address) = endpoint.split_once("://").unwrap_or(("http", endpoint));
        if scheme != "http" {
            continue;
        }
        let address = address.trim_end_matches('/');
        if !has_port(address) {
            return Some(format!("`{endpoint}` has port 80; etcd has 2379 where nothing else is set: {endpoint}:2379"));
        }
        if let Ok(Some(clients)) = tokio::time::timeout(TIMEOUT, clients(address)).await {
            return Some(format!("`{endpoint}` is the port for other members; clients use {}", clients.join(",")));
        }
    }
    None
}

fn has_port(address: &str) -> bool {
    // The colons of `[::1]` are none.
    address.rsplit_once(']').map_or(address, |(_, rest)| rest).contains(':')
}

/// The endpoints for clients, by the word of the port for other members; `None`: it is none.
async fn clients(address: &str) -> Option<Vec<String>> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /members HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // It need not close the connection.
    let members = loop {
        if let Some(members) = members(&answer) {
            break members;
        }
        if answer.len() > ENOUGH || stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    };
    let clients: Vec<String> = members.into_iter().flat_map(|member| member.clients).collect();
    // They are printed.
    let is_plain = |url: &String| url.starts_with("http") && url.chars().all(|c| c.is_ascii_graphic());
    (!clients.is_empty() && clients.iter().all(is_plain)).then_some(clients)
}

/// The list in an answer, once all of it is there.
fn members(answer: &[u8]) -> Option<Vec<Member>> {
    let (_, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    serde_json::from_str(body.get(body.find('[')?..=body.rfind(']')?)?).ok()
}
