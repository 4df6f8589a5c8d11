//! A server's SSH secrets, sealed for the one column they are kept in.

use muster_shared::{
    id::{OrgId, ServerId, SshKeyPairId},
    seal::{Place, SealError},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::connection::{SshAuth, SshLogin};
use crate::keyring::Keyring;

/// SSH secrets as the database keeps them. Beside a key, the password is the one that sudo asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealedAuth {
    pub password: Option<Vec<u8>>,
    pub private_key: Option<Vec<u8>>,
    pub key_passphrase: Option<Vec<u8>>,
    /// The organisation's key pair that takes the place of a private key.
    pub key_pair: Option<SshKeyPairId>,
}

const PASSWORD: &str = "ssh_password_sealed";
const PRIVATE_KEY: &str = "ssh_private_key_sealed";
const KEY_PASSPHRASE: &str = "ssh_key_passphrase_sealed";

/// Seals `login` for the server's row. What it does not have is cleared.
pub(super) fn seal(keyring: &Keyring, org: OrgId, server: ServerId, login: &SshLogin) -> Result<SealedAuth, SealError> {
    let (org, row) = (org.to_string(), server.to_string());
    let seal = |column, secret: &SecretString| {
        keyring.seal(&place(&org, &row, column), secret.expose_secret().as_bytes()).map(Some)
    };
    let seal_any =
        |column, secret: &Option<SecretString>| secret.as_ref().map_or(Ok(None), |secret| seal(column, secret));
    Ok(match login {
        SshLogin::Own(SshAuth::Password(password)) => {
            SealedAuth { password: seal(PASSWORD, password)?, ..SealedAuth::default() }
        }
        SshLogin::Own(SshAuth::Key { private_key, passphrase, sudo_password }) => SealedAuth {
            password: seal_any(PASSWORD, sudo_password)?,
            private_key: seal(PRIVATE_KEY, private_key)?,
            key_passphrase: seal_any(KEY_PASSPHRASE, passphrase)?,
            key_pair: None,
        },
        SshLogin::KeyPair { id, sudo_password } => {
            SealedAuth { password: seal_any(PASSWORD, sudo_password)?, key_pair: Some(*id), ..SealedAuth::default() }
        }
    })
}

/// Opens what [`seal`] sealed for the same row; `None` where nothing is kept. `pair_key` is the private key of the key
/// pair that the row refers to.
pub(super) fn open(
    keyring: &Keyring,
    org: OrgId,
    server: ServerId,
    sealed: &SealedAuth,
    pair_key: Option<SecretString>,
) -> Result<Option<SshAuth>, SealError> {
    let (org, row) = (org.to_string(), server.to_string());
    let open = |column, sealed: &[u8]| {
        let opened = keyring.open(&place(&org, &row, column), sealed)?;
        let text = std::str::from_utf8(&opened).map_err(|_| SealError::Malformed)?;
        Ok::<_, SealError>(SecretString::from(text.to_owned()))
    };
    if let Some(private_key) = pair_key {
        let sudo_password = sealed.password.as_deref().map(|sealed| open(PASSWORD, sealed)).transpose()?;
        return Ok(Some(SshAuth::Key { private_key, passphrase: None, sudo_password }));
    }
    if let Some(private_key) = &sealed.private_key {
        let passphrase = sealed.key_passphrase.as_deref().map(|sealed| open(KEY_PASSPHRASE, sealed)).transpose()?;
        let sudo_password = sealed.password.as_deref().map(|sealed| open(PASSWORD, sealed)).transpose()?;
        return Ok(Some(SshAuth::Key { private_key: open(PRIVATE_KEY, private_key)?, passphrase, sudo_password }));
    }
    sealed.password.as_deref().map(|sealed| open(PASSWORD, sealed).map(SshAuth::Password)).transpose()
}

fn place<'a>(organization: &'a str, row: &'a str, column: &'a str) -> Place<'a> {
    Place { organization, table: "servers", row, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn ciphertexts_open_in_their_own_row_column_and_organization_only() {
        let keyring = Keyring::of_key(7);
        let (org, server) = (OrgId::generate(), ServerId::generate());
        let auth = SshAuth::Key {
            private_key: secret("the key"),
            passphrase: Some(secret("the phrase")),
            sudo_password: Some(secret("the password")),
        };
        let sealed = seal(&keyring, org, server, &auth.into()).expect("sealed");
        let Some(SshAuth::Key { private_key, passphrase, sudo_password }) =
            open(&keyring, org, server, &sealed, None).expect("opened")
        else {
            panic!("a key was sealed");
        };
        assert_eq!(private_key.expose_secret(), "the key");
        assert_eq!(passphrase.expect("a phrase").expose_secret(), "the phrase");
        assert_eq!(sudo_password.expect("a password").expose_secret(), "the password");
        let refused = |org, server, sealed| open(&keyring, org, server, sealed, None).err();
        assert_eq!(refused(OrgId::generate(), server, &sealed), Some(SealError::Refused));
        assert_eq!(refused(org, ServerId::generate(), &sealed), Some(SealError::Refused));
        let swapped = SealedAuth {
            private_key: sealed.key_passphrase.clone(),
            key_passphrase: sealed.private_key.clone(),
            ..SealedAuth::default()
        };
        assert_eq!(refused(org, server, &swapped), Some(SealError::Refused));
        let moved = SealedAuth { password: sealed.private_key.clone(), ..SealedAuth::default() };
        assert_eq!(refused(org, server, &moved), Some(SealError::Refused));
    }
}
