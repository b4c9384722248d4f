//! What can be wrong with a configuration file.

use std::io;
use std::path::PathBuf;

/// A configuration file that cannot be used. The first thing that is wrong with it, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is there, and cannot be read.
    #[error("cannot read the configuration file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no YAML.
    #[error("`{}`, line {line}: this is not YAML: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        why: String,
    },
    /// A key is unknown, or its value is not what it should be.
    #[error("`{}`, line {line}: `{key}` {why}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key with those that it stands in, like `store.etcdService.port`.
        key: String,
        /// What is wrong, in words that follow the key.
        why: String,
    },
}
