//! PEM files of TLS to the stores, read and checked once at the start: a wrong one is a wrong setting, not a connection that
//! fails later. A renewed file takes effect with the next start.

use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::ConfigError;

/// The settings that name the files of one store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsSettings {
    pub ca: &'static str,
    pub client_cert: &'static str,
    pub client_key: &'static str,
}

/// What stands in the files, in PEM; checked.
pub(crate) struct TlsFiles {
    /// Certificate authorities that a server's certificate is checked against.
    pub ca: Option<Vec<u8>>,
    /// Certificate chain and private key that we show to the server.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsSettings {
    /// The first of the settings that is given; for stores that are not reached by TLS, where none of them makes sense.
    pub(crate) fn given(
        &self,
        ca: Option<&Path>,
        client_cert: Option<&Path>,
        client_key: Option<&Path>,
    ) -> Option<&'static str> {
        let settings = [(self.ca, ca), (self.client_cert, client_cert), (self.client_key, client_key)];
        settings.iter().find(|(_, path)| path.is_some()).map(|(setting, _)| *setting)
    }

    /// Reads and checks the files. Errors: one is missing or no PEM, a certificate without its key or the other way round,
    /// or a key that is not the certificate's.
    pub(crate) fn read(
        &self,
        ca: Option<&Path>,
        client_cert: Option<&Path>,
        client_key: Option<&Path>,
    ) -> Result<TlsFiles, ConfigError> {
        let ca = ca.map(|path| authorities(self.ca, path)).transpose()?;
        let client = match (client_cert, client_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(self.client(cert, key)?),
            (Some(_), None) => {
                return Err(ConfigError::new(
                    self.client_key,
                    format!("is needed with {}", self.client_cert),
                ));
            }
            (None, Some(_)) => {
                return Err(ConfigError::new(
                    self.client_cert,
                    format!("is needed with {}", self.client_key),
                ));
            }
        };
        Ok(TlsFiles { ca, client })
    }

    fn client(&self, cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), ConfigError> {
        let (chain_pem, chain) = certificates(self.client_cert, cert)?;
        let key_pem = read_file(self.client_key, key)?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
            ConfigError::new(self.client_key, format!("{} holds no private key in PEM", key.display()))
        })?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
            ConfigError::new(self.client_key, format!("does not fit the certificate: {error}"))
        })?;
        Ok((chain_pem, key_pem))
    }
}

/// Reads a secret that stands in a file by itself; a line end behind it is not part of it.
pub(crate) fn read_secret(setting: &str, path: &Path) -> Result<String, ConfigError> {
    let text = String::from_utf8(read_file(setting, path)?)
        .map_err(|_| ConfigError::new(setting, format!("{} is no text", path.display())))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.contains(['\r', '\n', '\0']) {
        return Err(ConfigError::new(setting, format!("{} does not hold one line of text", path.display())));
    }
    Ok(text.to_owned())
}

fn authorities(setting: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let (pem, certificates) = certificates(setting, path)?;
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| {
            ConfigError::new(
                setting,
                format!("{} holds a certificate that cannot be used: {error}", path.display()),
            )
        })?;
    }
    Ok(pem)
}

fn certificates(setting: &str, path: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), ConfigError> {
    let pem = read_file(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok((pem, found)),
        _ => Err(ConfigError::new(setting, format!("{} holds no certificate in PEM", path.display()))),
    }
}

fn read_file(setting: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::new(setting, format!("{}: {error}", path.display())))
}
