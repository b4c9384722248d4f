//! Protobuf without its schema: the numbers and raw values of the fields. Bytes that could be a message may be something else.

use etcd_keys::text::Escaped;

/// How deep messages may be nested.
const DEPTH: usize = 20;
/// How many bytes of a field are shown that is neither text nor a message.
const BYTES: usize = 32;

/// The fields of a message, one a line; `None` if the bytes cannot be a message.
pub(super) fn fields(bytes: &[u8]) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    message(bytes, 0, &mut lines).filter(|()| !lines.is_empty())?;
    Some(lines)
}

fn message(mut rest: &[u8], depth: usize, lines: &mut Vec<String>) -> Option<()> {
    let indent = "  ".repeat(depth);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = tag >> 3;
        if !(1..1 << 29).contains(&number) {
            return None;
        }
        match tag & 7 {
            0 => lines.push(format!("{indent}{number}: {}", varint(&mut rest)?)),
            1 => {
                let bits = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
                lines.push(format!("{indent}{number}: 0x{bits:016x} (fixed64)"));
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                delimited(number, take(&mut rest, length)?, depth, lines);
            }
            5 => {
                let bits = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
                lines.push(format!("{indent}{number}: 0x{bits:08x} (fixed32)"));
            }
            _ => return None,
        }
    }
    Some(())
}

/// A text, a message, or bytes.
fn delimited(number: u64, bytes: &[u8], depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let is_text = |text: &&str| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    if std::str::from_utf8(bytes).ok().filter(is_text).is_some() {
        lines.push(format!("{indent}{number}: \"{}\"", Escaped(bytes)));
        return;
    }
    let begin = lines.len();
    lines.push(format!("{indent}{number} {{"));
    if depth < DEPTH && message(bytes, depth + 1, lines).is_some() {
        lines.push(format!("{indent}}}"));
        return;
    }
    lines.truncate(begin);
    let hex: String = bytes.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > BYTES { "…" } else { "" };
    lines.push(format!("{indent}{number}: 0x{hex}{more} ({} bytes)", bytes.len()));
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        // The tenth byte has one bit.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_shown_by_number_and_messages_are_nested() {
        let mut bytes =
            b"\x08\x96\x01\x12\x07testing\x1a\x04\x08\x01\x10\x02\x25\x00\x00\x80\x3f\x2a\x02\xff\xfe".to_vec();
        bytes.extend(b"\x31\x18\x2d\x44\x54\xfb\x21\x09\x40");
        let expected = [
            "1: 150",
            "2: \"testing\"",
            "3 {",
            "  1: 1",
            "  2: 2",
            "}",
            "4: 0x3f800000 (fixed32)",
            "5: 0xfffe (2 bytes)",
            "6: 0x400921fb54442d18 (fixed64)",
        ];
        assert_eq!(fields(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_a_message_is_none() {
        for bytes in
            [&b""[..], b"\x08", b"\x00\x01", b"\x0b", b"\x12\x05ab", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]
        {
            assert_eq!(fields(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_control_characters(bytes in prop::collection::vec(0_u8..40, 0..60)) {
            prop_assert!(fields(&bytes).unwrap_or_default().iter().all(|line| !line.chars().any(char::is_control)));
        }
    }
}
