//! The configuration file: what is read, and what is said of what cannot be.

use std::time::Duration;

use cloudchamber_store::{Config, Error, ErrorKind};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/cloudchamber.yaml");

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, "c.yaml")
}

#[test]
fn the_shipped_file_has_the_defaults() {
    assert_eq!(Config::load(SHIPPED).unwrap(), Config::default());
    let nowhere = Config::load(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/none.yaml")).unwrap();
    assert_eq!(nowhere, Config::default());
    assert_eq!(nowhere.endpoints(), ["http://localhost:2379"]);
    assert_eq!((nowhere.connect_timeout.as_secs(), nowhere.request_timeout.as_secs()), (5, 5));
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_missing_one() {
    let error = Config::load(env!("CARGO_MANIFEST_DIR")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnreadableConfig { .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot read the configuration file `"), "{error}");
}

#[test]
fn keys_are_read_in_any_case_and_other_sections_left_alone() {
    let config = parse(
        "Frontend: { port: nonsense, X: [1, 2] }\n\
         STORE:\n  ConnectTimeout: 1\n  REQUESTTIMEOUT: 7\n  tracelevel: 2\n  EtcdService:\n    HostName: etcd-1\n    Port: 4001\n  \
         Test:\n    usetestnamespace: 1\n    UseUniqueInstance: 0\n    PRECLEANSTORE: true\n\
         7: { a: b }\n",
    )
    .unwrap();
    assert_eq!((config.connect_timeout, config.request_timeout), (Duration::from_secs(1), Duration::from_secs(7)));
    assert_eq!((config.trace_level, config.endpoints()), (2, vec!["http://etcd-1:4001".to_owned()]));
    let test = config.test;
    assert_eq!((test.use_test_namespace, test.use_unique_instance, test.pre_clean_store), (true, false, true));
}

#[test]
fn a_file_without_settings_means_the_defaults() {
    for text in ["", "\n# only a comment\n", "---\n", "\u{feff}", "other: 1\n", "store:\n", "store: ~\n", "store: {}\n"]
    {
        assert_eq!(parse(text).unwrap(), Config::default(), "{text:?}");
    }
    assert_eq!(parse("store:\n  etcdService:\n  test:\n").unwrap(), Config::default());
}

#[test]
fn booleans_are_written_in_either_way() {
    for (value, means) in
        [("0", false), ("1", true), ("false", false), ("true", true), ("True", true), ("FALSE", false)]
    {
        let config = parse(&format!("store: {{ test: {{ UseTestNamespace: {value} }} }}")).unwrap();
        assert_eq!(config.test.use_test_namespace, means, "{value}");
    }
}

#[test]
fn endpoints_become_urls() {
    for (service, endpoints) in [
        ("hostname: 10.0.0.1", vec!["http://10.0.0.1:2379"]),
        ("hostname: \"::1\"", vec!["http://[::1]:2379"]),
        ("hostname: \"[::1]\", port: 1", vec!["http://[::1]:1"]),
        ("endpoints: [\"http://a:1\", \"b:2\"]", vec!["http://a:1", "http://b:2"]),
        ("hostname: x, endpoints: [\"a:1\"]", vec!["http://a:1"]),
    ] {
        let config = parse(&format!("store: {{ etcdService: {{ {service} }} }}")).unwrap();
        assert_eq!(config.endpoints(), endpoints, "{service}");
    }
}

/// A text, the line of what is wrong with it, the key or nothing, and what is said.
const BAD: &[(&str, usize, &str, &str)] = &[
    (
        "store:\n  connectTimeuot: 5\n",
        2,
        "store.connectTimeuot",
        "is not a setting; the settings here are connectTimeout, requestTimeout",
    ),
    ("store:\n  connectTimeout: soon\n", 2, "store.connectTimeout", "must be a number from 1 to 86400, not `soon`"),
    ("store:\n  connectTimeout: \"5\"\n", 2, "store.connectTimeout", "must be a number from 1 to 86400, not `5`"),
    ("store:\n  connectTimeout: 0\n", 2, "store.connectTimeout", "not `0`"),
    ("store:\n  connectTimeout: 1.5\n", 2, "store.connectTimeout", "not `1.5`"),
    ("store:\n  connectTimeout: -1\n", 2, "store.connectTimeout", "not `-1`"),
    ("store:\n  connectTimeout: 99999999999999999999\n", 2, "store.connectTimeout", "must be a number"),
    (
        "store:\n  connectTimeout:\n  traceLevel: 1\n",
        2,
        "store.connectTimeout",
        "must be a number from 1 to 86400, not nothing",
    ),
    ("store:\n  requestTimeout: [5]\n", 2, "store.requestTimeout", "not a list"),
    ("store:\n  requestTimeout: !!str 5\n", 2, "store.requestTimeout", "must be a number"),
    ("store:\n  traceLevel: 256\n", 2, "store.traceLevel", "must be a number from 0 to 255"),
    ("store:\n  traceLevel: true\n", 2, "store.traceLevel", "not `true`"),
    ("store: 5\n", 1, "store", "must be a section, not `5`"),
    ("a: 1\nStore: [1]\n", 2, "Store", "must be a section, not a list"),
    ("store:\n  etcdService: localhost\n", 2, "store.etcdService", "must be a section, not `localhost`"),
    ("store:\n  etcdService:\n    port: 0\n", 3, "store.etcdService.port", "must be a number from 1 to 65535, not `0`"),
    ("store:\n  etcdService:\n    port: 65536\n", 3, "store.etcdService.port", "not `65536`"),
    ("store:\n  etcdService:\n    Port: http\n", 3, "store.etcdService.Port", "not `http`"),
    ("store:\n  etcdService:\n    hostname: \"\"\n", 3, "store.etcdService.hostname", "must not be empty"),
    ("store:\n  etcdService:\n    hostname:\n", 3, "store.etcdService.hostname", "must be text, not nothing"),
    ("store:\n  etcdService:\n    hostname: 7\n", 3, "store.etcdService.hostname", "must be text, not `7`"),
    (
        "store:\n  etcdService:\n    hostname: a b\n",
        3,
        "store.etcdService.hostname",
        "must be the name or address of a host, not `a b`",
    ),
    ("store:\n  etcdService:\n    hostname: http://a\n", 3, "store.etcdService.hostname", "not `http://a`"),
    ("store:\n  etcdService:\n    hostname: \"a:1\"\n", 3, "store.etcdService.hostname", "not `a:1`"),
    ("store:\n  etcdService:\n    hostname: u@a\n", 3, "store.etcdService.hostname", "not `u@a`"),
    (
        "store:\n  etcdService:\n    host: a\n",
        3,
        "store.etcdService.host",
        "is not a setting; the settings here are hostname, port, endpoints, caCert, cert, key",
    ),
    ("store:\n  etcdService:\n    cert: a.pem\n", 3, "store.etcdService.cert", "needs `key`"),
    ("store:\n  etcdService:\n    key: a.pem\n", 3, "store.etcdService.key", "needs `cert`"),
    ("store:\n  etcdService:\n    user: a\n", 3, "store.etcdService.user", "needs `passwordFile`"),
    ("store:\n  etcdService:\n    passwordFile: /none\n", 3, "store.etcdService.passwordFile", "cannot be read: "),
    ("store:\n  etcdService:\n    password: secret\n", 3, "store.etcdService.password", "is not a setting"),
    ("store:\n  etcdService:\n    endpoints: []\n", 3, "store.etcdService.endpoints", "must not be an empty list"),
    ("store:\n  etcdService:\n    endpoints: a:1\n", 3, "store.etcdService.endpoints", "must be a list, not `a:1`"),
    (
        "store:\n  etcdService:\n    endpoints:\n      - a:1\n      - 5\n",
        5,
        "store.etcdService.endpoints",
        "must be a list of texts, not `5`",
    ),
    (
        "store:\n  etcdService:\n    endpoints:\n      - ftp://a:1\n",
        4,
        "store.etcdService.endpoints",
        "has an invalid item: `ftp://a:1` is n",
    ),
    (
        "store:\n  etcdService:\n    endpoints:\n      - \"\"\n",
        4,
        "store.etcdService.endpoints",
        "has an invalid item: ",
    ),
    (
        "store:\n  test:\n    UseTestNamespace: 2\n",
        3,
        "store.test.UseTestNamespace",
        "must be 0 or 1, false or true, not `2`",
    ),
    ("store:\n  test:\n    UseTestNamespace: yes\n", 3, "store.test.UseTestNamespace", "not `yes`"),
    ("store:\n  test:\n    UseTestNamespac: 1\n", 3, "store.test.UseTestNamespac", "is not a setting"),
    (
        "store:\n  test:\n    UseTestNamespace: 1\n    UseUniqueInstance: 1\n    PreCleanStore: 1\n",
        5,
        "store.test.PreCleanStore",
        "cannot be used with UseUniqueInstance",
    ),
    ("store:\n  test:\n    PreCleanStore: 1\n", 3, "store.test.PreCleanStore", "production's keys are never cleaned"),
    ("store:\n  test:\n    UseUniqueInstance: 1\n", 3, "store.test.UseUniqueInstance", "needs UseTestNamespace"),
    ("store:\n  traceLevel: 1\n  TRACELEVEL: 2\n", 3, "store.TRACELEVEL", "is given twice, first in line 2"),
    ("store: {}\nother: 1\nSTORE: {}\n", 3, "STORE", "is given twice, first in line 1"),
    ("store:\n  traceLevel: 1\n  traceLevel: 2\n", 3, "", "this is not valid YAML: duplicated key"),
    ("store: [\n", 2, "", "this is not valid YAML"),
    ("store:\n  a: b: c\n", 2, "", "this is not valid YAML"),
    ("store: *nobody\n", 1, "", "this is not valid YAML"),
    ("just text\n", 1, "", "a section like `store:` is expected"),
    ("store: {}\n---\nstore: {}\n", 3, "", "a second document begins"),
];

#[test]
fn an_error_names_file_line_and_key() {
    for (text, line, key, why) in BAD {
        let Err(error) = parse(text) else { panic!("accepted: {text}") };
        let message = error.to_string();
        let begins = if key.is_empty() {
            format!("cannot read the configuration file `c.yaml`: line {line}: ")
        } else {
            format!("cannot read the configuration file `c.yaml`: line {line}: `{key}` ")
        };
        assert!(message.starts_with(&begins) && message.contains(why), "{text}{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_long_or_deeply_nested_text_is_an_error() {
    // Small enough to be read, and as deep or as wide as that allows.
    for text in [
        format!("store: {}\n", "[".repeat(60_000)),
        format!("store: {}{}\n", "[".repeat(30_000), "]".repeat(30_000)),
        "a: ".repeat(20_000),
        format!(
            "a: &a [x]\nb: &b [{0}]\nc: &c [{1}]\nstore: [{2}]\n",
            "*a,".repeat(50),
            "*b,".repeat(50),
            "*c,".repeat(50)
        ),
        "x".repeat(1 << 20),
    ] {
        assert!(parse(&text).is_err());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn any_text_is_parsed_or_is_an_error(text in "(store:|test:|port: |[0-9]|true|\n|  |- |\\[|\\{|\"|&a |\\*a|x|: |#|!|,|\\]|\\}){0,24}") {
        let _ = parse(&text);
    }
}
