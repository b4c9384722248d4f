//! `instance.json`: whatever it holds, it is a record or none; a record writes back as what was read.
#![no_main]

use std::path::Path;

use etcd_local::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let path = Path::new("instance.json");
    if let Ok(record) = Record::parse(text, path) {
        let written = serde_json::to_vec(&record).unwrap();
        assert_eq!(Record::parse(&written, path).unwrap(), record);
    }
});
