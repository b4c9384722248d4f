//! Adding a line to a TOML file that somebody else wrote. Changes nothing that the file has, and knows no file by name.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Whether a TOML text has a value at a path of keys.
pub(super) fn has(text: &str, path: &[&str]) -> bool {
    DeTable::parse(text).is_ok_and(|document| find(document.get_ref(), path).is_some())
}

fn find<'a, 't>(document: &'a DeTable<'t>, path: &[&str]) -> Option<&'a Spanned<DeValue<'t>>> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(document.get(*first)?, |value, key| value.get_ref().as_table()?.get(*key))
}

/// The text with a line that gives `key` a value in `table`, which is created if need be. If the key has a value, the text
/// stays the same. `None`: the line cannot be added without changing other lines.
pub(super) fn with_line(text: &str, table: &str, key: &str, line: &str) -> Option<String> {
    let path: Vec<&str> = table.split('.').chain([key]).collect();
    if has(text, &path) {
        return Some(text.to_owned());
    }
    let mut new = ended(text);
    let header = format!("[{table}]");
    let mut end_of_line = 0;
    let below_header = new.split_inclusive('\n').find_map(|line| {
        end_of_line += line.len();
        (line.trim() == header).then_some(end_of_line)
    });
    match below_header {
        Some(at) => new.insert_str(at, &format!("{line}\n")),
        None => new.push_str(&format!("\n{header}\n{line}\n")),
    }
    has(&new, &path).then_some(new)
}

/// The text with lines of tables that it does not have yet, after a blank line.
pub(super) fn with_tables(text: &str, tables: &str) -> Option<String> {
    let new = format!("{}\n{tables}", ended(text));
    DeTable::parse(&new).is_ok().then_some(new)
}

/// The text with a newline at its end.
fn ended(text: &str) -> String {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{newline}")
}

/// The manifest of a workspace with one more member.
pub(super) fn with_member(text: &str, member: &str) -> Option<String> {
    let list = {
        let document = DeTable::parse(text).ok()?;
        let Some(members) = find(document.get_ref(), &["workspace", "members"]) else {
            return with_line(text, "workspace", "members", &format!("members = [\"{member}\"]"));
        };
        let members_list = members.get_ref().as_array()?;
        if members_list.iter().any(|known| [Some(member), Some("*")].contains(&known.get_ref().as_str())) {
            return Some(text.to_owned());
        }
        (members.span().start, members_list.iter().last().map(Spanned::span))
    };
    let mut new = text.to_owned();
    match list {
        (start, None) => new.insert_str(start + 1, &format!("\"{member}\"")),
        (_, Some(last)) => {
            let line_start = text.get(..last.start)?.rfind('\n').map_or(0, |newline| newline + 1);
            let indent = text.get(line_start..last.start)?;
            // One member a line, or all in one line.
            let separator = if indent.trim().is_empty() { format!(",\n{indent}") } else { ", ".to_owned() };
            new.insert_str(last.end, &format!("{separator}\"{member}\""));
        }
    }
    DeTable::parse(&new).is_ok().then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_added_as_the_others_are_written() {
        for (text, expected) in [
            ("[workspace]\nmembers = [\"a\"]\n", "[workspace]\nmembers = [\"a\", \"xtask\"]\n"),
            ("[workspace]\nmembers = [] # none\n", "[workspace]\nmembers = [\"xtask\"] # none\n"),
            (
                "[workspace]\nmembers = [\n    \"a\", # the first\n    \"b\",\n]\n",
                "[workspace]\nmembers = [\n    \"a\", # the first\n    \"b\",\n    \"xtask\",\n]\n",
            ),
            ("workspace = { members = ['a'] }", "workspace = { members = ['a', \"xtask\"] }"),
            ("[package]\nname = \"a\"", "[package]\nname = \"a\"\n\n[workspace]\nmembers = [\"xtask\"]\n"),
            ("[workspace]\nresolver = \"3\"\n", "[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\n"),
            ("[workspace]\nmembers = [\"xtask\"]\n", "[workspace]\nmembers = [\"xtask\"]\n"),
            ("[workspace]\nmembers = [\"*\"]\n", "[workspace]\nmembers = [\"*\"]\n"),
        ] {
            assert_eq!(with_member(text, "xtask").as_deref(), Some(expected), "{text}");
        }
        for text in
            ["workspace = { resolver = \"3\" }\n", "workspace = 1\n", "[workspace]\nmembers = 1\n", "[workspace\n"]
        {
            assert_eq!(with_member(text, "xtask"), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_added_to_its_table_and_nothing_else_changes() {
        let added = |text: &str| with_line(text, "a.b", "key", "key = 1");
        assert_eq!(added("").as_deref(), Some("\n[a.b]\nkey = 1\n"));
        assert_eq!(added("[a]\r\nx = 1").as_deref(), Some("[a]\r\nx = 1\n\n[a.b]\nkey = 1\n"));
        assert_eq!(added("[a.b]\nx = 1\n[c]\n").as_deref(), Some("[a.b]\nkey = 1\nx = 1\n[c]\n"));
        assert_eq!(added("[a.b]").as_deref(), Some("[a.b]\nkey = 1\n"));
        let unchanged = "a.b = { key = \"another\" }\n";
        assert_eq!(added(unchanged).as_deref(), Some(unchanged));
        for text in ["a = { b = { x = 1 } }\n", "a = 1\n", "x = '''\n[a.b]\n'''\n[a]\nb.x = 1\n", "not TOML"] {
            assert_eq!(added(text), None, "{text}");
        }
    }
}
