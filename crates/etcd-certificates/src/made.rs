//! A certificate that is there already: until when it is good, and for which hosts.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::time::ASN1Time;

/// What a certificate says of itself.
pub(crate) struct Made {
    seconds_left: i64,
    hosts: Vec<IpAddr>,
}

impl Made {
    /// `None`: there is no certificate in the file.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let (_, pem) = parse_x509_pem(&text).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let seconds_left = certificate.validity().not_after.timestamp() - ASN1Time::now().timestamp();
        Some(Self { seconds_left, hosts: names.iter().filter_map(address).collect() })
    }

    pub(crate) fn is_good_for(&self, time: Duration) -> bool {
        u64::try_from(self.seconds_left).is_ok_and(|left| left > time.as_secs())
    }

    /// Whole days until it ends; negative if it has ended.
    pub(crate) fn days_left(&self) -> i64 {
        self.seconds_left.div_euclid(24 * 60 * 60)
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
