//! The first election of a cluster, asked for at once instead of waited for. Without it a start would take as long as etcd's
//! election timeout, and a short timeout would make an idle server tick all the time.
//!
//! What is sent is etcd's own message for handing over leadership (`MsgTimeoutNow` of raft), to the peer port, as a member
//! sends it to another (`POST /raft` of etcd's `rafthttp`). etcd 3.4 to 3.7 take it. A server that does not take it elects
//! itself when its timeout has passed; a leader ignores the message.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use etcd_workspace::ClusterId;
use serde::Deserialize;

use super::http;
use crate::wait::{Deadline, until};

/// How long a member with existing data replays its log undisturbed: as long as it does with etcd's default flags. An
/// election in the middle of it ends etcd 3.7, once in 60 starts: "requested index is unavailable due to compaction".
const REPLAY: Duration = Duration::from_millis(100);
/// Seconds that an answer may take.
const TIMEOUT: u64 = 1;
/// `raftpb.MessageType`.
const MSG_TIMEOUT_NOW: u64 = 14;

#[derive(Deserialize)]
struct Member {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
}

/// What a member starts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    New,
    Existing,
}

/// Asks the member at `peer_url` to hold its election as soon as it can, if it is the only one of this cluster.
pub(crate) fn request(
    peer_url: &str,
    cluster: ClusterId,
    data: Data,
    deadline: Deadline,
    is_wanted: impl Fn() -> bool,
) {
    let unless_wanted = || Ok::<_, Infallible>((!is_wanted()).then_some(()));
    let member = until(deadline, || match only_member(peer_url, cluster) {
        Ok(member) => Ok(Some(Some(member))),
        Err(_) => unless_wanted().map(|is_over| is_over.map(|()| None)),
    });
    let Ok(Some(Some(member))) = member else { return };
    if data == Data::Existing {
        let _ = until(Deadline::after(REPLAY), unless_wanted);
        let _ = send(peer_url, cluster, &message(member));
        return;
    }
    // The first request may come before the member knows that it is one, and is refused then.
    let _ = until(deadline, || {
        let _ = send(peer_url, cluster, &message(member));
        unless_wanted()
    });
}

/// Asks this member, one of several, to stand for election, again and again: requests that come before it has peers are
/// lost, and a candidate and a leader ignore them. A follower would take the leadership away from another.
pub(crate) fn request_of(
    peer_url: &str,
    cluster: ClusterId,
    member: u64,
    deadline: Deadline,
    is_wanted: impl Fn() -> bool,
) {
    let _ = until(deadline, || {
        let is_wanted = is_wanted();
        if is_wanted {
            let _ = send(peer_url, cluster, &message(member));
        }
        Ok::<_, Infallible>((!is_wanted).then_some(()))
    });
}

/// Asks the member at `peer_url`, one of several, to take the leadership.
pub(crate) fn request_handover(peer_url: &str, cluster: ClusterId, deadline: Deadline, is_wanted: impl Fn() -> bool) {
    let Ok(members) = members(peer_url, cluster) else { return };
    if let Some(member) = members.iter().find(|member| member.peer_urls.iter().any(|url| url == peer_url)) {
        request_of(peer_url, cluster, member.id, deadline, is_wanted);
    }
}

fn only_member(peer_url: &str, cluster: ClusterId) -> Result<u64, String> {
    match members(peer_url, cluster)?.as_slice() {
        [member] => Ok(member.id),
        members => Err(format!("{} members", members.len())),
    }
}

fn members(peer_url: &str, cluster: ClusterId) -> Result<Vec<Member>, String> {
    let members = http::get(&format!("{peer_url}/members"), TIMEOUT)?;
    if members.header("x-etcd-cluster-id").is_none_or(|id| id.parse() != Ok(cluster)) {
        return Err("another cluster".to_owned());
    }
    serde_json::from_slice(&members.body).map_err(|error| error.to_string())
}

/// Sends one request. Its answer has no content, so it is not waited for long.
fn send(peer_url: &str, cluster: ClusterId, message: &[u8]) -> io::Result<()> {
    const ANSWER: Duration = Duration::from_millis(20);
    let host = peer_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect_timeout(&host.parse().map_err(io::Error::other)?, ANSWER)?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.set_read_timeout(Some(ANSWER))?;
    let head = head(host, cluster, message.len());
    stream.write_all(&[head.as_bytes(), message].concat())?;
    stream.read(&mut [0; 64]).map(drop)
}

/// Every etcd since 3.0 talks to a member of version 3.4. It compares the cluster id as text, without leading zeros.
fn head(host: &str, cluster: ClusterId, length: usize) -> String {
    format!(
        "POST /raft HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         X-Etcd-Cluster-ID: {:x}\r\nX-Server-Version: 3.4.0\r\nX-Min-Cluster-Version: 3.0.0\r\n\r\n",
        cluster.0
    )
}

/// A `raftpb.Message` with the fields 1, its type, 2, the receiver, and 3, the sender: the same member.
fn message(member: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in [(1_u8, MSG_TIMEOUT_NOW), (2, member), (3, member)] {
        bytes.push(field << 3);
        varint(value, &mut bytes);
    }
    bytes
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_has_no_leading_zeros_as_etcd_compares_it_as_text() {
        let head = head("127.0.0.1:2380", ClusterId(0x0abd_61f4_c006_b9f3), 0);
        assert!(head.contains("X-Etcd-Cluster-ID: abd61f4c006b9f3\r\n"), "{head}");
    }
}
