//! How a server's database does, and what frees its space, by etcd's JSON gateway (`/v3/`, since 3.4). Knows
//! endpoints only: that the server is the one that is meant, its caller has made sure of.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::http;

/// Seconds that an answer may take.
const TIMEOUT: u64 = 5;
/// The same for what moves all of a database: etcd's largest, 8 GiB, on a slow disk.
const LONG: u64 = 600;
/// What etcd answers to everybody without a user while authentication is on.
const NO_USER: &str = "user name is empty";
/// The alarm of a database over its quota.
const NOSPACE: &str = "NOSPACE";

/// How a server's database does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its size; `None`: the server tells nothing without a user (3.7).
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
    /// The total at which writes are refused; `None`: an etcd before 3.6, which does not tell.
    pub quota: Option<u64>,
}

/// What [`compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// The revision that the history now begins with.
    pub revision: i64,
    /// The size before.
    pub before: DbSize,
    /// The size after.
    pub after: DbSize,
    /// Whether the alarm NOSPACE was on.
    pub disarmed: bool,
}

/// Why a server was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Nobody answers, or not as etcd does.
    #[error("no answer from etcd's JSON gateway: {0}")]
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
    /// The keys alone, without any history, are more than the quota.
    #[error("the keys themselves take {} of the quota of {} bytes: the alarm NOSPACE stays on", size.total, size.quota.unwrap_or_default())]
    StillFull {
        /// The size now.
        size: DbSize,
    },
}

impl Health {
    /// Asks the server at a client URL.
    ///
    /// # Errors
    /// If it does not answer as etcd's gateway does.
    pub fn of(endpoint: &str) -> Result<Self, HealthError> {
        let gateway = Gateway { endpoint, token: None };
        // A key that is hardly there, as `AA==`, which is NUL.
        let auth_enabled = match gateway.ask("kv/range", r#"{"key":"AA==","count_only":true}"#, TIMEOUT) {
            Err(HealthError::NeedsUser(_)) => true,
            // With the alarm CORRUPT, nothing can be read.
            Ok(_) | Err(HealthError::Refused { .. }) => false,
            Err(error) => return Err(error),
        };
        let mut health = Self { db: None, alarms: Vec::new(), auth_enabled };
        match gateway.status().and_then(|status| Ok((status, gateway.alarms()?))) {
            Ok((status, alarms)) => {
                health.db = Some(status.size());
                health.alarms = alarms.into_iter().map(|alarm| alarm.alarm).collect();
            }
            Err(HealthError::NeedsUser(_)) => health.auth_enabled = true,
            Err(error) => return Err(error),
        }
        Ok(health)
    }

    /// Whether writes are refused for lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm == NOSPACE)
    }
}

impl DbSize {
    /// Whether four fifths of the quota are taken.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.quota.is_some_and(|quota| self.total > quota / 5 * 4)
    }
}

/// Frees the space of a server's database: forgets the history of all keys, gives what that took back to the
/// file system, and ends the alarm NOSPACE. Keys stay as they are. While it is at work, the server answers nobody.
///
/// # Errors
/// If the server refuses, or the keys alone are more than its quota.
pub fn compact(endpoint: &str) -> Result<Compacted, HealthError> {
    let gateway = Gateway { endpoint, token: None };
    let before = gateway.status()?;
    let revision = before.header.revision;
    match gateway.ask("kv/compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#), LONG) {
        Err(HealthError::Refused { message, .. }) if message.contains("has been compacted") => {}
        other => drop(other?),
    }
    gateway.ask("maintenance/defragment", "{}", LONG)?;
    let full: Vec<Alarm> = gateway.alarms()?.into_iter().filter(|alarm| alarm.alarm == NOSPACE).collect();
    let after = gateway.status()?.size();
    if !full.is_empty() && after.quota.is_some_and(|quota| after.total >= quota) {
        return Err(HealthError::StillFull { size: after });
    }
    for Alarm { member, .. } in &full {
        let alarm = format!(r#"{{"action":"DEACTIVATE","memberID":"{member}","alarm":"{NOSPACE}"}}"#);
        gateway.ask("maintenance/alarm", &alarm, TIMEOUT)?;
    }
    Ok(Compacted { revision, before: before.size(), after, disarmed: !full.is_empty() })
}

pub(super) struct Gateway<'a> {
    pub(super) endpoint: &'a str,
    /// Of a user, where authentication is on.
    pub(super) token: Option<&'a str>,
}

impl Gateway<'_> {
    fn status(&self) -> Result<Status, HealthError> {
        self.parse(self.ask("maintenance/status", "{}", TIMEOUT)?)
    }

    fn alarms(&self) -> Result<Vec<Alarm>, HealthError> {
        let Alarms { alarms } = self.parse(self.ask("maintenance/alarm", r#"{"action":"GET"}"#, TIMEOUT)?)?;
        Ok(alarms)
    }

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    header: Header,
    #[serde(deserialize_with = "number")]
    db_size: u64,
    #[serde(deserialize_with = "number", default)]
    db_size_in_use: u64,
    #[serde(deserialize_with = "number", default)]
    db_size_quota: u64,
}

impl Status {
    fn size(&self) -> DbSize {
        let quota = Some(self.db_size_quota).filter(|quota| *quota > 0);
        DbSize { total: self.db_size, in_use: self.db_size_in_use, quota }
    }
}

#[derive(Deserialize)]
struct Header {
    #[serde(deserialize_with = "number")]
    revision: i64,
}

#[derive(Deserialize)]
struct Alarms {
    #[serde(default)]
    alarms: Vec<Alarm>,
}

#[derive(Deserialize)]
struct Alarm {
    #[serde(rename = "memberID", deserialize_with = "number", default)]
    member: u64,
    alarm: String,
}
