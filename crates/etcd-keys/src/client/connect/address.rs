//! Endpoints as people write them. Never tries to reach one.

use tonic::codegen::http::uri::Authority;
use tonic::transport::Uri;

/// One endpoint, as etcd-client is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// With `http`, whether it is encrypted or not.
    pub(super) url: String,
    /// As it was given.
    pub(super) shown: String,
    pub(super) is_encrypted: bool,
}

/// The endpoints of a list whose items may be lists with commas, as in `ETCD_ENDPOINTS`. `host:port` alone means TLS if
/// there are settings for TLS.
///
/// # Errors
/// What is wrong with the first invalid endpoint, or that there are none.
pub(super) fn parse(endpoints: &[String], has_tls: bool) -> Result<Vec<Address>, String> {
    let items = endpoints.iter().flat_map(|item| item.split(',')).map(str::trim).filter(|item| !item.is_empty());
    let addresses = items.map(|item| address(item, has_tls)).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() { Err("no endpoint is given".to_owned()) } else { Ok(addresses) }
}

impl Address {
    pub(super) fn authority(&self) -> Option<Authority> {
        self.url.parse::<Uri>().ok()?.authority().cloned()
    }
}

/// # Errors
/// Why it is not a valid endpoint.
pub(super) fn address(endpoint: &str, has_tls: bool) -> Result<Address, String> {
    check(endpoint)?;
    let (scheme, rest) = endpoint.split_once("://").unwrap_or((if has_tls { "https" } else { "http" }, endpoint));
    Ok(Address { url: format!("http://{rest}"), shown: endpoint.to_owned(), is_encrypted: scheme == "https" })
}

/// The endpoints for messages: without users and passwords.
pub(super) fn shown(endpoints: &[String]) -> String {
    let hide = |item: &str| match item.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => item.to_owned(),
    };
    endpoints.iter().flat_map(|item| item.split(',')).map(hide).collect::<Vec<_>>().join(",")
}

/// Whether it is one endpoint; why not.
pub(super) fn check(endpoint: &str) -> Result<(), String> {
    if endpoint.contains('@') {
        return Err("an endpoint has a user in its URL: those have a setting of their own".to_owned());
    }
    let refuse = |why: &str| Err(format!("`{}` is not a valid endpoint: {why}", endpoint.escape_debug()));
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    if !matches!(scheme, "http" | "https") {
        return refuse("it must begin with http:// or https://, or be host:port");
    }
    let uri = match format!("{scheme}://{rest}").parse::<Uri>() {
        Ok(uri) => uri,
        Err(error) => return refuse(&error.to_string()),
    };
    if uri.host().is_none_or(str::is_empty) {
        return refuse("it names no host");
    }
    // The parser takes any port; hyper would then use port 80.
    if uri.port_u16().is_none() && uri.authority().is_some_and(|authority| authority.as_str() != authority.host()) {
        return refuse("its port is not a number from 0 to 65535");
    }
    if uri.port_u16().is_none() && !endpoint.contains("://") {
        return refuse("it names no port");
    }
    // The parser drops a fragment, and with it a port behind it.
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || rest.contains('#') {
        return refuse("nothing may follow the port");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_as_people_write_them() {
        let given = ["http://a:1, b:2".to_owned(), String::new(), "[::1]:2379/".to_owned()];
        let urls =
            |has_tls| parse(&given, has_tls).unwrap().into_iter().map(|a| (a.url, a.is_encrypted)).collect::<Vec<_>>();
        let expected = [("http://a:1", false), ("http://b:2", false), ("http://[::1]:2379/", false)];
        assert_eq!(urls(false), expected.map(|(url, encrypted)| (url.to_owned(), encrypted)));
        let expected = [("http://a:1", false), ("http://b:2", true), ("http://[::1]:2379/", true)];
        assert_eq!(
            urls(true),
            expected.map(|(url, encrypted)| (url.to_owned(), encrypted)),
            "as the scheme says, if there is one"
        );
        assert!(parse(&["https://a:1".to_owned()], false).unwrap()[0].is_encrypted);
    }

    #[test]
    fn invalid_endpoints_are_refused_with_the_reason() {
        for (endpoint, why) in [
            ("", "no endpoint is given"),
            (" , ", "no endpoint is given"),
            ("ftp://a:1", "must begin with http"),
            ("http://", "not a valid endpoint: "),
            ("http://:2379", "names no host"),
            ("http://a:99999", "port is not a number"),
            ("a:", "port is not a number"),
            ("a b:1", "not a valid endpoint: "),
            ("localhost", "names no port"),
            ("[::1]", "names no port"),
            ("http://a:1/v3", "nothing may follow the port"),
            ("http://a#b:1", "nothing may follow the port"),
        ] {
            let error = parse(&[endpoint.to_owned()], false).unwrap_err();
            assert!(error.contains(why), "{endpoint}: {error}");
        }
        // What fuzzing found: a message moves no terminal.
        let error = parse(&["http://a\u{1a}:1".to_owned()], false).unwrap_err();
        assert!(error.starts_with("`http://a\\u{1a}:1` is not a valid endpoint: "), "{error}");
        let error = parse(&["http://root:secret@a:1".to_owned()], false).unwrap_err();
        assert!(error.contains("setting of their own") && !error.contains("secret"), "{error}");
    }
}
