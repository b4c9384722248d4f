//! Asking a binary for its version. Runs it with `--version` and nothing else, briefly.

use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use crate::command::{CommandError, Helper};
use crate::env::Env;

/// Long enough for a machine under full load; an etcd that works answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The first line of `etcd --version`, in every version: server/etcdmain/config.go.
const PREFIX: &str = "etcd Version: ";

/// Why a file's version is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// There is no such file.
    #[error("there is no file `{}`", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is there but does not run: not executable, for another machine, too slow, or it reports a failure.
    #[error("`{}` does not report its version", path.display())]
    Command {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: CommandError,
    },
    /// It ran and said nothing.
    #[error("`{} --version` printed nothing", path.display())]
    Silent {
        /// The file.
        path: PathBuf,
    },
    /// It ran and said something else: it is no etcd.
    #[error("`{} --version` printed `{output}`, not `{PREFIX}…`", path.display())]
    NotEtcd {
        /// The file.
        path: PathBuf,
        /// The beginning of what it printed.
        output: String,
    },
}

/// The version of the etcd at `path`, as it tells itself.
///
/// # Errors
/// If there is no such file, it does not run, does not answer within 5 s, or does not answer like an etcd.
pub fn version_of(path: &Path, env: &Env) -> Result<Version, VersionError> {
    ask(path, env, TIMEOUT)
}

fn ask(path: &Path, env: &Env, timeout: Duration) -> Result<Version, VersionError> {
    if !path.exists() {
        return Err(VersionError::Missing { path: path.to_owned() });
    }
    // What configures a server must not make it refuse to tell its version.
    let helper = Helper::at(path, &env.for_etcd(None)).args(["--version"]);
    let output = helper.run(timeout).map_err(|source| VersionError::Command { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim().is_empty() {
        return Err(VersionError::Silent { path: path.to_owned() });
    }
    parse(&text).ok_or_else(|| {
        let first = text.trim().lines().next().unwrap_or_default();
        let output = first.chars().filter(|c| !c.is_control()).take(80).collect();
        VersionError::NotEtcd { path: path.to_owned(), output }
    })
}

fn parse(text: &str) -> Option<Version> {
    let line = text.lines().find_map(|line| line.strip_prefix(PREFIX))?;
    Version::parse(line.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_on_the_first_line_that_says_so() {
        let text = "etcd Version: 3.7.2\nGit SHA: 0f4c1bd\nGo Version: go1.24.9\nGo OS/Arch: linux/amd64\n";
        assert_eq!(parse(text), Some(Version::new(3, 7, 2)));
        assert_eq!(parse("etcd Version: 3.6.0-rc.1\r\n").unwrap().pre.as_str(), "rc.1");
        assert_eq!(parse("warning: something\netcd Version: 3.4.23\n"), Some(Version::new(3, 4, 23)));
        for text in ["etcd Version: three", "etcdctl version: 3.7.2", "3.7.2", "etcd Version: "] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[cfg(unix)]
    mod scripts {
        use super::*;
        use crate::fakes::script;

        fn version_of_script(body: &str) -> Result<Version, VersionError> {
            told_within(Duration::from_secs(60), body)
        }

        fn told_within(timeout: Duration, body: &str) -> Result<Version, VersionError> {
            let dir = tempfile::tempdir().unwrap();
            let env = Env::empty(dir.path()).with("PATH", "/usr/bin:/bin").with("ETCD_NAME", "from the environment");
            ask(&script(dir.path(), "etcd", body), &env, timeout)
        }

        #[test]
        fn an_etcd_is_understood_and_sees_no_configuration() {
            let body = r#"[ "$*" = --version ] && [ -z "$ETCD_NAME" ] && echo "etcd Version: 3.5.1""#;
            assert_eq!(version_of_script(body).unwrap(), Version::new(3, 5, 1));
        }

        #[test]
        fn everything_else_has_an_error_of_its_own() {
            assert!(matches!(version_of_script("exit 0"), Err(VersionError::Silent { .. })));
            let error = version_of_script("printf 'Python 3.12\\nmore\\n'").unwrap_err();
            assert!(matches!(&error, VersionError::NotEtcd { output, .. } if output == "Python 3.12"), "{error}");
            let failed = version_of_script("echo 'no such flag' >&2; exit 3").unwrap_err();
            let VersionError::Command { source: CommandError::Failed { stderr, status, .. }, .. } = failed else {
                panic!("{failed}")
            };
            assert_eq!((stderr.as_str(), status.code()), ("no such flag", Some(3)));
            let slow = told_within(Duration::from_millis(300), "sleep 60").unwrap_err();
            assert!(matches!(slow, VersionError::Command { source: CommandError::TimedOut { .. }, .. }), "{slow}");
        }

        #[test]
        fn a_file_that_cannot_run_is_told_from_one_that_is_not_there() {
            let dir = tempfile::tempdir().unwrap();
            let (env, path) = (Env::empty(dir.path()), dir.path().join("etcd"));
            assert!(matches!(version_of(&path, &env), Err(VersionError::Missing { .. })));
            std::fs::write(&path, "no program").unwrap();
            let error = version_of(&path, &env).unwrap_err();
            assert!(matches!(error, VersionError::Command { source: CommandError::Start { .. }, .. }), "{error}");
            let directory = version_of(dir.path(), &env).unwrap_err();
            assert!(
                matches!(directory, VersionError::Command { source: CommandError::Start { .. }, .. }),
                "{directory}"
            );
        }
    }
}
