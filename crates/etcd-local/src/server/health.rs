//! How a server's database does, by etcd's JSON gateway (`/v3/`, since 3.4) or its metrics. Knows URLs only: that the server is
//! the one that is meant, its caller has made sure of.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::http;

/// Seconds that an answer may take.
const TIMEOUT: u64 = 5;
/// What etcd answers to everybody without a user while authentication is on.
const NO_USER: &str = "user name is empty";
/// The alarm of a database over its quota.
const NOSPACE: &str = "NOSPACE";

/// How a server's database does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its size; `None`: its metrics do not tell.
    pub db: Option<DbSize>,
    /// Alarms that are on, by etcd's names: `NOSPACE`, `CORRUPT`.
    pub alarms: Vec<String>,
    /// Whether everybody without a user is refused.
    pub auth_enabled: bool,
}

/// A database's size, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbSize {
    /// Of the file.
    pub total: u64,
    /// Of what is used in it: keys, and their history since the last compaction.
    pub in_use: u64,
    /// The total at which writes are refused; `None`: there is none, or its metrics do not tell.
    pub quota: Option<u64>,
}

/// Why a server was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Nobody answers, or not as etcd does.
    #[error("no answer from etcd: {0}")]
    NoAnswer(String),
    /// Authentication is on, and this asks as nobody.
    #[error("authentication is enabled at {0}, and every request without a user is refused")]
    NeedsUser(String),
    /// The system has no random bits for a password.
    #[error("cannot make a password: {0}")]
    NoRandomBits(String),
    /// etcd refused.
    #[error("etcd at {endpoint} refused `{call}`: {message}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// The path of the call.
        call: &'static str,
        /// etcd's words.
        message: String,
    },
}

impl Health {
    /// Asks the server at a client URL in plain HTTP.
    ///
    /// # Errors
    /// If it does not answer as etcd does.
    pub fn of(endpoint: &str) -> Result<Self, HealthError> {
        let auth_enabled = needs_user(endpoint)?;
        Ok(match DbSize::by_gateway(endpoint) {
            Some(db) => Self { db: Some(db), alarms: alarms(endpoint)?, auth_enabled },
            None => Self { auth_enabled, ..Self::by_metrics(endpoint)? },
        })
    }

    /// Asks a server at any URL where it tells its metrics in plain HTTP: it needs neither a certificate nor a user, and it does
    /// not tell whether authentication is on.
    ///
    /// # Errors
    /// If it does not answer as etcd does.
    pub fn by_metrics(url: &str) -> Result<Self, HealthError> {
        let metrics = get(&format!("{url}/metrics"))?;
        let metrics = String::from_utf8_lossy(&metrics);
        Ok(Self { db: DbSize::in_metrics(&metrics), alarms: alarms(url)?, auth_enabled: false })
    }

    /// Whether writes are refused for lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm == NOSPACE)
    }
}

impl DbSize {
    /// `None`: etcd is older than 3.6 and does not tell the quota, or refuses without a user. `/metrics` tells everybody, but
    /// takes etcd ten times as much of the processor.
    fn by_gateway(endpoint: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            #[serde(deserialize_with = "number")]
            db_size: u64,
            #[serde(deserialize_with = "number")]
            db_size_in_use: u64,
            /// Negative: there is none.
            #[serde(deserialize_with = "number")]
            db_size_quota: i64,
        }
        let gateway = Gateway { endpoint, token: None };
        let answer = gateway.ask("maintenance/status", "{}", TIMEOUT).ok()?;
        let Status { db_size: total, db_size_in_use: in_use, db_size_quota } = gateway.parse(answer).ok()?;
        Some(Self { total, in_use, quota: db_size_quota.try_into().ok() })
    }

    fn in_metrics(metrics: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            value.parse::<f64>().ok().filter(|bytes| *bytes > 0.0).map(|bytes| bytes as u64)
        };
        Some(Self {
            total: bytes("etcd_mvcc_db_total_size_in_bytes")?,
            in_use: bytes("etcd_mvcc_db_total_size_in_use_in_bytes")?,
            quota: bytes("etcd_server_quota_backend_bytes"),
        })
    }

    /// Whether four fifths of the quota are taken.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.quota.is_some_and(|quota| self.total > quota / 5 * 4)
    }
}

/// Whether the server at a client URL in plain HTTP refuses everybody without a user.
pub(super) fn needs_user(endpoint: &str) -> Result<bool, HealthError> {
    // A key that is hardly there, as `AA==`, which is NUL.
    match (Gateway { endpoint, token: None }).ask("kv/range", r#"{"key":"AA==","count_only":true}"#, TIMEOUT) {
        Err(HealthError::NeedsUser(_)) => Ok(true),
        // With the alarm CORRUPT, nothing can be read.
        Ok(_) | Err(HealthError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The alarms that are on, as `/health` tells them of a server that is not healthy.
fn alarms(url: &str) -> Result<Vec<String>, HealthError> {
    #[derive(Deserialize)]
    struct Answer {
        reason: Option<String>,
    }
    let health: Answer = serde_json::from_slice(&get(&format!("{url}/health"))?)
        .map_err(|error| HealthError::NoAnswer(format!("{url}/health: {error}")))?;
    Ok(health.reason.iter().filter_map(|reason| reason.strip_prefix("ALARM ")).map(str::to_owned).collect())
}

fn get(url: &str) -> Result<Vec<u8>, HealthError> {
    http::get(url, TIMEOUT).map(|answer| answer.body).map_err(HealthError::NoAnswer)
}

pub(super) struct Gateway<'a> {
    pub(super) endpoint: &'a str,
    /// Of a user, where authentication is on.
    pub(super) token: Option<&'a str>,
}

impl Gateway<'_> {
    pub(super) fn ask(&self, call: &'static str, body: &str, seconds: u64) -> Result<Value, HealthError> {
        let url = format!("{}/v3/{call}", self.endpoint);
        let answer = http::post(&url, body, self.token, seconds).map_err(HealthError::NoAnswer)?;
        let value: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| HealthError::NoAnswer(format!("{url}: the answer is not JSON")))?;
        if answer.is_success {
            return Ok(value);
        }
        let message = value.get("message").and_then(Value::as_str).unwrap_or("it does not say why");
        Err(match message.contains(NO_USER) {
            true => HealthError::NeedsUser(self.endpoint.to_owned()),
            false => HealthError::Refused { endpoint: self.endpoint.to_owned(), call, message: message.to_owned() },
        })
    }

    pub(super) fn parse<T: de::DeserializeOwned>(&self, value: Value) -> Result<T, HealthError> {
        serde_json::from_value(value).map_err(|error| HealthError::NoAnswer(format!("{}: {error}", self.endpoint)))
    }
}

/// The gateway writes numbers of 64 bits as text.
pub(super) fn number<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_tell_the_size() {
        const METRICS: &str = "# TYPE etcd_mvcc_db_total_size_in_bytes gauge\netcd_mvcc_db_total_size_in_bytes 2.097152e+07\n\
            etcd_mvcc_db_total_size_in_use_in_bytes 20480\n";
        let size = |quota| Some(DbSize { total: 20_971_520, in_use: 20_480, quota });
        assert_eq!(DbSize::in_metrics(METRICS), size(None));
        for (quota, read) in [("2.147483648e+09", Some(2_147_483_648)), ("-1", None), ("many", None)] {
            assert_eq!(DbSize::in_metrics(&format!("{METRICS}etcd_server_quota_backend_bytes {quota}\n")), size(read));
        }
        assert_eq!(DbSize::in_metrics("404 page not found\n"), None);
    }
}
