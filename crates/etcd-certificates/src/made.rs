//! A certificate that is there already: until when it is good, and for which hosts.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

/// What a certificate says of itself.
pub(crate) struct Made {
    left: Duration,
    hosts: Vec<IpAddr>,
}

impl Made {
    /// `None`: there is no certificate in the file, or one that is not valid now.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let (_, pem) = parse_x509_pem(&text).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let left = certificate.validity().time_to_expiration()?;
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let left = Duration::from_secs(left.whole_seconds().unsigned_abs());
        Some(Self { left, hosts: names.iter().filter_map(address).collect() })
    }

    pub(crate) fn is_good_for(&self, time: Duration) -> bool {
        self.left > time
    }

    pub(crate) fn is_for(&self, hosts: &[IpAddr]) -> bool {
        hosts.iter().all(|host| self.hosts.contains(host))
    }
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else { return None };
    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(*bytes).map(IpAddr::from).ok())
}
