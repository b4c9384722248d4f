//! JSON with white space of our own. Numbers and strings stay as they were written, which parsing them would not keep.

use serde::de::IgnoredAny;

/// The text, indented, if it is a JSON object or array.
pub(super) fn indented(text: &str) -> Option<String> {
    let is_json = text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok();
    is_json.then(|| indent(text))
}

fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(20)));
    };
    for c in json.chars() {
        if in_string {
            in_string = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                out.truncate(out.trim_end().len());
                if !out.ends_with(['{', '[']) {
                    new_line(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_its_numbers_and_strings_stay() {
        let json = r#"{"n":12345678901234567890123,"s":"a\"{,\\","e":[],"o":{ },"l":[1,{"x":null}]}"#;
        let expected = [
            "{",
            "  \"n\": 12345678901234567890123,",
            r#"  "s": "a\"{,\\","#,
            "  \"e\": [],",
            "  \"o\": {},",
            "  \"l\": [",
            "    1,",
            "    {",
            "      \"x\": null",
            "    }",
            "  ]",
            "}",
        ];
        assert_eq!(indented(json).unwrap().lines().collect::<Vec<_>>(), expected);
        assert_eq!((indented("{a"), indented("7"), indented("\"x\"")), (None, None, None));
    }
}
