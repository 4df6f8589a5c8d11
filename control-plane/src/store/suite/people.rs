//! Members, tokens, sessions and second factors on both databases.

use futures_util::future::join_all;
use muster_shared::id::UserSessionId;

use super::*;
use crate::{
    access::{API_TOKEN_PREFIX, Access, Permission, Role, SESSION_PREFIX, Scopes, SessionLife},
    api_tokens::{ApiToken, ApiTokens, NewApiToken},
    error::ErrorKind,
    members::{MemberChange, Members},
    store::test_database::on_each,
    user_sessions::UserSession,
    users::{Email, NewUser},
};

impl Fleet {
    async fn user(&self, name: &str, role: Role) -> UserId {
        self.user_called(name, None, role).await
    }

    /// A user of this organisation, however many others have one of the same name.
    pub(super) async fn named_user(&self, name: &str, role: Role) -> UserId {
        self.user_with(None, name, role).await
    }

    pub(super) async fn user_with(&self, email: Option<Email>, name: &str, role: Role) -> UserId {
        self.user_called(&format!("{name}-{}", &self.org.to_string()[24..]), email, role).await
    }

    async fn user_called(&self, name: &str, email: Option<Email>, role: Role) -> UserId {
        let user = NewUser {
            id: UserId::generate(),
            name: name.parse().expect("a name"),
            email,
            password: None,
            must_change_password: false,
            role,
            identity: None,
        };
        self.store.insert_user(&user, &self.record(Action::UserCreated)).await.expect("made");
        user.id
    }

    async fn api_token(&self, user: UserId, scopes: Scopes, expires_at_us: Option<i64>) -> Token {
        let secret = Token::generate(API_TOKEN_PREFIX).expect("randomness");
        let token = ApiToken {
            id: ApiTokenId::generate(),
            name: "t".parse().expect("a name"),
            scopes,
            created_at_us: NOW_US,
            expires_at_us,
            last_used_at_us: None,
        };
        let record = self.record(Action::ApiTokenCreated);
        assert!(self.store.insert_api_token(user, &token, &secret.hash(), &record).await.expect("kept"));
        secret
    }

    async fn session(&self, user: UserId, expires_at_us: i64) -> Token {
        let secret = Token::generate(SESSION_PREFIX).expect("randomness");
        let session = UserSession {
            id: UserSessionId::generate(),
            created_at_us: NOW_US,
            last_used_at_us: NOW_US,
            expires_at_us,
            source_address: String::new(),
            user_agent: String::new(),
        };
        self.store.insert_user_session(user, &session, &secret.hash(), &[]).await.expect("kept");
        secret
    }
}

#[tokio::test]
async fn fifty_owners_who_leave_at_once_leave_one() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let mut owners = vec![fleet.user];
        for number in 1..50 {
            owners.push(fleet.user(&format!("{}-{number}", &fleet.org.to_string()[24..]), Role::Owner).await);
        }
        let leave = |(nth, user): (usize, &UserId)| {
            let (store, user, record) = (fleet.store.clone(), *user, fleet.record(Action::MemberRemoved));
            async move {
                if nth % 2 == 0 {
                    store.remove_member(user, Role::Owner, record).await.expect("answered")
                } else {
                    store.set_member_role(user, Role::Member, Role::Owner, record).await.expect("answered")
                }
            }
        };
        let outcomes = join_all(owners.iter().enumerate().map(leave)).await;
        let refused = outcomes.iter().filter(|outcome| **outcome == MemberChange::LastOwner).count();
        assert_eq!(refused, 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == MemberChange::Done).count(), 49);
        let members = fleet.store.list_members(fleet.org, 0, 1000).await.expect("read");
        assert_eq!(members.iter().filter(|member| member.role == Role::Owner).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_is_in_no_organization_is_gone_and_the_name_is_free() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let name = format!("ada-{}", fleet.org);
        let ada = fleet.user(&name, Role::Admin).await;
        let token = fleet.api_token(ada, Scopes::All, None).await;
        let session = fleet.session(ada, NOW_US + MINUTE_US).await;
        let members = Members::new(fleet.store.clone(), fleet.events.clone());
        members.remove(&fleet.act(), Role::Owner, ada).await.expect("removed");
        assert!(fleet.store.token_proof(&token.hash(), NOW_US).await.expect("read").is_none());
        assert!(fleet.store.session_proof(&session.hash(), NOW_US, 0).await.expect("read").is_none());
        assert!(fleet.store.account(ada).await.expect("read").is_none());
        let error = members.remove(&fleet.act(), Role::Owner, ada).await.expect_err("gone");
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_ne!(fleet.user(&name, Role::Member).await, ada);
    })
    .await;
}

#[tokio::test]
async fn tokens_and_sessions_end_by_themselves() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let token = fleet.api_token(fleet.user, Scopes::All, Some(NOW_US + MINUTE_US)).await;
        let life = SessionLife { idle: std::time::Duration::from_secs(600), ..SessionLife::default() };
        let access = Access::new(fleet.store.clone(), life);
        access.authenticate(token.reveal(), NOW_US + MINUTE_US - 1).await.expect("valid");
        let error = access.authenticate(token.reveal(), NOW_US + MINUTE_US).await.expect_err("expired");
        assert_eq!(error.kind, ErrorKind::Unauthenticated);

        let session = fleet.session(fleet.user, NOW_US + 30 * MINUTE_US).await;
        for minute in [9, 18, 27] {
            access.by_session(&session, NOW_US + minute * MINUTE_US).await.expect("used within ten minutes");
            access.settled().await;
        }
        assert!(access.by_session(&session, NOW_US + 30 * MINUTE_US).await.is_err(), "over in any case");
        let idle = fleet.session(fleet.user, NOW_US + 60 * MINUTE_US).await;
        assert!(access.by_session(&idle, NOW_US + 10 * MINUTE_US).await.is_err(), "unused");
    })
    .await;
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let token = fleet.api_token(fleet.user, Scopes::All, None).await;
        let used = async |at_us: i64| {
            // Another replica each time: what it remembers by itself doesn't count here.
            let access = Access::new(fleet.store.clone(), SessionLife::default());
            access.authenticate(token.reveal(), at_us).await.expect("valid");
            access.settled().await;
            fleet.store.token_proof(&token.hash(), at_us).await.expect("read").expect("valid").1
        };
        assert_eq!(used(NOW_US).await, Some(NOW_US));
        assert_eq!(used(NOW_US + MINUTE_US - 1).await, Some(NOW_US));
        assert_eq!(used(NOW_US + MINUTE_US).await, Some(NOW_US + MINUTE_US));
    })
    .await;
}

#[tokio::test]
async fn no_scope_widens_and_every_role_is_a_bound() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let access = Access::new(fleet.store.clone(), SessionLife::default());
        let tokens = ApiTokens::new(fleet.store.clone(), crate::api_tokens::DEFAULT_TTL);
        let half = || Permission::ALL.iter().copied().step_by(2);
        for role in Role::ALL {
            let user = fleet
                .user(&format!("{}-{}", role.as_str().replace('_', "-"), &fleet.org.to_string()[24..]), role)
                .await;
            let scoped = fleet.api_token(user, Scopes::only(half()), None).await;
            let whole = fleet.api_token(user, Scopes::All, None).await;
            let scoped = access.authenticate(scoped.reveal(), NOW_US).await.expect("valid");
            let whole = access.authenticate(whole.reveal(), NOW_US).await.expect("valid");
            for permission in Permission::ALL {
                assert_eq!(whole.may(*permission), role.allows(*permission));
                let both = role.allows(*permission) && half().any(|it| it == *permission);
                assert_eq!(scoped.may(*permission), both, "{role:?} {permission:?}");
                let new = NewApiToken {
                    name: "t".parse().expect("a name"),
                    scopes: Some(vec![*permission]),
                    ttl_seconds: None,
                };
                let act = whole.act(Origin::default(), NOW_US);
                assert_eq!(tokens.create(&whole, &act, new.clone()).await.is_ok(), role.allows(*permission));
                assert!(tokens.create(&scoped, &act, new).await.is_err());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_step_and_a_recovery_code_are_used_up_once_by_many_at_once() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (store, user) = (&fleet.store, fleet.user);
        assert!(store.begin_totp(user, b"first").await.expect("kept"));
        assert!(store.begin_totp(user, b"second").await.expect("kept"));
        let record = fleet.record(Action::UserTotpEnabled);
        let hashes = [vec![1; 32], vec![2; 32]];
        assert!(!store.confirm_totp(user, b"first", 5, &hashes, &record).await.expect("answered"), "replaced");
        assert!(!store.use_totp_step(user, 9).await.expect("answered"), "not on yet");
        assert!(store.confirm_totp(user, b"second", 5, &hashes, &record).await.expect("on"));
        assert!(!store.begin_totp(user, b"third").await.expect("answered"), "it is on");
        assert!(!store.use_totp_step(user, 5).await.expect("answered"), "the first code is used");
        let steps = join_all((0..20).map(|_| store.use_totp_step(user, 6))).await;
        assert_eq!(steps.into_iter().filter(|used| *used.as_ref().expect("answered")).count(), 1);
        assert!(!store.use_totp_step(user, 4).await.expect("answered"), "older ones are used up, too");
        let codes = join_all((0..20).map(|_| store.use_recovery_code(user, &hashes[0], NOW_US))).await;
        assert_eq!(codes.into_iter().filter(|used| *used.as_ref().expect("answered")).count(), 1);
        store.disable_totp(user, &fleet.record(Action::UserTotpDisabled)).await.expect("off");
        assert!(!store.use_recovery_code(user, &hashes[1], NOW_US).await.expect("answered"));
    })
    .await;
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_no_more() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let first = fleet.session(fleet.user, NOW_US + MINUTE_US).await;
        for _ in 0..crate::user_sessions::MAX_SESSIONS {
            fleet.session(fleet.user, NOW_US + MINUTE_US).await;
        }
        let sessions = fleet.store.list_user_sessions(fleet.user, NOW_US, 0).await.expect("read");
        assert_eq!(i64::try_from(sessions.len()).expect("few"), crate::user_sessions::MAX_SESSIONS);
        assert!(fleet.store.session_proof(&first.hash(), NOW_US, 0).await.expect("read").is_none(), "the oldest ended");
    })
    .await;
}

#[tokio::test]
async fn a_second_factor_s_secret_opens_for_its_user_only() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let keyring = Keyring::of_key(1);
        let passwords = crate::users::Passwords::new(crate::users::Cost { memory_kib: 8, passes: 1, lanes: 1 });
        let tries = crate::users::Tries::default();
        let users = crate::users::Users::new((fleet.store.clone(), fleet.events.clone()), passwords, tries.clone());
        let totp = crate::totp::Totp::new(fleet.store.clone(), keyring, users, tries);
        let token = fleet.api_token(fleet.user, Scopes::All, None).await;
        let access = Access::new(fleet.store.clone(), SessionLife::default());
        let caller = access.authenticate(token.reveal(), NOW_US).await.expect("valid");
        totp.enroll(&caller, &fleet.act(), None).await.expect("begun");
        let sealed = fleet.store.account(fleet.user).await.expect("read").expect("there").totp_secret_sealed;
        let sealed = sealed.expect("kept");
        // Moved to another user's row, it does not open there.
        let other = fleet.user(&format!("other-{}", fleet.org), Role::Member).await;
        fleet.store.begin_totp(other, &sealed).await.expect("moved");
        let record = fleet.record(Action::UserTotpEnabled);
        fleet.store.confirm_totp(other, &sealed, 1, &[], &record).await.expect("on");
        let account = fleet.store.account(other).await.expect("read").expect("there");
        let error = totp.accepts(&account, "287082", NOW_US).await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Internal);
    })
    .await;
}
