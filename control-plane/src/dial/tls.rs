//! TLS towards other people's services.

use muster_shared::tls;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_pki_types::CertificateDer;

/// Settings that trust the public authorities and these, and speak HTTP/1.1.
///
/// # Errors
/// When one of them is no certificate.
pub fn trusting(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let mut settings = ClientConfig::builder_with_provider(tls::crypto())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(settings)
}
