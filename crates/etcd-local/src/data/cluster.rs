//! How we know our cluster and its members from all others before they answer. etcd has followed these rules since 2.0
//! (`computeMemberID` and `genID` in its `membership` package): SHA-1 over a member's URLs and the token gives the
//! member's id, SHA-1 over the ids in their order gives the cluster's; of each the first 8 bytes.

use etcd_workspace::ClusterId;
use sha1_smol::Sha1;

/// The id of the member that this peer URL and token make.
pub(crate) fn member_id(peer_url: &str, token: &str) -> u64 {
    first_bytes(&[peer_url.as_bytes(), token.as_bytes()])
}

/// The id of the cluster that members with these peer URLs and this token make.
pub(super) fn cluster_id(peer_urls: &[String], token: &str) -> ClusterId {
    let mut members: Vec<u64> = peer_urls.iter().map(|url| member_id(url, token)).collect();
    members.sort_unstable();
    let bytes: Vec<u8> = members.into_iter().flat_map(u64::to_be_bytes).collect();
    ClusterId(first_bytes(&[&bytes]))
}

fn first_bytes(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = hash.digest().bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen from etcd 3.7.2 with this URL and token.
    #[test]
    fn the_id_is_the_one_that_etcd_computes() {
        let id = cluster_id(&["http://127.0.0.1:42380".to_owned()], "tok");
        assert_eq!(id.to_string(), "4b24f683ac4289a1");
        assert_eq!("4b24f683ac4289a1".parse(), Ok(id));
    }
}
