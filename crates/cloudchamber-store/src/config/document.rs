//! Sections of a YAML file: values by key, in any case, and errors by line. Knows no setting by name.

use std::ops::RangeInclusive;
use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::error::ConfigError;

/// The longest file that is read, in bytes: far more than anybody writes, and little enough for any nesting.
const LONGEST: usize = 64 << 10;

/// A mapping of keys to values.
pub(super) struct Section<'t> {
    path: &'t Path,
    /// The section's own name with those that it stands in, and a dot; empty for the whole file.
    name: String,
    entries: Vec<Entry<'t>>,
}

struct Entry<'t> {
    key: String,
    line: usize,
    value: MarkedYaml<'t>,
}

impl<'t> Section<'t> {
    /// The section of this name in a file's text; `None`: there is none, or it is empty.
    pub(super) fn find(text: &'t str, path: &'t Path, name: &str) -> Result<Option<Self>, ConfigError> {
        let syntax = |line, why: &str| ConfigError::Syntax { path: path.to_owned(), line, why: why.to_owned() };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > LONGEST {
            return Err(syntax(1, &format!("it is longer than {LONGEST} bytes")));
        }
        let documents = MarkedYaml::load_from_str(text).map_err(|error| syntax(error.marker().line(), error.info()))?;
        let mut documents = documents.into_iter();
        let (first, second) = (documents.next(), documents.next());
        if let Some(second) = second {
            return Err(syntax(second.span.start.line(), "a second document begins, and a file has one"));
        }
        match first {
            None => Ok(None),
            Some(root) if is_nothing(&root) => Ok(None),
            Some(MarkedYaml { data: YamlData::Mapping(entries), .. }) => {
                Self::new(path, String::new(), entries)?.section(name)
            }
            Some(root) => Err(syntax(root.span.start.line(), "a file consists of sections, like `store:`")),
        }
    }

    fn new(
        path: &'t Path,
        name: String,
        entries: impl IntoIterator<Item = (MarkedYaml<'t>, MarkedYaml<'t>)>,
    ) -> Result<Self, ConfigError> {
        let mut section = Self { path, name, entries: Vec::new() };
        for (key, value) in entries {
            let entry = Entry { line: key.span.start.line(), key: shown(&key), value };
            if let Some(before) = section.get(&entry.key) {
                let why = format!("is given twice, in line {} before", before.line);
                return Err(section.error(entry.line, &entry.key, why));
            }
            section.entries.push(entry);
        }
        Ok(section)
    }

    fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    fn error(&self, line: usize, key: &str, why: String) -> ConfigError {
        ConfigError::Setting { path: self.path.to_owned(), line, key: format!("{}{key}", self.name), why }
    }

    fn wrong<T>(&self, entry: &Entry<'_>, value: &MarkedYaml<'_>, wanted: &str) -> Result<T, ConfigError> {
        let found = match &value.data {
            YamlData::Value(Scalar::Null) => "nothing".to_owned(),
            YamlData::Value(_) => format!("`{}`", shown(value)),
            YamlData::Sequence(_) => "a list".to_owned(),
            YamlData::Mapping(_) => "a section".to_owned(),
            _ => "a tagged value".to_owned(),
        };
        // A value that was left out has no line of its own.
        let line = if is_nothing(value) { entry.line } else { value.span.start.line() };
        Err(self.error(line, &entry.key, format!("must be {wanted}, not {found}")))
    }

    /// That there are no keys but these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        let is_known = |entry: &&Entry<'_>| known.iter().any(|name| name.eq_ignore_ascii_case(&entry.key));
        match self.entries.iter().find(|entry| !is_known(entry)) {
            Some(unknown) => {
                let why = format!("is no setting; here are {}", known.join(", "));
                Err(self.error(unknown.line, &unknown.key, why))
            }
            None => Ok(()),
        }
    }

    /// That what was found out about a key's value is no error.
    pub(super) fn check(&self, key: &str, outcome: Result<(), String>) -> Result<(), ConfigError> {
        let line = self.get(key).map_or(1, |entry| entry.line);
        outcome.map_err(|why| self.error(line, key, why))
    }

    pub(super) fn section(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match &entry.value.data {
            YamlData::Mapping(entries) => {
                let name = format!("{}{}.", self.name, entry.key);
                Self::new(self.path, name, entries.iter().map(|(key, value)| (key.clone(), value.clone()))).map(Some)
            }
            _ if is_nothing(&entry.value) => Ok(None),
            _ => self.wrong(entry, &entry.value, "a section"),
        }
    }

    pub(super) fn number(&self, key: &str, within: RangeInclusive<u64>) -> Result<Option<u64>, ConfigError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        let number = match entry.value.data {
            YamlData::Value(Scalar::Integer(number)) => u64::try_from(number).ok(),
            _ => None,
        };
        match number.filter(|number| within.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let wanted = format!("a number from {} to {}", within.start(), within.end());
                self.wrong(entry, &entry.value, &wanted)
            }
        }
    }

    /// 0 or 1, false or true.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match entry.value.data {
            YamlData::Value(Scalar::Boolean(flag)) => Ok(Some(flag)),
            YamlData::Value(Scalar::Integer(0)) => Ok(Some(false)),
            YamlData::Value(Scalar::Integer(1)) => Ok(Some(true)),
            _ => self.wrong(entry, &entry.value, "0 or 1, false or true"),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match &entry.value.data {
            YamlData::Value(Scalar::String(text)) => Ok(Some(text.clone().into_owned())),
            _ => self.wrong(entry, &entry.value, "text"),
        }
    }

    /// A list of texts, not empty, each as it should be.
    pub(super) fn texts(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        let YamlData::Sequence(items) = &entry.value.data else {
            return self.wrong(entry, &entry.value, "a list");
        };
        if items.is_empty() {
            return Err(self.error(entry.line, &entry.key, "is a list of nothing".to_owned()));
        }
        let text = |item: &MarkedYaml<'_>| match &item.data {
            YamlData::Value(Scalar::String(text)) => match check(text) {
                Ok(()) => Ok(text.clone().into_owned()),
                Err(why) => {
                    Err(self.error(item.span.start.line(), &entry.key, format!("has an item that is wrong: {why}")))
                }
            },
            _ => self.wrong(entry, item, "a list of texts"),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }
}

fn is_nothing(node: &MarkedYaml<'_>) -> bool {
    matches!(node.data, YamlData::Value(Scalar::Null))
}

/// A scalar as people wrote it, more or less.
fn shown(node: &MarkedYaml<'_>) -> String {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => text.escape_debug().to_string(),
        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
        YamlData::Value(Scalar::FloatingPoint(number)) => number.to_string(),
        YamlData::Value(Scalar::Boolean(flag)) => flag.to_string(),
        _ => "?".to_owned(),
    }
}
