//! The second factor: a time-based code, and recovery codes for whoever loses the device.
//!
//! A secret is sealed, asked for only once its first code was shown, and each step's code is good once. Turning it off
//! needs the password and a code.

pub mod code;

use muster_shared::{id::UserId, seal::Place};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::{
    access::{Act, Principal},
    audit::{Action, Record},
    error::{Error, ErrorKind},
    keyring::Keyring,
    members::{Member, may_give},
    percent,
    store::Store,
    users::{Account, Tries, Try, UserChange, Users},
};

/// What RFC 4226 (4, R6) recommends.
const SECRET_BYTES: usize = 20;
/// Recovery codes given out, each good once.
pub const RECOVERY_CODES: usize = 10;
const RECOVERY_CODE_BYTES: usize = 10;
/// Who issues codes, as authenticator apps show it.
const ISSUER: &str = "Muster";

/// A second factor that is being set up, shown once.
#[derive(Debug)]
pub struct Enrolling {
    /// Base32.
    pub secret: SecretString,
    /// What authenticator apps read from a QR code.
    pub otpauth_uri: SecretString,
}

/// The second factors of every user. Clones share the store.
#[derive(Debug, Clone)]
pub struct Totp {
    store: Store,
    keyring: Keyring,
    users: Users,
    tries: Tries,
}

impl Totp {
    /// The factors in `store`, whose secrets `keyring` opens.
    #[must_use]
    pub fn new(store: Store, keyring: Keyring, users: Users, tries: Tries) -> Self {
        Self { store, keyring, users, tries }
    }

    /// Makes a new secret for the caller, who tells their password. It counts once [`Self::confirm`] saw its first code.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for a wrong password; [`ErrorKind::Precondition`] where a factor is on already.
    pub async fn enroll(
        &self,
        caller: &Principal,
        act: &Act,
        password: Option<&SecretString>,
    ) -> Result<Enrolling, Error> {
        caller.require_whole()?;
        let account = self.users.prove(caller, act, password).await?;
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        random(secret.as_mut())?;
        let sealed = self.seal(account.id, secret.as_ref())?;
        if !self.store.begin_totp(account.id, &sealed).await? {
            return Err(already_on());
        }
        let text = code::base32(secret.as_ref());
        let uri = format!("otpauth://totp/{ISSUER}:{}?secret={text}&issuer={ISSUER}", percent::encoded(&account.name));
        Ok(Enrolling { secret: SecretString::from(text), otpauth_uri: SecretString::from(uri) })
    }

    /// Turns the factor on with its first code, and answers recovery codes, once.
    ///
    /// # Errors
    /// [`ErrorKind::Precondition`] where none is being set up; [`ErrorKind::Invalid`] for a wrong code.
    pub async fn confirm(&self, caller: &Principal, act: &Act, given: &str) -> Result<Vec<SecretString>, Error> {
        caller.require_whole()?;
        let account = self.store.account(caller.user_id).await?.ok_or_else(|| Error::not_found("user"))?;
        if account.has_totp {
            return Err(already_on());
        }
        let Some(sealed) = &account.totp_secret_sealed else {
            let detail = "no second factor is being set up: enrol first";
            return Err(Error::new(ErrorKind::Precondition, "totp_not_enrolled", detail));
        };
        let secret = self.open(account.id, sealed)?;
        let step = code::matching_step(&secret, given.trim(), act.at_us).ok_or_else(wrong_code)?;
        let mut codes = Vec::with_capacity(RECOVERY_CODES);
        for _ in 0..RECOVERY_CODES {
            let mut bytes = Zeroizing::new([0; RECOVERY_CODE_BYTES]);
            random(bytes.as_mut())?;
            codes.push(SecretString::from(grouped(&code::base32(bytes.as_ref()))));
        }
        let hashes: Vec<_> = codes.iter().map(|code| recovery_hash(code.expose_secret())).collect();
        let record = Record::new(act, Action::UserTotpEnabled, account.id, &account.name);
        if self.store.confirm_totp(account.id, sealed, step, &hashes, &record).await? {
            Ok(codes)
        } else {
            Err(Error::new(ErrorKind::Conflict, "conflict", "the second factor was changed meanwhile: enrol again"))
        }
    }

    /// Turns the caller's factor off.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for a wrong password or code; [`ErrorKind::Precondition`] where it is off.
    pub async fn disable(
        &self,
        caller: &Principal,
        act: &Act,
        password: Option<&SecretString>,
        given: &str,
    ) -> Result<(), Error> {
        caller.require_whole()?;
        let account = self.users.prove(caller, act, password).await?;
        if !account.has_totp {
            return Err(off());
        }
        let attempt = Try::new(&account.name, act.origin.address);
        self.tries.begin(attempt, act.at_us)?;
        if !self.accepts(&account, given, act.at_us).await? {
            return Err(Error::new(ErrorKind::PermissionDenied, "wrong_code", "the code is wrong or was used"));
        }
        self.tries.succeeded(attempt);
        let record = Record::new(act, Action::UserTotpDisabled, account.id, &account.name);
        Ok(self.store.disable_totp(account.id, &record).await?)
    }

    /// Takes the factor of a member who lost it away, as `by` may; their sessions end. Whoever signs in as them afterwards
    /// has proven the first factor only, so an admin should know whom they talk to.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where it is off, for the caller's own, and for a user of other
    /// organisations, too; [`ErrorKind::PermissionDenied`]: only an owner changes owners.
    pub async fn reset(&self, act: &Act, by: &Principal, user: UserId) -> Result<Member, Error> {
        let not_there = || Error::not_found("user");
        let member = self.store.member(act.org_id, user).await?.ok_or_else(not_there)?;
        if user == by.user_id {
            let detail = "this is your own second factor: POST /api/v1/me/totp/disable turns it off";
            return Err(Error::new(ErrorKind::Precondition, "own_factor", detail));
        }
        may_give(by, member.role)?;
        if !member.has_totp {
            return Err(off());
        }
        let record = Record::new(act, Action::UserTotpReset, user, "");
        match self.store.reset_totp(user, by.role, record).await? {
            UserChange::Done => self.store.member(act.org_id, user).await?.ok_or_else(not_there),
            refused => Err(refused.into_error()),
        }
    }

    /// Whether `given` is a code that is good now and was not used before, or a recovery code that was not; it is used by
    /// that.
    ///
    /// # Errors
    /// [`Error`] when the store fails or the secret doesn't open.
    pub async fn accepts(&self, account: &Account, given: &str, now_us: i64) -> Result<bool, Error> {
        let Some(sealed) = account.totp_secret_sealed.as_deref().filter(|_| account.has_totp) else {
            return Ok(false);
        };
        let secret = self.open(account.id, sealed)?;
        if let Some(step) = code::matching_step(&secret, given.trim(), now_us) {
            return Ok(self.store.use_totp_step(account.id, step).await?);
        }
        Ok(self.store.use_recovery_code(account.id, &recovery_hash(given), now_us).await?)
    }

    fn seal(&self, user: UserId, secret: &[u8]) -> Result<Vec<u8>, Error> {
        self.keyring.seal(&place(&user.to_string()), secret).map_err(Error::internal)
    }

    fn open(&self, user: UserId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.keyring.open(&place(&user.to_string()), sealed).map_err(Error::internal)
    }
}

/// Users stand above organisations.
fn place(user: &str) -> Place<'_> {
    Place { organization: "-", table: "users", row: user, column: "totp_secret_sealed" }
}

fn random(bytes: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new().fill(bytes).map_err(|_| Error::internal("the system has no randomness"))
}

/// Four characters at a time, as people read them.
fn grouped(text: &str) -> String {
    let groups: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

/// What is kept of a recovery code. It has 80 random bits, so that a plain hash is not worth guessing.
fn recovery_hash(given: &str) -> Vec<u8> {
    let plain: String = given.chars().filter(char::is_ascii_alphanumeric).map(|it| it.to_ascii_uppercase()).collect();
    digest(&SHA256, plain.as_bytes()).as_ref().to_vec()
}

fn already_on() -> Error {
    Error::new(ErrorKind::Precondition, "totp_on", "a second factor is on already: turn it off first")
}

fn off() -> Error {
    Error::new(ErrorKind::Precondition, "totp_off", "there is no second factor")
}

fn wrong_code() -> Error {
    Error::invalid("wrong_code", "the code is wrong: check that the device's clock is right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_are_read_as_people_write_them() {
        assert_eq!(grouped("ABCDEFGHIJKLMNOP"), "ABCD-EFGH-IJKL-MNOP");
        assert_eq!(recovery_hash("abcd efgh-IJKL-mnop "), recovery_hash("ABCDEFGHIJKLMNOP"));
        assert_ne!(recovery_hash("ABCDEFGHIJKLMNOQ"), recovery_hash("ABCDEFGHIJKLMNOP"));
    }
}
