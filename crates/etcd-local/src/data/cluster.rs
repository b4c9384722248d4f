//! How we know our cluster from every other one before it answers.

use etcd_workspace::ClusterId;
use sha1_smol::Sha1;

/// The id of the one-member cluster that this peer URL and token found, by the rule that etcd has
/// followed since 2.0 (`computeMemberID` and `genID` in its `membership` package): SHA-1 over the URLs
/// and the token gives the member, SHA-1 over the members gives the cluster; of each the first 8 bytes.
pub(crate) fn of_single_member(peer_url: &str, token: &str) -> ClusterId {
    let member = first_bytes(&[peer_url.as_bytes(), token.as_bytes()]);
    ClusterId(u64::from_be_bytes(first_bytes(&[&member])))
}

fn first_bytes(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = hash.digest().bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen from etcd 3.7.2 with this URL and token.
    #[test]
    fn the_id_is_the_one_that_etcd_computes() {
        let id = of_single_member("http://127.0.0.1:42380", "tok");
        assert_eq!(id.to_string(), "4b24f683ac4289a1");
        assert_eq!("4b24f683ac4289a1".parse(), Ok(id));
    }
}
