//! TLS: which certificates are trusted, who we are, the handshake, and what exactly went wrong in it. etcd-client's own
//! TLS tells no causes and cannot leave out the verification; so its channel is given connections that are made here.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tower::BoxError;

/// How a cluster is reached by TLS. `default()` trusts the CAs of the system and has no client certificate.
#[derive(Clone, Default)]
pub struct Tls {
    ca: Option<Pem>,
    identity: Option<(Pem, Pem)>,
    skips_verification: bool,
}

/// Certificates or a key, in PEM.
#[derive(Clone)]
enum Pem {
    Text(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    /// Reads what `what` is in messages.
    fn read(&self, what: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                fs::read(path).map_err(|error| format!("cannot read {what} `{}`: {error}", path.display()))
            }
        }
    }
}

impl Tls {
    /// Trusts these CA certificates (PEM) instead of those of the system.
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Pem::Text(pem.into()));
        self
    }

    /// The same from a file, which is read when a connection is made.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Pem::File(path.into()));
        self
    }

    /// Shows this certificate and proves it by its key (both PEM) to servers that ask who we are.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::Text(certificate.into()), Pem::Text(key.into())));
        self
    }

    /// The same from files, which are read when a connection is made.
    #[must_use]
    pub fn client_certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Takes any server for the right one: whoever is on the way can read and change everything.
    #[must_use]
    pub fn insecure_skip_verify(mut self) -> Self {
        self.skips_verification = true;
        self
    }

    /// What is wrong with the certificates or the key, as text.
    pub(crate) fn connector(&self) -> Result<Connector, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = if self.skips_verification {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(&key.read("the client key")?);
                let key = key.map_err(|error| format!("the client key is not a valid private key in PEM: {error}"))?;
                let certificates =
                    certificates("the client certificate", &certificate.read("the client certificate")?)?;
                let unfit = |error| format!("the client certificate cannot be used with its key: {error}");
                builder.with_client_auth_cert(certificates, key).map_err(unfit)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // rustls does not look at the certificate of a session that it resumes: it may have expired since.
        config.resumption = Resumption::disabled();
        Ok(Connector { tls: Arc::new(config).into(), has_identity: self.identity.is_some() })
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(pem) => {
                for certificate in certificates("the CA file", &pem.read("the CA file")?)? {
                    roots
                        .add(certificate)
                        .map_err(|error| format!("the CA file has an unusable certificate: {error}"))?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() { Err("this system trusts no CA, and none is given".to_owned()) } else { Ok(roots) }
    }
}

/// Never shows the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("has_ca", &self.ca.is_some())
            .field("has_client_certificate", &self.identity.is_some())
            .field("skips_verification", &self.skips_verification)
            .finish()
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(format!("{what} has no certificate in PEM")),
        parsed => parsed.map_err(|error| format!("{what} is not valid PEM: {error}")),
    }
}

/// Why a connection by TLS could not be made, or was ended by the server. `Display` is a lowercase fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No CA that we trust has signed the server's certificate.
    #[error("no trusted CA has signed the server's certificate")]
    UnknownIssuer,
    /// The server's certificate has expired.
    #[error("the server's certificate has expired")]
    Expired,
    /// The server's certificate is not valid yet, or our clock is wrong.
    #[error("the server's certificate is not valid yet")]
    NotValidYet,
    /// The server's certificate is for other hosts.
    #[error("the server's certificate is not for `{0}`")]
    WrongHost(String),
    /// The server wants a client certificate, and has got none.
    #[error("the server wants a client certificate")]
    NoClientCertificate,
    /// The server does not accept the client certificate.
    #[error("the server does not accept the client certificate ({0})")]
    ClientCertificateRefused(String),
    /// The server speaks plain text where we begin with TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The server speaks TLS where we begin with plain text.
    #[error("the server speaks TLS only")]
    TlsOnly,
    /// Anything else, in rustls' words.
    #[error("TLS failed: {0}")]
    Other(String),
}

impl TlsError {
    fn of(error: &io::Error, host: &str, has_identity: bool) -> Option<Self> {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};

        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match error {
            // The second is what a CA of the same name with another key gets.
            InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => Self::UnknownIssuer,
            InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => Self::Expired,
            InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
                Self::NotValidYet
            }
            InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                Self::WrongHost(host.to_owned())
            }
            AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate)
                if !has_identity =>
            {
                Self::NoClientCertificate
            }
            AlertReceived(alert) if has_identity => Self::ClientCertificateRefused(format!("{alert:?}")),
            InvalidMessage(_) => Self::NotTls,
            other => Self::Other(other.to_string()),
        })
    }
}

/// How long a server may take to say its first word after the handshake. By TLS 1.3 it refuses a client's certificate only
/// then; were we to speak before, its refusal could be lost with the connection. etcd speaks first.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// Makes connections by TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    has_identity: bool,
}

impl Connector {
    /// Connects to a host and a port by name.
    pub(crate) async fn connect(self, uri: Uri) -> Result<TokioIo<Stream>, BoxError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let socket = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(host.clone())?;
        let spoken = async {
            let mut inner = self.tls.connect(name, socket).await?;
            let mut first = vec![0; 1024];
            let read = match timeout(FIRST_WORD, inner.read(&mut first)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read?,
                Err(_) => 0,
            };
            first.truncate(read);
            Ok(TokioIo::new(Stream { first: first.into(), inner }))
        };
        spoken.await.map_err(|error| match TlsError::of(&error, &host, self.has_identity) {
            Some(failed) => failed.into(),
            // A server of plain text may just hang up at what it takes for nonsense.
            None if error.kind() == io::ErrorKind::UnexpectedEof => TlsError::NotTls.into(),
            None => error.into(),
        })
    }
}

/// A connection by TLS, of which the beginning has been read.
pub(crate) struct Stream {
    /// What was read and not yet handed out.
    first: VecDeque<u8>,
    inner: TlsStream<TcpStream>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let count = buf.remaining().min(self.first.len());
        self.first.drain(..count).for_each(|byte| buf.put_slice(&[byte]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Accepts every certificate; the handshake still proves that the server has its key.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
