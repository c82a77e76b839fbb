//! The server's side of TLS, from PEM files.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{ConfigError, invalid};

/// Whatever is wrong with the files is wrong with the settings that name them.
pub fn load(certificates: &Path, key: &Path) -> Result<rustls::ServerConfig, ConfigError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        Ok(_) => return unfit("tls_cert", certificates, "certificates", &pem::Error::NoItemsFound),
        Err(error) => return unfit("tls_cert", certificates, "certificates", &error),
    };
    let key = match PrivateKeyDer::from_pem_file(key) {
        Ok(key) => key,
        Err(error) => return unfit("tls_key", key, "a private key", &error),
    };
    rustls::ServerConfig::builder_with_provider(crate::wecom::tls::provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .or_else(|error| invalid(format!("tls_cert and tls_key can't be used together: {error}")))
}

fn unfit<T>(setting: &str, path: &Path, what: &str, error: &pem::Error) -> Result<T, ConfigError> {
    let shown = path.display();
    match error {
        pem::Error::Io(error) => invalid(format!("{setting}: {shown} can't be read: {error}")),
        error => invalid(format!("{setting}: {shown} is not a PEM file with {what}: {error}")),
    }
}
