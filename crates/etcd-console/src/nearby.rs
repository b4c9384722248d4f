//! Suggests keys if a command finds none: keys below the given key, or the same key below the product's root. Only reads.

use etcd_keys::Connection;

use crate::cli::Keys;
use crate::context::Context;
use crate::keys;
use crate::output;

/// Keys that the user may have meant.
pub(crate) struct Nearby {
    what: String,
    /// The command for these keys.
    line: String,
}

/// Keys that the user may have meant, for a command that found none.
pub(crate) async fn find(command: &str, keys: &Keys, connection: &Connection, cx: &Context) -> Option<Nearby> {
    for meant in candidates(keys, cx.global.root.as_deref()) {
        let range = keys::range(&meant).ok()?;
        let found = connection.all_keys().count(range).await.ok()?;
        let what = match (found, meant.prefix) {
            (0, _) => continue,
            (_, false) => format!("the key `{}` exists", meant.key),
            (found, true) => {
                let begin = if found == 1 { "begins" } else { "begin" };
                format!("{} {begin} with `{}`", output::keys(found.cast_unsigned()), meant.key)
            }
        };
        let prefix = if meant.prefix { " --prefix" } else { "" };
        let line = format!("cargo xtask {command} {}{prefix}{}", output::argument(&meant.key), cx.flags());
        return Some(Nearby { what, line });
    }
    None
}

/// Prints a note about keys that the user may have meant.
pub(crate) async fn note(command: &str, keys: &Keys, connection: &Connection, cx: &Context) {
    if cx.global.quiet {
        return;
    }
    let none = if keys.prefix { "no key begins with" } else { "there is no key" };
    match find(command, keys, connection, cx).await {
        Some(Nearby { what, line }) => cx.note(format_args!("note: {none} `{}`; {what}: {line}", keys.key)),
        None => {
            if let Some(root) = root_with_slash(&keys.key, cx) {
                cx.note(format_args!("note: {none} `{}`; this workspace's keys begin with `{root}/`", keys.key));
            }
        }
    }
}

impl Nearby {
    /// The next step.
    pub(crate) fn hint(&self) -> String {
        format!("{}: `{}`", self.what, self.line)
    }
}

/// The product's root, if the key does not begin with a slash as the root does.
pub(crate) fn root_with_slash<'a>(key: &str, cx: &'a Context) -> Option<&'a str> {
    cx.global.root.as_deref().filter(|_| !key.starts_with('/'))
}

/// Keys that the user may have meant, the likeliest first.
fn candidates(keys: &Keys, root: Option<&str>) -> Vec<Keys> {
    let Keys { key, range_end: None, from_key: false, prefix } = keys else { return Vec::new() };
    if key.is_empty() {
        return Vec::new();
    }
    let of = |key: String, prefix| Keys { key, range_end: None, prefix, from_key: false };
    let mut names = Vec::new();
    if let Some(root) = root {
        if !key.starts_with(root) {
            names.push(format!("{root}/{}", key.trim_start_matches('/')));
        }
        if !key.starts_with('/') {
            names.push(format!("/{key}"));
        }
    }
    let below = |name: &str| of(format!("{}/", name.trim_end_matches('/')), true);
    let mut all: Vec<Keys> = if *prefix { Vec::new() } else { vec![below(key)] };
    for name in names {
        let below = below(&name);
        all.push(of(name, *prefix));
        if !prefix {
            all.push(below);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_in_order() {
        let meant = |key: &str, prefix| {
            let keys = Keys { key: key.to_owned(), range_end: None, prefix, from_key: false };
            let star = |keys: Keys| if keys.prefix { keys.key + "*" } else { keys.key };
            candidates(&keys, Some("/P/v1")).into_iter().map(star).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(meant("/P/v1/a", false), "/P/v1/a/*");
        assert_eq!(meant("/P/v1/a/", false), "/P/v1/a/*");
        assert_eq!(meant("/P/v1/a", true), "");
        assert_eq!(meant("/a", false), "/a/* /P/v1/a /P/v1/a/*");
        assert_eq!(meant("a", false), "a/* /P/v1/a /P/v1/a/* /a /a/*");
        assert_eq!(meant("P/v1/a", true), "/P/v1/P/v1/a* /P/v1/a*");
        assert_eq!(meant("", true), "");
    }
}
