//! Endpoints as people write them. Never tries to reach one.

use tonic::transport::Uri;

/// The URLs of a list whose items may be lists with commas, as in `ETCD_ENDPOINTS`. `host:port` alone stays
/// as it is: whether it means TLS is decided by the TLS options.
///
/// # Errors
/// What is wrong with the first invalid endpoint, or that there are none.
pub(super) fn parse(endpoints: &[String]) -> Result<Vec<String>, String> {
    let items = endpoints.iter().flat_map(|item| item.split(',')).map(str::trim).filter(|item| !item.is_empty());
    let urls = items.map(|item| check(item).map(|()| item.to_owned())).collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() { Err("no endpoint is given".to_owned()) } else { Ok(urls) }
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
    if scheme == "https" && cfg!(not(any(feature = "tls", feature = "tls-aws-lc"))) {
        return refuse("https needs the feature `tls` of etcd-keys");
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
        assert_eq!(parse(&given).unwrap(), ["http://a:1", "b:2", "[::1]:2379/"]);
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
            #[cfg(not(any(feature = "tls", feature = "tls-aws-lc")))]
            ("https://a:1", "feature `tls`"),
        ] {
            let error = parse(&[endpoint.to_owned()]).unwrap_err();
            assert!(error.contains(why), "{endpoint}: {error}");
        }
        // What fuzzing found: a message moves no terminal.
        let error = parse(&["http://a\u{1a}:1".to_owned()]).unwrap_err();
        assert!(error.starts_with("`http://a\\u{1a}:1` is not a valid endpoint: "), "{error}");
        let error = parse(&["http://root:secret@a:1".to_owned()]).unwrap_err();
        assert!(error.contains("setting of their own") && !error.contains("secret"), "{error}");
    }
}
