//! Sections of a YAML file: values by key, in any case, and errors by line. Knows no setting by name.

use std::ops::RangeInclusive;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use crate::error::ErrorKind;

/// The longest file, in bytes: far more than anybody writes, and so short that no nesting is too deep.
const MAX_LEN: usize = 64 << 10;

/// A mapping of keys to values.
pub(super) struct Section<'t> {
    /// The names of the section and of the sections around it, each with a dot; empty for the whole file.
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
    pub(super) fn find(text: &'t str, name: &str) -> Result<Option<Self>, ErrorKind> {
        let syntax = |line, reason: &str| ErrorKind::InvalidConfig {
            line: Some(line),
            setting: None,
            reason: reason.to_owned(),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_LEN {
            return Err(syntax(1, &format!("the file is longer than {MAX_LEN} bytes")));
        }
        let documents = MarkedYaml::load_from_str(text)
            .map_err(|error| syntax(error.marker().line(), &format!("this is not valid YAML: {}", error.info())))?;
        let mut documents = documents.into_iter();
        let (first, second) = (documents.next(), documents.next());
        if let Some(second) = second {
            return Err(syntax(second.span.start.line(), "a second document begins, but only one is allowed"));
        }
        match first {
            None => Ok(None),
            Some(root) if is_nothing(&root) => Ok(None),
            Some(MarkedYaml { data: YamlData::Mapping(entries), .. }) => {
                Self::new(String::new(), entries)?.section(name)
            }
            Some(root) => Err(syntax(root.span.start.line(), "a section like `store:` is expected")),
        }
    }

    fn new(
        name: String,
        entries: impl IntoIterator<Item = (MarkedYaml<'t>, MarkedYaml<'t>)>,
    ) -> Result<Self, ErrorKind> {
        let mut section = Self { name, entries: Vec::new() };
        for (key, value) in entries {
            let entry = Entry { line: key.span.start.line(), key: shown(&key), value };
            if let Some(before) = section.get(&entry.key) {
                let reason = format!("is given twice, first in line {}", before.line);
                return Err(section.error_at(entry.line, &entry.key, reason));
            }
            section.entries.push(entry);
        }
        Ok(section)
    }

    fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    /// An error for the value of a key.
    pub(super) fn error(&self, key: &str, reason: String) -> ErrorKind {
        self.error_at(self.get(key).map_or(1, |entry| entry.line), key, reason)
    }

    fn error_at(&self, line: usize, key: &str, reason: String) -> ErrorKind {
        ErrorKind::InvalidConfig { line: Some(line), setting: Some(format!("{}{key}", self.name)), reason }
    }

    fn wrong<T>(&self, entry: &Entry<'_>, value: &MarkedYaml<'_>, wanted: &str) -> Result<T, ErrorKind> {
        let found = match &value.data {
            YamlData::Value(Scalar::Null) => "nothing".to_owned(),
            YamlData::Value(_) => format!("`{}`", shown(value)),
            YamlData::Sequence(_) => "a list".to_owned(),
            YamlData::Mapping(_) => "a section".to_owned(),
            _ => "a tagged value".to_owned(),
        };
        // A value that is left out has no line of its own.
        let line = if is_nothing(value) { entry.line } else { value.span.start.line() };
        Err(self.error_at(line, &entry.key, format!("must be {wanted}, not {found}")))
    }

    /// Checks that there are no other keys than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ErrorKind> {
        let is_known = |entry: &&Entry<'_>| known.iter().any(|name| name.eq_ignore_ascii_case(&entry.key));
        match self.entries.iter().find(|entry| !is_known(entry)) {
            Some(unknown) => {
                let reason = format!("is not a setting; the settings here are {}", known.join(", "));
                Err(self.error_at(unknown.line, &unknown.key, reason))
            }
            None => Ok(()),
        }
    }

    pub(super) fn section(&self, key: &str) -> Result<Option<Self>, ErrorKind> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match &entry.value.data {
            YamlData::Mapping(entries) => {
                let name = format!("{}{}.", self.name, entry.key);
                Self::new(name, entries.iter().map(|(key, value)| (key.clone(), value.clone()))).map(Some)
            }
            _ if is_nothing(&entry.value) => Ok(None),
            _ => self.wrong(entry, &entry.value, "a section"),
        }
    }

    pub(super) fn number(&self, key: &str, within: RangeInclusive<u64>) -> Result<Option<u64>, ErrorKind> {
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
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ErrorKind> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match entry.value.data {
            YamlData::Value(Scalar::Boolean(flag)) => Ok(Some(flag)),
            YamlData::Value(Scalar::Integer(0)) => Ok(Some(false)),
            YamlData::Value(Scalar::Integer(1)) => Ok(Some(true)),
            _ => self.wrong(entry, &entry.value, "0 or 1, false or true"),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ErrorKind> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match &entry.value.data {
            YamlData::Value(Scalar::String(text)) => Ok(Some(text.clone().into_owned())),
            _ => self.wrong(entry, &entry.value, "text"),
        }
    }

    /// A list of texts. The list is not empty, and `check` accepts each text.
    pub(super) fn texts(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Option<Vec<String>>, ErrorKind> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        let YamlData::Sequence(items) = &entry.value.data else {
            return self.wrong(entry, &entry.value, "a list");
        };
        if items.is_empty() {
            return Err(self.error_at(entry.line, &entry.key, "must not be an empty list".to_owned()));
        }
        let text = |item: &MarkedYaml<'_>| match &item.data {
            YamlData::Value(Scalar::String(text)) => match check(text) {
                Ok(()) => Ok(text.clone().into_owned()),
                Err(reason) => {
                    let reason = format!("has an invalid item: {reason}");
                    Err(self.error_at(item.span.start.line(), &entry.key, reason))
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

/// A scalar, nearly as it is written in the file.
fn shown(node: &MarkedYaml<'_>) -> String {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => text.escape_debug().to_string(),
        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
        YamlData::Value(Scalar::FloatingPoint(number)) => number.to_string(),
        YamlData::Value(Scalar::Boolean(flag)) => flag.to_string(),
        _ => "?".to_owned(),
    }
}
