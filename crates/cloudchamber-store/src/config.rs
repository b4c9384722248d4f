//! `cloudchamber.yaml`: the settings of the store, and errors with their line. Opens no connection, and reads no
//! environment but the one that the caller passes.

mod document;
mod namespace;
mod security;

use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use self::document::Section;
pub use self::namespace::ROOT;
pub use self::security::Security;
use crate::error::{Error, ErrorKind, Failure};

/// The store's settings. Without a file they are [`Config::default`]. Fields may be set in code, too.
///
/// ```
/// use cloudchamber_store::Config;
///
/// # fn main() -> Result<(), cloudchamber_store::Error> {
/// let config = Config::parse("store: { requestTimeout: 10, etcdService: { hostname: etcd-1 } }", "inline")?;
/// assert_eq!(config.endpoints(), ["http://etcd-1:2379"]);
///
/// let error = Config::parse("store:\n  etcdService:\n    port: 70000\n", "cloudchamber.yaml").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "cannot read the configuration file `cloudchamber.yaml`: line 3: `store.etcdService.port` must be a number from 1 \
///      to 65535, not `70000`",
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long connecting may take; `connectTimeout`, in seconds.
    pub connect_timeout: Duration,
    /// How long a request may take; `requestTimeout`, in seconds.
    pub request_timeout: Duration,
    /// What `tracing` receives: 0 nothing, 1 operations, 2 and more also values.
    pub trace_level: u8,
    /// Where etcd is.
    pub service: Service,
    /// Settings for tests.
    pub test: TestSettings,
    /// The prefix of all keys with `UseUniqueInstance`, which ends with a slash; see [`Config::in_sandbox`].
    pub sandbox: Option<String>,
}

/// Where etcd is; `etcdService`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// A member's host name or address.
    pub hostname: String,
    /// Its client port.
    pub port: u16,
    /// URLs, or `host:port`, of several members; used instead of `hostname` and `port` unless empty.
    pub endpoints: Vec<String>,
    /// TLS and the user.
    pub security: Security,
}

/// Settings for tests; `Test`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestSettings {
    /// Keys go under `Test/Standard/`.
    pub use_test_namespace: bool,
    /// Keys go under a sandbox instead.
    pub use_unique_instance: bool,
    /// Connecting deletes what is under `Test/Standard/`.
    pub pre_clean_store: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            trace_level: 0,
            service: Service::default(),
            test: TestSettings::default(),
            sandbox: None,
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self { hostname: "localhost".to_owned(), port: 2379, endpoints: Vec::new(), security: Security::default() }
    }
}

impl Config {
    /// Reads a file. If there is no file, the settings are the defaults.
    ///
    /// # Errors
    /// [`ErrorKind::UnreadableConfig`], and as [`Config::parse`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let kind = ErrorKind::UnreadableConfig { kind: error.kind(), reason: error.to_string() };
                Err(unreadable(path, Failure::from(kind).because(error)))
            }
        }
    }

    /// Reads a file's text; `path` is for messages.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], for the first mistake in the text.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::try_parse(text).map_err(|kind| unreadable(path.as_ref(), kind))
    }

    fn try_parse(text: &str) -> Result<Self, ErrorKind> {
        let mut config = Self::default();
        if let Some(store) = Section::find(text, "store")? {
            config.read(&store)?;
        }
        Ok(config)
    }

    fn read(&mut self, store: &Section<'_>) -> Result<(), ErrorKind> {
        store.only(&["connectTimeout", "requestTimeout", "traceLevel", "etcdService", "test"])?;
        if let Some(seconds) = store.number("connectTimeout", 1..=86_400)? {
            self.connect_timeout = Duration::from_secs(seconds);
        }
        if let Some(seconds) = store.number("requestTimeout", 1..=86_400)? {
            self.request_timeout = Duration::from_secs(seconds);
        }
        if let Some(level) = store.number("traceLevel", 0..=255)? {
            self.trace_level = u8::try_from(level).unwrap_or(u8::MAX);
        }
        if let Some(service) = store.section("etcdService")? {
            self.service.read(&service)?;
        }
        if let Some(test) = store.section("test")? {
            self.test.read(&test)?;
        }
        Ok(())
    }

    /// Puts all keys into a sandbox, by its prefix in etcd. Has no effect without `UseUniqueInstance`.
    #[must_use]
    pub fn in_sandbox(mut self, prefix: impl Into<String>) -> Self {
        self.sandbox = Some(prefix.into());
        self
    }

    /// With `UseUniqueInstance`, uses the variables of a test run: `ETCD_ENDPOINTS` with etcdctl's for TLS and the user, and
    /// `ETCD_TEST_PREFIX`. Without `UseUniqueInstance`, changes nothing.
    ///
    /// ```
    /// # use cloudchamber_store::Config;
    /// let config = Config::default().in_run(|name| std::env::var(name).ok());
    /// ```
    #[must_use]
    pub fn in_run(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        if self.test.use_unique_instance {
            if let Some(endpoints) = variable("ETCD_ENDPOINTS") {
                self.service.endpoints = endpoints.split(',').map(str::trim).map(str::to_owned).collect();
                self.service.security = Security::of_variables(&variable);
            }
            self.sandbox = variable("ETCD_TEST_PREFIX").or(self.sandbox);
        }
        self
    }

    /// The endpoints to connect to, as URLs.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let Service { hostname, port, endpoints, security } = &self.service;
        let scheme = if security.has_tls() { "https" } else { "http" };
        if !endpoints.is_empty() {
            let url =
                |given: &String| if given.contains("://") { given.clone() } else { format!("{scheme}://{given}") };
            return endpoints.iter().map(url).collect();
        }
        // An IPv6 address, which URLs have in brackets.
        let bare = hostname.contains(':') && !hostname.starts_with('[');
        vec![if bare { format!("{scheme}://[{hostname}]:{port}") } else { format!("{scheme}://{hostname}:{port}") }]
    }
}

fn unreadable(path: &Path, failure: impl Into<Failure>) -> Error {
    Error::new(format_args!("read the configuration file `{}`", path.display()), failure)
}

impl Service {
    fn read(&mut self, section: &Section<'_>) -> Result<(), ErrorKind> {
        section.only(&[&["hostname", "port", "endpoints"][..], &Security::SETTINGS].concat())?;
        self.security.read(section)?;
        if let Some(hostname) = section.text("hostname")? {
            check_host(&hostname).map_err(|reason| section.error("hostname", reason))?;
            self.hostname = hostname;
        }
        if let Some(port) = section.number("port", 1..=65_535)? {
            self.port = u16::try_from(port).unwrap_or(self.port);
        }
        if let Some(endpoints) = section.texts("endpoints", |endpoint| {
            etcd_keys::connect::check_endpoint(endpoint).map_err(|error| error.to_string())
        })? {
            self.endpoints = endpoints;
        }
        Ok(())
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("must not be empty".to_owned());
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // Only an IPv6 address may have a colon: not a port, not a scheme.
    let is_host = address.parse::<Ipv6Addr>().is_ok()
        || (!host.contains([':', '/', '[']) && etcd_keys::connect::check_endpoint(&format!("http://{host}")).is_ok());
    if is_host { Ok(()) } else { Err(format!("must be the name or address of a host, not `{}`", host.escape_debug())) }
}

impl TestSettings {
    fn read(&mut self, section: &Section<'_>) -> Result<(), ErrorKind> {
        let flags = [
            ("UseTestNamespace", &mut self.use_test_namespace),
            ("UseUniqueInstance", &mut self.use_unique_instance),
            ("PreCleanStore", &mut self.pre_clean_store),
        ];
        section.only(&flags.each_ref().map(|(name, _)| *name))?;
        for (name, flag) in flags {
            if let Some(value) = section.flag(name)? {
                *flag = value;
            }
        }
        self.check().map_err(|excluded| section.error(excluded.setting, excluded.reason))
    }
}
