//! Switches authentication on in a new cluster, by etcd's JSON gateway. From then on, etcd refuses every request without a
//! user. Keeps no password anywhere.

use etcd_workspace::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use super::health::{Gateway, HealthError};
use crate::random;

/// Seconds that an answer may take.
const TIMEOUT: u64 = 10;

/// The user `root` of a cluster, who can do everything. No form of it is printed.
pub struct Root {
    password: String,
}

impl Root {
    /// The user's name, and the name of the role: etcd's own.
    pub const NAME: &str = ClientConfig::ROOT;

    /// The user's password, 128 random bits.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Makes the user, and switches authentication on for all members.
    pub(crate) fn enable(endpoint: &str) -> Result<Self, HealthError> {
        let password = random::hex().map_err(|error| HealthError::NoRandomBits(error.to_string()))?;
        let gateway = Gateway { endpoint, token: None };
        let calls = [
            ("auth/user/add", json!({ "name": Self::NAME, "password": password })),
            ("auth/user/grant", json!({ "user": Self::NAME, "role": Self::NAME })),
            ("auth/enable", json!({})),
        ];
        for (call, body) in calls {
            gateway.ask(call, &body.to_string(), TIMEOUT)?;
        }
        Ok(Self { password })
    }

    /// Asks the gateway, as this user if it answers nobody else.
    pub(crate) fn ask(
        root: Option<&Self>,
        endpoint: &str,
        call: &'static str,
        body: &str,
        seconds: u64,
    ) -> Result<Value, HealthError> {
        match (Gateway { endpoint, token: None }.ask(call, body, seconds), root) {
            (Err(HealthError::NeedsUser(_)), Some(root)) => {
                let token = root.log_in(endpoint, seconds)?;
                Gateway { endpoint, token: Some(&token) }.ask(call, body, seconds)
            }
            (answer, _) => answer,
        }
    }

    fn log_in(&self, endpoint: &str, seconds: u64) -> Result<String, HealthError> {
        let gateway = Gateway { endpoint, token: None };
        let body = json!({ "name": Self::NAME, "password": self.password });
        let Granted { token } = gateway.parse(gateway.ask("auth/authenticate", &body.to_string(), seconds)?)?;
        Ok(token)
    }
}

#[derive(Deserialize)]
struct Granted {
    token: String,
}
