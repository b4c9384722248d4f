//! Connecting: endpoints, timeouts, credentials, limits. A dead server is noticed within seconds, and no call
//! waits without a deadline.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient, WatchClient};

use crate::error::{Error, Kind, Operation};

/// The largest answer that is accepted, in bytes. tonic refuses more than 4 MiB by default, which a page of
/// large values or a burst of events exceeds.
const LARGEST_ANSWER: usize = 512 << 20;

/// How to reach a cluster.
#[derive(Clone)]
pub struct Connect {
    endpoints: Vec<String>,
    connect_timeout: Duration,
    request_timeout: Duration,
    user: Option<(String, String)>,
    options: ConnectOptions,
}

impl Connect {
    /// A cluster by its client URLs; `host:port` alone means `http`.
    #[must_use]
    pub fn new<U: Into<String>>(endpoints: impl IntoIterator<Item = U>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            user: None,
            options: ConnectOptions::new(),
        }
    }

    /// How long a connection may take; 5 s unless said otherwise.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an answer may take; 5 s unless said otherwise. Watches are not bound by it.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Who we are.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// etcd-client's own options, for what has no name here, TLS above all.
    #[must_use]
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Connects, and proves by one small request that an etcd answers.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] or [`Kind::TimedOut`] within the connect timeout, [`Kind::Denied`] for a wrong
    /// password.
    pub async fn connect(self) -> Result<Connection, Error> {
        let endpoint = self.endpoints.join(",");
        let failed = |kind, source| Error { operation: Operation::Connect, endpoint: endpoint.clone(), kind, source };
        let mut options = self
            .options
            .with_connect_timeout(self.connect_timeout)
            .with_keep_alive(Duration::from_secs(2), Duration::from_secs(2))
            .with_keep_alive_while_idle(true);
        if let Some((name, password)) = self.user {
            options = options.with_user(name, password);
        }
        let prove = async {
            let mut client = Client::connect(&self.endpoints, Some(options)).await?;
            // A range of no key: any member answers it, and no right is needed for it.
            let probe = etcd_client::GetOptions::new().with_range("\0").with_limit(1).with_keys_only();
            match client.get("\0", Some(probe)).await {
                Err(error) if !matches!(Kind::of(&error), Kind::Denied(_)) => Err(error),
                _ => Ok(client),
            }
        };
        match tokio::time::timeout(self.connect_timeout, prove).await {
            Ok(Ok(client)) => Ok(Connection { client, endpoint, request_timeout: self.request_timeout }),
            Ok(Err(error)) => Err(failed(Kind::of(&error), Some(Box::new(error)))),
            Err(_) => Err(failed(Kind::TimedOut, None)),
        }
    }
}

/// A connection to a cluster; clones share it.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    endpoint: String,
    request_timeout: Duration,
}

impl Connection {
    /// The endpoints, separated by commas, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// etcd-client's own client, for whatever has no name here.
    #[must_use]
    pub fn raw(&self) -> Client {
        self.client.clone()
    }

    /// A client for keys that accepts large answers.
    #[must_use]
    pub fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(LARGEST_ANSWER).max_encoding_message_size(LARGEST_ANSWER)
    }

    /// A client for watches that accepts large answers.
    #[must_use]
    pub fn watches(&self) -> WatchClient {
        self.client.watch_client().max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Makes one call, within the request timeout, and puts its error into context.
    ///
    /// # Errors
    /// Whatever the call says, or [`Kind::TimedOut`].
    pub async fn call<T>(
        &self,
        operation: impl Fn() -> Operation,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.request_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let (kind, source) = (Kind::of(&error), Some(Box::new(error)));
                Err(Error { operation: operation(), endpoint: self.endpoint.clone(), kind, source })
            }
            Err(_) => Err(self.error(operation(), Kind::TimedOut)),
        }
    }

    /// An error of this connection.
    #[must_use]
    pub fn error(&self, operation: Operation, kind: Kind) -> Error {
        Error { operation, endpoint: self.endpoint.clone(), kind, source: None }
    }
}
