//! Who somebody is at a provider, and attempts that come back once.

use futures_util::future::join_all;

use super::*;
use crate::{
    access::Role,
    members::MemberChange,
    oidc::Identity,
    store::{StoreError, test_database::on_each},
    users::Email,
};

fn identity(fleet: &Fleet, subject: &str) -> Identity {
    Identity { issuer: format!("https://id.example.com/{}", fleet.org), subject: subject.to_owned() }
}

#[tokio::test]
async fn an_attempt_comes_back_once() {
    on_each(|store| async move {
        let state = Token::generate("x").expect("randomness").hash();
        let uses = (0..20).map(|_| store.use_oidc_attempt(state.as_bytes(), NOW_US + 10, NOW_US));
        let uses: Vec<_> = join_all(uses).await.into_iter().map(|used| used.expect("answered")).collect();
        assert_eq!(uses.iter().filter(|used| **used).count(), 1);
        assert!(!store.use_oidc_attempt(state.as_bytes(), NOW_US + 20, NOW_US + 9).await.expect("answered"));
        assert!(store.use_oidc_attempt(state.as_bytes(), NOW_US + 20, NOW_US + 10).await.expect("forgotten"));
    })
    .await;
}

#[tokio::test]
async fn an_identity_is_one_users_and_a_user_has_one_at_a_provider() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (ada, bob) = (fleet.named_user("ada", Role::Member).await, fleet.named_user("bob", Role::Member).await);
        let (first, second) = (identity(&fleet, "1"), identity(&fleet, "2"));
        let link = async |user, identity| fleet.store.link_identity(user, identity, NOW_US, &[]).await;
        assert!(fleet.store.account_of_identity(&first).await.expect("read").is_none());
        link(ada, &first).await.expect("linked");
        assert_eq!(fleet.store.account_of_identity(&first).await.expect("read").map(|it| it.id), Some(ada));
        assert!(matches!(link(bob, &first).await, Err(StoreError::Conflict(_))), "it is another's");
        assert!(matches!(link(ada, &second).await, Err(StoreError::Conflict(_))), "she has one");
        let other = Identity { issuer: format!("{}/", first.issuer), subject: "1".to_owned() };
        assert!(fleet.store.account_of_identity(&other).await.expect("read").is_none(), "another provider's");
        let removed = fleet.store.remove_member(ada, Role::Owner, fleet.record(Action::MemberRemoved)).await;
        assert_eq!(removed.expect("answered"), MemberChange::Done);
        assert!(fleet.store.account_of_identity(&first).await.expect("read").is_none(), "she is gone");
        link(bob, &first).await.expect("and her identity free");
    })
    .await;
}

#[tokio::test]
async fn an_address_is_found_whoever_wrote_it() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let email: Email = format!("Ada.{}@Example.com", fleet.org).parse().expect("an address");
        assert!(fleet.store.account_with_email(&email).await.expect("read").is_none());
        let user = fleet.user_with(Some(email), "ada", Role::Member).await;
        let same: Email = format!("ada.{}@example.COM", fleet.org).parse().expect("an address");
        assert_eq!(fleet.store.account_with_email(&same).await.expect("read").map(|it| it.id), Some(user));
    })
    .await;
}
