//! Cluster ids: how etcd names a cluster, and how we know ours from every other one before it answers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha1_smol::Sha1;

/// A cluster's id: 64 bits, written as 16 hexadecimal digits, as etcd does in its log and in the
/// `X-Etcd-Cluster-Id` header. (etcdctl's JSON writes the same number in decimal.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// The id of the one-member cluster that this peer URL and token found, by the rule that etcd has
    /// followed since 2.0 (`computeMemberID` and `genID` in its `membership` package): SHA-1 over the URLs
    /// and the token gives the member, SHA-1 over the members gives the cluster; of each the first 8 bytes.
    #[must_use]
    pub(crate) fn of_single_member(peer_url: &str, token: &str) -> Self {
        let member = first_bytes(&[peer_url.as_bytes(), token.as_bytes()]);
        Self(u64::from_be_bytes(first_bytes(&[&member])))
    }
}

fn first_bytes(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = hash.digest().bytes();
    [a, b, c, d, e, f, g, h]
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for ClusterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen from etcd 3.7.2 with this URL and token.
    #[test]
    fn the_id_is_the_one_that_etcd_computes() {
        let id = ClusterId::of_single_member("http://127.0.0.1:42380", "tok");
        assert_eq!(id.to_string(), "4b24f683ac4289a1");
        assert_eq!("4b24f683ac4289a1".parse(), Ok(id));
    }
}
