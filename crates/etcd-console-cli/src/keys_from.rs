//! What `diff` compares, as it is typed.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// A revision of the command's cluster; 0 is the newest.
    Revision(i64),
    /// The newest keys of the cluster at these URLs.
    Endpoints(Vec<String>),
    /// The newest keys of a cluster that Cargo.toml names.
    Cluster(String),
    /// The newest keys of one of the workspace's instances.
    Instance(String),
    /// A snapshot file.
    Snapshot(PathBuf),
}

impl FromStr for KeysFrom {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let number = if text.starts_with(['+', '-']) { None } else { text.parse().ok() };
        let name = |kind| text.strip_prefix(kind).map(str::to_owned);
        Ok(if let Some(revision) = number {
            Self::Revision(revision)
        } else if text.contains("://") {
            Self::Endpoints(text.split(',').map(str::to_owned).collect())
        } else if let Some(cluster) = name("cluster:") {
            Self::Cluster(cluster)
        } else if let Some(instance) = name("instance:") {
            Self::Instance(instance)
        } else {
            Self::Snapshot(text.into())
        })
    }
}

impl fmt::Display for KeysFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(revision) => write!(f, "{revision}"),
            Self::Endpoints(urls) => f.write_str(&urls.join(",")),
            Self::Cluster(name) => write!(f, "cluster:{name}"),
            Self::Instance(name) => write!(f, "instance:{name}"),
            Self::Snapshot(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_what_is_typed() {
        let urls = ["https://a:1".to_owned(), "http://b:2".to_owned()];
        for (text, is) in [
            ("0", KeysFrom::Revision(0)),
            ("17", KeysFrom::Revision(17)),
            ("https://a:1,http://b:2", KeysFrom::Endpoints(urls.to_vec())),
            ("cluster:ci", KeysFrom::Cluster("ci".to_owned())),
            ("instance:other", KeysFrom::Instance("other".to_owned())),
            ("backup.db", KeysFrom::Snapshot("backup.db".into())),
            ("C:\\backup.db", KeysFrom::Snapshot("C:\\backup.db".into())),
            ("-1", KeysFrom::Snapshot("-1".into())),
        ] {
            assert_eq!(is.to_string(), text);
            assert_eq!(text.parse(), Ok(is), "{text}");
        }
    }
}
