//! Keys as text: what is printed can be pasted back, whatever bytes it has, and moves no terminal.
#![no_main]

use etcd_keys::text::{Escaped, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let shown = Escaped(bytes).to_string();
    assert_eq!(parse(&shown).unwrap(), bytes);
    assert!(!shown.chars().any(char::is_control));
    // And what somebody types is bytes, or an error.
    if let Ok(typed) = std::str::from_utf8(bytes)
        && let Ok(key) = parse(typed)
    {
        assert_eq!(parse(&Escaped(&key).to_string()).unwrap(), key);
    }
});
