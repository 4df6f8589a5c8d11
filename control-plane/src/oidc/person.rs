//! Who somebody is here whom the provider knows: by its own name for them, else by a verified e-mail address, else they join
//! or are nobody.

use muster_shared::id::UserId;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{Identity, Shared, id_token::Claims};
use crate::{
    access::{Act, Actor},
    audit::{Action, Record},
    config::Joins,
    error::{Error, ErrorKind},
    store::StoreError,
    user_sessions::Browser,
    users::{Account, Email, NewUser, UserName},
};

impl Shared {
    /// The account of whoever `claims` speak of.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for somebody who is nobody here.
    pub(super) async fn person(&self, claims: Claims, browser: &Browser, now_us: i64) -> Result<Account, Error> {
        require_domain(&self.settings.allowed_domains, claims.email.as_ref())?;
        let identity = Identity { issuer: self.settings.issuer.clone(), subject: claims.subject };
        if let Some(account) = self.store.account_of_identity(&identity).await? {
            return Ok(account);
        }
        let email = claims.email.ok_or_else(unverified)?;
        let act = |org_id| Act { org_id, actor: Actor::System, origin: browser.origin.clone(), at_us: now_us };
        let linked = match (self.store.account_with_email(&email).await?, self.settings.joins) {
            (Some(account), _) => {
                let record = |org_id| {
                    Record::new(&act(org_id), Action::UserIdentityLinked, account.id, &account.name).after(json!({
                        "issuer": identity.issuer, "subject": identity.subject, "email": email.to_string(),
                    }))
                };
                let memberships = self.store.memberships_of(account.id).await?;
                let records: Vec<_> = memberships.iter().map(|membership| record(membership.org_id)).collect();
                self.store.link_identity(account.id, &identity, now_us, &records).await
            }
            (None, Some(Joins { organization, role })) => {
                let user = NewUser {
                    id: UserId::generate(),
                    name: name_of(&email, &identity)?,
                    email: Some(email),
                    password: None,
                    must_change_password: false,
                    role,
                    identity: Some(identity.clone()),
                };
                let record = Record::new(&act(organization), Action::UserCreated, user.id, &user.name).after(json!({
                    "name": user.name.as_str(), "email": user.email.as_ref().map(Email::to_string), "role": role.as_str(),
                    "issuer": identity.issuer, "subject": identity.subject,
                }));
                self.store.insert_user(&user, &record).await
            }
            (None, None) => return Err(nobody()),
        };
        match linked {
            // Somebody else's, or the same person's in another tab: whose it is now shows.
            Err(StoreError::Conflict(_)) | Ok(()) => self.store.account_of_identity(&identity).await?.ok_or_else(taken),
            Err(StoreError::Dangling(error)) => {
                Err(Error::internal(format!("oidc_join_organization names no organization: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A list of domains lets in nobody whose address is not proven to be in one of them.
fn require_domain(allowed: &[String], email: Option<&Email>) -> Result<(), Error> {
    if allowed.is_empty() {
        return Ok(());
    }
    let email = email.ok_or_else(unverified)?.to_string();
    let is_in = email.rsplit_once('@').is_some_and(|(_, domain)| allowed.iter().any(|one| one == domain));
    if is_in {
        return Ok(());
    }
    let detail = "e-mail addresses of your domain are not let in here; ask whoever runs this control plane";
    Err(Error::new(ErrorKind::PermissionDenied, "oidc_domain", detail))
}

/// What a new user is called: their address where that can be a name, else what no other provider's user is called.
fn name_of(email: &Email, identity: &Identity) -> Result<UserName, Error> {
    let hash = digest(&SHA256, format!("{}\n{}", identity.issuer, identity.subject).as_bytes());
    let made_up = || format!("oidc-{}", hex::encode(&hash.as_ref()[..16])).parse();
    email.to_string().parse().or_else(|_| made_up()).map_err(Error::internal)
}

fn unverified() -> Error {
    let detail = "the provider does not say that it verified your e-mail address: verify it there";
    Error::new(ErrorKind::PermissionDenied, "oidc_email_unverified", detail)
}

fn nobody() -> Error {
    let detail = "nobody here has your e-mail address; ask an owner of the organization to make you a user with it";
    Error::new(ErrorKind::PermissionDenied, "oidc_unknown_user", detail)
}

fn taken() -> Error {
    let detail = "the user with your e-mail address signs in as somebody else at the provider; ask an owner of the \
                  organization";
    Error::new(ErrorKind::PermissionDenied, "oidc_identity_taken", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        text.parse().expect("an address")
    }

    #[test]
    fn only_proven_addresses_of_a_listed_domain_get_in() {
        let allowed = ["example.com".to_owned()];
        let code = |email: Option<&str>| {
            require_domain(&allowed, email.map(self::email).as_ref()).err().map(|error| error.code)
        };
        assert_eq!(code(Some("ada@Example.com")), None);
        for other in
            ["ada@evil.example", "ada@example.com.evil.example", "ada@sub.example.com", "example.com@evil.example"]
        {
            assert_eq!(code(Some(other)), Some("oidc_domain"), "{other}");
        }
        assert_eq!(code(None), Some("oidc_email_unverified"));
        assert!(require_domain(&[], None).is_ok(), "without a list the domain does not matter");
    }

    #[test]
    fn a_new_user_is_called_by_an_address_or_by_nobody_elses_name() {
        let identity = Identity { issuer: "https://id.example.com".into(), subject: "1".into() };
        let name = |text, identity: &Identity| name_of(&email(text), identity).expect("a name");
        assert_eq!(name("ada+x@example.com", &identity).as_str(), "ada+x@example.com");
        let made_up = name("o'hara@example.com", &identity);
        assert!(made_up.as_str().starts_with("oidc-") && made_up.as_str().len() == 37, "{made_up}");
        let other = Identity { subject: "2".into(), ..identity };
        assert_ne!(name("o'hara@example.com", &other), made_up);
    }
}
