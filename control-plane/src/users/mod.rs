//! Users: the people who sign in. A user stands above organisations and is a member of at least one; an organisation's
//! admins look after those who are members of nothing else, so that nobody gets into another organisation by changing
//! somebody's password.

mod name;
mod password;
mod throttle;

pub use name::{Email, MAX_EMAIL_BYTES, MAX_USER_NAME_BYTES, UserName};
pub use password::{Cost, MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, PasswordHash, Passwords};
pub use throttle::{ACCOUNT_PACE, MAX_ENTRIES, Pace, SOURCE_PACE, Tries, Try};

use std::sync::Arc;

use muster_shared::id::UserId;
use secrecy::SecretString;
use serde_json::json;

use crate::{
    access::{Act, Credential, Principal, Role},
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    members::{Member, may_give, owners_only},
    oidc::Identity,
    store::{Store, StoreError},
};

/// A user with all that signing in needs.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: UserId,
    pub name: Arc<str>,
    pub email: Option<String>,
    pub password: Option<PasswordHash>,
    pub must_change_password: bool,
    pub totp_secret_sealed: Option<Vec<u8>>,
    /// Whether the second factor was confirmed, and so is asked for.
    pub has_totp: bool,
}

/// What a new user shall be.
#[derive(Debug)]
pub struct UserCreate {
    pub name: UserName,
    pub email: Option<Email>,
    /// To be changed at the first sign-in. Without one the user signs in by other means only.
    pub password: Option<SecretString>,
    pub role: Role,
}

/// A user to be kept.
#[derive(Debug)]
pub struct NewUser {
    pub id: UserId,
    pub name: UserName,
    pub email: Option<Email>,
    pub password: Option<PasswordHash>,
    pub must_change_password: bool,
    pub role: Role,
    /// As an OpenID provider knows them, where that made them a user.
    pub identity: Option<Identity>,
}

/// What about a user shall change.
#[derive(Debug, Default)]
pub struct UserUpdate {
    pub name: Option<UserName>,
    /// `Some(None)` takes the address away.
    pub email: Option<Option<Email>>,
    /// To be changed at the next sign-in.
    pub password: Option<SecretString>,
}

/// The same, ready to be kept.
#[derive(Debug, Default)]
pub struct UserPatch {
    pub name: Option<UserName>,
    pub email: Option<Option<Email>>,
    pub password: Option<PasswordHash>,
}

/// How a change of a user ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserChange {
    Done,
    NotThere,
    /// Who asked is no owner, and it is about one.
    OwnersOnly,
    /// The user is a member of other organisations, too.
    Elsewhere,
}

impl UserChange {
    /// Why nothing was changed.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Done => Error::internal("a change that was made is no error"),
            Self::NotThere => Error::not_found("user"),
            Self::OwnersOnly => owners_only(),
            Self::Elsewhere => {
                let detail = "this user is a member of another organization, too: only they can change their account";
                Error::new(ErrorKind::Precondition, "member_elsewhere", detail)
            }
        }
    }
}

/// The users. Clones share the store.
#[derive(Debug, Clone)]
pub struct Users {
    store: Store,
    events: Events,
    passwords: Passwords,
    tries: Tries,
}

impl Users {
    /// The users in `store`.
    #[must_use]
    pub fn new((store, events): (Store, Events), passwords: Passwords, tries: Tries) -> Self {
        Self { store, events, passwords, tries }
    }

    /// Makes a user who is a member of the organisation acted in, as `by` may.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where the name or e-mail address is somebody's; [`ErrorKind::Invalid`] for a weak password;
    /// [`ErrorKind::PermissionDenied`]: only an owner makes owners.
    pub async fn create(&self, act: &Act, by: &Principal, create: UserCreate) -> Result<Member, Error> {
        may_give(by, create.role)?;
        let password = match &create.password {
            Some(password) => Some(self.passwords.hash(password, &create.name).await?),
            None => None,
        };
        let user = NewUser {
            id: UserId::generate(),
            must_change_password: password.is_some(),
            password,
            name: create.name,
            email: create.email,
            role: create.role,
            identity: None,
        };
        let record = Record::new(act, Action::UserCreated, user.id, &user.name).after(json!({
            "name": user.name.as_str(),
            "email": user.email.as_ref().map(Email::to_string),
            "role": user.role.as_str(),
            "password": user.password.as_ref().map(|_| "kept"),
        }));
        self.store.insert_user(&user, &record).await.map_err(taken)?;
        self.events.publish(act.org_id, None, EventKind::MemberChanged(user.id));
        Ok(Member {
            user_id: user.id,
            name: user.name.to_string(),
            email: user.email.as_ref().map(Email::to_string),
            role: user.role,
            has_password: user.password.is_some(),
            must_change_password: user.must_change_password,
            has_totp: false,
            since_us: act.at_us,
        })
    }

    /// Changes a user, as `by` may. A new password ends the user's sessions.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] where the name or e-mail address is somebody's;
    /// [`ErrorKind::Precondition`] for a user of other organisations, too; [`ErrorKind::PermissionDenied`]: only an owner
    /// changes owners.
    pub async fn update(&self, act: &Act, by: &Principal, id: UserId, update: UserUpdate) -> Result<Member, Error> {
        let not_there = || Error::not_found("user");
        let member = self.store.member(act.org_id, id).await?.ok_or_else(not_there)?;
        let password = match &update.password {
            Some(_) if id == by.user_id => {
                let detail = "this is your own password: PUT /api/v1/me/password changes it";
                return Err(Error::new(ErrorKind::Precondition, "own_password", detail));
            }
            Some(password) => {
                may_give(by, member.role)?;
                let name = update.name.clone().map_or_else(|| member.name.parse(), Ok).map_err(Error::internal)?;
                Some(self.passwords.hash(password, &name).await?)
            }
            None => None,
        };
        let patch = UserPatch { name: update.name, email: update.email, password };
        let record = Record::new(act, Action::UserUpdated, id, "");
        match self.store.update_user(id, &patch, by.role, record).await.map_err(taken)? {
            UserChange::Done => {
                self.events.publish(act.org_id, None, EventKind::MemberChanged(id));
                self.store.member(act.org_id, id).await?.ok_or_else(not_there)
            }
            refused => Err(refused.into_error()),
        }
    }

    /// Gives the caller the password they chose. Where there is one already, it has to be told. Every other session of
    /// theirs ends.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the current password is wrong or missing; [`ErrorKind::Invalid`] for a weak
    /// one.
    pub async fn change_own_password(
        &self,
        caller: &Principal,
        act: &Act,
        current: Option<&SecretString>,
        password: &SecretString,
    ) -> Result<(), Error> {
        caller.require_whole()?;
        let account = self.prove(caller, act, current).await?;
        let name: UserName = account.name.parse().map_err(Error::internal)?;
        let hash = self.passwords.hash(password, &name).await?;
        let keep = match caller.credential {
            Credential::Session(id) => Some(id.to_string()),
            Credential::Token(_) => None,
        };
        let record = Record::new(act, Action::UserPasswordChanged, account.id, &account.name);
        let was = account.password.as_ref();
        if self.store.change_password(account.id, was, &hash, keep.as_deref(), &record).await? {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Conflict, "conflict", "the password was changed meanwhile"))
        }
    }

    /// The caller's account, once they told its password, if it has one. Tries count like those to sign in: who got hold
    /// of a session must not find out the password.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the password is wrong or missing; [`ErrorKind::Exhausted`] after too many.
    pub async fn prove(&self, caller: &Principal, act: &Act, current: Option<&SecretString>) -> Result<Account, Error> {
        let account = self.store.account(caller.user_id).await?.ok_or_else(|| Error::not_found("user"))?;
        let is_proven = match (&account.password, current) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(hash), Some(current)) => {
                let attempt = Try::new(&account.name, act.origin.address);
                self.tries.begin(attempt, act.at_us)?;
                let is_right = self.passwords.matches(Some(hash), current).await?;
                if is_right {
                    self.tries.succeeded(attempt);
                }
                is_right
            }
        };
        if is_proven {
            Ok(account)
        } else {
            let detail = "the current password is missing or wrong";
            Err(Error::new(ErrorKind::PermissionDenied, "wrong_password", detail))
        }
    }
}

fn taken(error: StoreError) -> Error {
    match error {
        StoreError::Conflict(_) => {
            Error::new(ErrorKind::Conflict, "taken", "the name or e-mail address is taken").because(error)
        }
        other => other.into(),
    }
}
