//! Records of test runs, which anybody may have written into etcd.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    if let Some(record) = etcd_sandbox::fuzzing::record(value).record() {
        let written = serde_json::to_vec(record).unwrap();
        assert_eq!(etcd_sandbox::fuzzing::record(&written).record(), Some(record));
    }
});
