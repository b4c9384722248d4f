//! Certificates for a local etcd that speaks TLS, and for its clients: a CA of its own, and what the CA signs. Where the
//! files are is etcd-workspace's; nothing here starts or reaches an etcd.

mod made;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use etcd_workspace::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tempfile::NamedTempFile;

use crate::made::Made;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Browsers and many libraries refuse certificates that are valid for much longer.
const VALID_FOR: Duration = Duration::from_secs(365 * DAY.as_secs());
/// Longer than what it signs, so that a program that trusts the CA needs no new copy each year.
const CA_VALID_FOR: Duration = Duration::from_secs(10 * VALID_FOR.as_secs());
/// A server may run for weeks with what it was started with.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(30 * DAY.as_secs());
/// Clocks in containers and virtual machines may be late.
const VALID_SINCE: Duration = DAY;

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate cannot be made or signed.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// Makes the certificates of a server at `host`, for its clients and its peers, and of its clients, unless they are there and are good for a month more.
/// The CA stays as long as it is good. A server at a loopback or wildcard address is also `localhost`, `127.0.0.1` and
/// `::1`. Private keys are for this user only. Calls at the same time wait for each other.
///
/// Returns whether anything was made.
///
/// # Errors
/// If a file cannot be read or written.
pub fn ensure(files: &TlsFiles, host: IpAddr) -> Result<bool, Error> {
    create_private_dir(files.dir()).map_err(failed(files.dir()))?;
    let lock = files.dir().join(".lock");
    let held = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
    let held = held.and_then(|file| file.lock().map(|()| file)).map_err(failed(&lock))?;
    let made = ensure_locked(files, host);
    drop(held);
    made
}

/// Whole days until a certificate ends, negative if it has ended; `None`: there is none in the file.
#[must_use]
pub fn days_left(certificate: &Path) -> Option<i64> {
    Made::read(certificate).map(|made| made.days_left())
}

fn ensure_locked(files: &TlsFiles, host: IpAddr) -> Result<bool, Error> {
    let hosts = [host, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let is_good = |path: &Path, hosts: &[IpAddr]| {
        let made = Made::read(path);
        made.is_some_and(|made| made.is_good_for(RENEWED_BEFORE_END) && made.is_for(hosts))
    };
    let ca_key = files.dir().join("ca-key.pem");
    let ca = if is_good(&files.ca(), &[]) { read_ca(&files.ca(), &ca_key) } else { None };
    let is_new = ca.is_none();
    let ca = match ca {
        Some(ca) => ca,
        None => make_ca(&files.ca(), &ca_key)?,
    };
    let mut was_made = is_new;
    let mut sign = |(certificate, key): (PathBuf, PathBuf), hosts: &[IpAddr]| {
        if is_new || !key.is_file() || !is_good(&certificate, hosts) {
            sign(&ca, hosts, &certificate, &key)?;
            was_made = true;
        }
        Ok::<_, Error>(())
    };
    sign(files.server(), &hosts)?;
    sign(files.peer(), &hosts)?;
    sign(files.client(), &[])?;
    Ok(was_made)
}

type Ca = Issuer<'static, KeyPair>;

/// `None`: it is not there, or damaged.
fn read_ca(certificate: &Path, key: &Path) -> Option<Ca> {
    let key = KeyPair::from_pem(&fs::read_to_string(key).ok()?).ok()?;
    Issuer::from_ca_cert_pem(&fs::read_to_string(certificate).ok()?, key).ok()
}

fn make_ca(certificate: &Path, key_file: &Path) -> Result<Ca, Error> {
    let mut params = valid_for(CA_VALID_FOR);
    params.distinguished_name.push(DnType::CommonName, "a local etcd's CA, made by cargo xtask");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate()?;
    let signed = params.self_signed(&key)?;
    write(key_file, &key.serialize_pem())?;
    write(certificate, &signed.pem())?;
    Ok(Issuer::new(params, key))
}

/// A certificate for a server at these hosts; for a client where there are none. A server is its own gateway's client.
fn sign(ca: &Ca, hosts: &[IpAddr], certificate: &Path, key_file: &Path) -> Result<(), Error> {
    let mut params = valid_for(VALID_FOR);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    if hosts.is_empty() {
        // For etcd the common name is a user. This is none: who has the certificate still needs a user's password.
        params.distinguished_name.push(DnType::CommonName, "a client of a local etcd");
    } else {
        params.distinguished_name.push(DnType::CommonName, "etcd");
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.push(SanType::DnsName("localhost".try_into()?));
        params.subject_alt_names.extend(hosts.iter().map(|&host| SanType::IpAddress(host)));
    }
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, ca)?;
    write(key_file, &key.serialize_pem())?;
    write(certificate, &signed.pem())
}

fn valid_for(time: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    (params.not_before, params.not_after) = ((now - VALID_SINCE).into(), (now + time).into());
    params
}

/// Writes a file whole, for this user only.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let written = NamedTempFile::new_in(dir).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.persist(path).map(drop).map_err(|error| error.error)
    });
    written.map_err(failed(path))
}

/// Creates a directory for what only this user may read: keys, and passwords.
///
/// # Errors
/// If the system refuses.
pub fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn texts(files: &TlsFiles) -> [String; 3] {
        [files.ca(), files.server().0, files.client().1].map(|path| fs::read_to_string(path).unwrap())
    }

    #[test]
    fn what_is_good_stays_and_what_is_not_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles::in_dir(dir.path().join("tls"));
        assert!(ensure(&files, HOST).unwrap());
        let [ca, server, client] = texts(&files);
        assert!(!ensure(&files, HOST).unwrap());
        assert_eq!(texts(&files), [ca.clone(), server.clone(), client.clone()]);
        // Another address: another certificate of the server, by the same CA.
        assert!(ensure(&files, "192.0.2.7".parse().unwrap()).unwrap());
        let [same_ca, other_server, same_client] = texts(&files);
        assert_eq!([&ca, &client], [&same_ca, &same_client]);
        assert_ne!(server, other_server);
        // Nearly over: as if it had been made eleven months ago.
        let soon = || RENEWED_BEFORE_END - DAY / 2;
        let ca_key = files.dir().join("ca-key.pem");
        let issuer = read_ca(&files.ca(), &ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        fs::write(files.client().0, valid_for(soon()).signed_by(&key, &issuer).unwrap().pem()).unwrap();
        assert_eq!(days_left(&files.client().0), Some(29));
        assert!(ensure(&files, HOST).unwrap());
        assert!(days_left(&files.client().0).unwrap() >= 364 && days_left(&files.client().1).is_none());
        // Without its key the CA can sign nothing.
        fs::remove_file(ca_key).unwrap();
        assert!(ensure(&files, HOST).unwrap());
        assert_ne!(texts(&files)[0], ca);
    }

    #[test]
    #[cfg(unix)]
    fn keys_are_for_this_user_only() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles::in_dir(dir.path().join("tls"));
        ensure(&files, HOST).unwrap();
        for path in [files.server().1, files.client().1, files.dir().join("ca-key.pem")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn calls_at_the_same_time_make_one_set() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles::in_dir(dir.path().join("tls"));
        let made: Vec<bool> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| ensure(&files, HOST).unwrap())).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
    }
}
