//! `instance.json`: whatever it holds, it is a record or none; a record writes back as what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Some(record) = etcd_local::fuzzing::record(text) {
        let written = serde_json::to_vec(&record).unwrap();
        assert_eq!(etcd_local::fuzzing::record(&written), Some(record));
    }
});
