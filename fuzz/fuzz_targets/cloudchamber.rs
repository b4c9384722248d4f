//! `cloudchamber.yaml`: settings that are taken can be used; an error is one line, and names a line of the file.
#![no_main]

use cloudchamber_store::{Config, ErrorKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The sections of the store, without the luck that its name would take; and the whole file.
    let inside: String = text.split_inclusive('\n').map(|line| format!("  {line}")).collect();
    for file in [&format!("store:\n{inside}"), text] {
        match Config::parse(file, "cloudchamber.yaml") {
            Ok(config) => can_be_used(&config),
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{error:?}");
                let ErrorKind::InvalidConfig { line: Some(line), .. } = error.kind() else {
                    panic!("no file was read: {error:?}");
                };
                // An end that comes too soon is where the next line would begin.
                assert!((1..=file.split(['\n', '\r']).count() + 1).contains(line), "{line}");
            }
        }
    }
});

fn can_be_used(config: &Config) {
    let endpoints = config.endpoints();
    assert!(!endpoints.is_empty());
    for endpoint in &endpoints {
        etcd_keys::connect::check_endpoint(endpoint).unwrap();
    }
    if config.service.endpoints.is_empty() {
        // A host is a host, and takes no part of what follows it.
        assert!(!config.service.hostname.contains(['#', '?', '/', '@', ' ']), "{}", config.service.hostname);
        assert!(endpoints[0].ends_with(&format!(":{}", config.service.port)));
    }
    for timeout in [config.connect_timeout, config.request_timeout] {
        assert!((1..=86_400).contains(&timeout.as_secs()));
    }
    let test = config.test;
    assert!(test.use_test_namespace || !(test.use_unique_instance || test.pre_clean_store));
    assert!(!(test.use_unique_instance && test.pre_clean_store));
}
