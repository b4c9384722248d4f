//! Names of sandboxes: one readable key segment, different each time.

use crate::run_id::random_hex;

/// The longest readable part, in bytes. A key may be long, but people read these names.
const LONGEST: usize = 96;
/// The random part of a name, in bytes: retries, stress iterations and other binaries have tests of the same name.
const RANDOM: usize = 8;

/// A segment that begins like `name`, without characters that segments should not have, and ends at random.
pub(crate) fn unique(name: &str) -> std::io::Result<String> {
    Ok(format!("{}~{}", readable(name), random_hex::<RANDOM>()?))
}

/// Whether a segment is the name of a sandbox.
pub(crate) fn is_unique(segment: &[u8]) -> bool {
    let random = segment.iter().rposition(|byte| *byte == b'~').and_then(|end| segment.get(end + 1..));
    random.is_some_and(|random| random.len() == 2 * RANDOM && random.iter().all(u8::is_ascii_hexdigit))
}

/// `a::b::test` becomes `a.b.test`. A long name keeps its end, which says most.
fn readable(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let plain: String = name.replace("::", ".").chars().map(|c| if fits(c) { c } else { '-' }).collect();
    // All characters are ASCII now: the text can be cut at any byte.
    let tail = plain.get(plain.len().saturating_sub(LONGEST)..).unwrap_or_default();
    let tail = tail.trim_start_matches(['.', '-']);
    if tail.is_empty() { "test".to_owned() } else { tail.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_tests() {
        assert_eq!(readable("store::racks::registers_a_rack"), "store.racks.registers_a_rack");
        assert_eq!(readable("case 1: a/b"), "case-1--a-b");
        assert_eq!(readable("../.."), "test");
        assert!(readable(&"long::".repeat(100)).len() <= LONGEST);
        assert_ne!(unique("a").unwrap(), unique("a").unwrap());
    }

    proptest! {
        #[test]
        fn a_name_is_one_plain_segment(name in "\\PC{0,300}") {
            let unique = unique(&name).unwrap();
            prop_assert!(unique.len() <= LONGEST + 1 + 2 * RANDOM);
            prop_assert!(unique.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte)));
            prop_assert!(!unique.starts_with('.'), "reserved for the run's own keys");
            prop_assert!(is_unique(unique.as_bytes()) && !is_unique(name.as_bytes()));
        }
    }
}
