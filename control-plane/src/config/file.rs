//! Files that settings name, read with the settings.

use std::{fs, path::Path};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::SecretString;

/// Longest secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4 * 1024;
/// Largest file of certificates, in bytes.
const MAX_CERTIFICATES_BYTES: u64 = 1024 * 1024;

fn read(path: &str, max_bytes: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{path:?} can't be read: {error}");
    let length = fs::metadata(Path::new(path)).map_err(unreadable)?.len();
    if length > max_bytes {
        return Err(format!("{path:?} is larger than {max_bytes} bytes"));
    }
    fs::read(path).map_err(unreadable)
}

/// A secret, without the white space around it.
pub(super) fn secret_in(path: &str) -> Result<SecretString, String> {
    let text = String::from_utf8(read(path, MAX_SECRET_BYTES)?).map_err(|_| format!("{path:?} is no text"))?;
    let text = text.trim();
    if text.is_empty() { Err(format!("{path:?} is empty")) } else { Ok(SecretString::from(text)) }
}

/// Certificates in PEM, one at least.
pub(super) fn certificates_in(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path, MAX_CERTIFICATES_BYTES)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{path:?} holds no certificates in PEM")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_its_file_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "canary-of-the-provider\n").expect("written");
        let secret = secret_in(path.to_str().expect("UTF-8")).expect("read");
        assert!(!format!("{secret:?}").contains("canary"));
        fs::write(&path, "\n").expect("written");
        assert!(secret_in(path.to_str().expect("UTF-8")).is_err());
        assert!(certificates_in(path.to_str().expect("UTF-8")).is_err());
    }
}
