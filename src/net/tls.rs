//! TLS of a listener: its certificate, and whose client certificates it accepts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::{error, info};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files of a listener, PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The section of their settings, `server` or `admin`.
    pub section: &'static str,
    /// `tls_cert`: the certificate, and those between it and the root.
    pub cert: PathBuf,
    /// `tls_key`
    pub key: PathBuf,
    /// `tls_client_ca`: a client must show a certificate that one of these signed.
    pub client_ca: Option<PathBuf>,
}

/// Files that TLS cannot be made of: which setting, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {problem}")]
pub struct TlsError {
    setting: String,
    problem: String,
}

/// What stands in the files.
#[derive(Debug)]
struct Contents {
    cert: String,
    key: SecretString,
    client_ca: Option<String>,
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.cert == other.cert
            && self.key.expose_secret() == other.key.expose_secret()
            && self.client_ca == other.client_ca
    }
}

/// The TLS of a listener.
pub struct Tls {
    files: Files,
    /// What the files held when they were last looked at, good or bad.
    seen: Mutex<Result<Contents, TlsError>>,
    in_use: RwLock<InUse>,
}

/// What new connections get.
struct InUse {
    acceptor: TlsAcceptor,
    /// When the first of the certificates in the file ends, in seconds since the epoch; `None` where
    /// that cannot be read.
    ends: Option<i64>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When TLS cannot be made of them.
    pub fn open(files: Files) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let in_use = RwLock::new(files.in_use(&contents)?);
        Ok(Self { files, seen: Mutex::new(Ok(contents)), in_use })
    }

    /// Begins the handshake of a new connection, with the certificate of now.
    pub fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner).acceptor.accept(stream)
    }

    /// When the certificate in use ends, or another in its file, in seconds since the epoch.
    pub fn ends(&self) -> Option<i64> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner).ends
    }

    /// Follows the files, for as long as it is polled.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || tls.look()).await {
                error!(%error, "the files of TLS are no longer looked at");
                return;
            }
        }
    }

    /// Takes the files as they are now, if they have changed and are right.
    fn look(&self) {
        let found = self.files.read();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return;
        }
        *seen = found;
        let in_use = match &*seen {
            Ok(contents) => self.files.in_use(contents),
            Err(error) => Err(error.clone()),
        };
        match in_use {
            Ok(in_use) => {
                *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = in_use;
                info!(listener = self.files.section, "new connections get the new certificate");
            }
            Err(error) => error!(
                cause = %error,
                "the new certificate cannot be used; the one before stays in use"
            ),
        }
    }
}

impl Files {
    fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            cert: self.read_file("tls_cert", &self.cert)?,
            key: self.read_file("tls_key", &self.key)?.into(),
            client_ca: match &self.client_ca {
                Some(file) => Some(self.read_file("tls_client_ca", file)?),
                None => None,
            },
        })
    }

    fn read_file(&self, setting: &str, file: &Path) -> Result<String, TlsError> {
        std::fs::read_to_string(file).map_err(|error| {
            self.error(setting, format!("cannot read `{}`: {error}", file.display()))
        })
    }

    fn in_use(&self, contents: &Contents) -> Result<InUse, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certs = self.certificates("tls_cert", &self.cert, &contents.cert)?;
        let ends = certs.iter().filter_map(end).min();
        let key = PrivateKeyDer::from_pem_slice(contents.key.expose_secret().as_bytes());
        let key = key.map_err(|_| {
            self.error("tls_key", format!("no private key (PEM) in `{}`", self.key.display()))
        })?;
        let unusable = |error: rustls::Error| self.unusable(&error);
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let config = match self.client_ca.as_deref().zip(contents.client_ca.as_deref()) {
            Some((file, ca)) => {
                config.with_client_cert_verifier(self.verifier(file, ca, provider)?)
            }
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(certs, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(InUse { acceptor: Arc::new(config).into(), ends })
    }

    /// Demands a certificate that one of these has signed.
    fn verifier(
        &self,
        file: &Path,
        ca: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let setting = "tls_client_ca";
        let mut roots = RootCertStore::empty();
        for root in self.certificates(setting, file, ca)? {
            roots.add(root).map_err(|error| self.error(setting, in_file(file, &error)))?;
        }
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(|error| self.error(setting, in_file(file, &error)))
    }

    fn certificates(
        &self,
        setting: &str,
        file: &Path,
        text: &str,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        // What cannot be read is not repeated: it may be a key in the wrong file.
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let certificates: Vec<_> = Result::unwrap_or_default(certificates);
        if certificates.is_empty() {
            let problem = format!("no certificate (PEM) in `{}`", file.display());
            return Err(self.error(setting, problem));
        }
        Ok(certificates)
    }

    fn unusable(&self, error: &rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                let (key, cert) = (self.key.display(), self.cert.display());
                self.error("tls_key", format!("`{key}` is not the key of `{cert}`"))
            }
            error => self.error("tls_cert", in_file(&self.cert, error)),
        }
    }

    fn error(&self, setting: &str, problem: String) -> TlsError {
        TlsError { setting: format!("{}.{setting}", self.section), problem }
    }
}

/// When a certificate ends.
fn end(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn in_file(file: &Path, error: &dyn std::error::Error) -> String {
    format!("`{}`: {error}", file.display())
}
