//! Rotations of key pairs: one at a time, every server's turn, and what keeps the old pair.

use std::collections::BTreeSet;

use muster_shared::id::SshKeyPairId;
use serde_json::json;

use super::*;
use crate::{
    agent_binary::AgentBinaries,
    clock::Clock,
    error::{Error, ErrorKind},
    running::Running,
    servers::SshLogin,
    ssh::{Connector, Entrance},
    ssh_key_rotations::{Conclusion, LEASE_US, Rotation, RotationState, ServerState, SshKeyRotations, Started, Turn},
    ssh_keys::{KeySource, KeyType, NewKeyPair, SshKeyPair},
    store::{Switched, test_database::on_each},
};

const LATER_US: i64 = NOW_US + LEASE_US;

struct Rotating {
    fleet: Fleet,
    rotations: SshKeyRotations,
    pair: SshKeyPair,
}

impl Rotating {
    async fn new(store: Store, servers: usize) -> Self {
        let fleet = Fleet::new(store.clone()).await;
        let clock = Clock::standing_at(NOW_US);
        let connector = Connector::default();
        let rotations = SshKeyRotations::new(
            (store, clock.clone()),
            (fleet.servers.clone(), fleet.ssh_keys.clone()),
            (Entrance::new(connector.clone(), fleet.servers.clone(), clock), connector),
            AgentBinaries::new("nowhere"),
            Running::default(),
        );
        let new = NewKeyPair {
            name: "web".parse().expect("a name"),
            description: "for all".parse().expect("a description"),
            source: KeySource::Generate(KeyType::Ed25519),
        };
        let (pair, _) = fleet.ssh_keys.create(&fleet.act(), new).await.expect("a key pair");
        let rotating = Self { fleet, rotations, pair };
        for number in 0..servers {
            rotating.server(&format!("web-{number}"), rotating.pair.id).await.expect("a server");
        }
        rotating
    }

    async fn server(&self, name: &str, pair: SshKeyPairId) -> Result<Server, Error> {
        let mut server = new_server(name);
        server.connection.auth = SshLogin::KeyPair { id: pair, sudo_password: None };
        self.fleet.servers.create(&self.fleet.act(), server, None).await
    }

    async fn start(&self) -> Result<Started, Error> {
        self.rotations.start(&self.fleet.act(), self.pair.id, None).await
    }

    async fn rotation(&self) -> Rotation {
        self.rotations.get(self.fleet.org, self.pair.id).await.expect("a rotation")
    }

    async fn claim(&self, lease: &str, now_us: i64) -> Option<Turn> {
        self.fleet.store.claim_key_turn(lease, now_us, now_us + LEASE_US).await.expect("asked")
    }

    async fn switch(&self, turn: &Turn) -> Switched {
        let login = SshLogin::KeyPair { id: turn.new_pair, sudo_password: None };
        let change = self.fleet.servers.begin_login_change(self.fleet.org, turn.server, login).await.expect("begun");
        self.fleet.servers.switch_to_new_key(&self.fleet.act(), turn, change).await.expect("answered")
    }

    async fn settle(&self, turn: &Turn, state: ServerState) -> bool {
        let action = match state {
            ServerState::Rotated => Action::ServerOldKeyRemoved,
            _ => Action::ServerKeyRotationFailed,
        };
        let record = Record::new(&self.fleet.act(), action, turn.server, &turn.server_name);
        self.fleet.store.settle_key_turn(turn, state, ("why", "Because."), &record).await.expect("answered")
    }

    /// A turn to its good end.
    async fn rotate(&self, turn: &Turn) {
        assert_eq!(self.switch(turn).await, Switched::Done);
        assert!(self.settle(turn, ServerState::Rotated).await);
    }

    async fn conclude(&self) -> Conclusion {
        let rotation = self.rotation().await;
        let act = self.fleet.act();
        let record = |_: &_, ends| {
            Record::new(&act, Action::SshKeyPairRotationEnded, rotation.old_pair, "web")
                .after(json!({ "ends": format!("{ends:?}") }))
        };
        self.fleet.store.conclude_key_rotation(&rotation, NOW_US, record).await.expect("answered")
    }

    async fn pair_of(&self, name: &str) -> Option<SshKeyPairId> {
        self.fleet.store.server_named(self.fleet.org, name).await.expect("read").expect("there").key_pair
    }

    async fn pairs(&self) -> Vec<String> {
        let pairs = self.fleet.ssh_keys.list(self.fleet.org, 0, 10).await.expect("a list");
        pairs.into_iter().map(|pair| pair.name.to_string()).collect()
    }
}

#[tokio::test]
async fn of_two_calls_at_once_one_rotates_the_pair() {
    on_each(|store| async move {
        for _ in 0..6 {
            let rotating = Rotating::new(store.clone(), 2).await;
            let (first, second) = tokio::join!(rotating.start(), rotating.start());
            let (one, other) = if first.is_ok() { (first, second) } else { (second, first) };
            let (one, other) = (one.expect("one starts"), other.err().expect("the other is refused"));
            assert_eq!((other.kind, other.code), (ErrorKind::Conflict, "rotation_running"), "{}", other.detail);
            assert!(one.private_key.is_some());
            assert_eq!((one.rotation.tally.open, one.rotation.state), (2, RotationState::Running));
            let old = format!("web (old {})", rotating.pair.id.to_string().rsplit('-').next().expect("an end"));
            assert_eq!(rotating.pairs().await, [old, "web".to_owned()]);
            let (keys, org) = (&rotating.fleet.ssh_keys, rotating.fleet.org);
            assert!(!rotating.pair.has_rotation, "before");
            for pair in [one.rotation.old_pair, one.rotation.new_pair] {
                assert!(keys.get(org, pair).await.expect("a pair").has_rotation);
            }
            let words = rotating.fleet.recorded_of(rotating.pair.id).await;
            assert_eq!(words, ["SSH_KEY_PAIR_ROTATION_STARTED", "SSH_KEY_PAIR_CREATED"]);
        }
    })
    .await;
}

#[tokio::test]
async fn every_server_has_a_turn_however_many_there_are() {
    on_each(|store| async move {
        let rotating = Rotating::new(store, 40).await;
        rotating.start().await.expect("started");
        let mut turns = Vec::new();
        // Two control planes claim at once: nobody's turn is had twice.
        loop {
            let (one, other) = tokio::join!(rotating.claim("one", NOW_US), rotating.claim("other", NOW_US));
            if one.is_none() && other.is_none() {
                break;
            }
            turns.extend(one.into_iter().chain(other));
        }
        let servers: BTreeSet<_> = turns.iter().map(|turn| turn.server).collect();
        assert_eq!((turns.len(), servers.len()), (40, 40));
        for turn in &turns {
            assert_eq!(rotating.conclude().await, Conclusion::GoesOn);
            rotating.rotate(turn).await;
        }
        assert_eq!(rotating.conclude().await, Conclusion::Done);
        assert_eq!(rotating.pairs().await, ["web"]);
        let rotation = rotating.rotation().await;
        assert_eq!((rotation.tally.rotated, rotation.old_pair_kept), (40, false));
        let pages = [rotating.rotations.servers(&rotation, 0, 30), rotating.rotations.servers(&rotation, 30, 30)];
        let [first, second] = pages.map(Box::pin);
        assert_eq!((first.await.expect("a page").len(), second.await.expect("a page").len()), (30, 10));
    })
    .await;
}

#[tokio::test]
async fn a_turn_that_was_lost_writes_nothing() {
    on_each(|store| async move {
        let rotating = Rotating::new(store, 1).await;
        rotating.start().await.expect("started");
        let first = rotating.claim("first", NOW_US).await.expect("a turn");
        assert_eq!(rotating.claim("second", NOW_US + LEASE_US - 1).await, None, "it is held");
        let store = &rotating.fleet.store;
        assert!(store.renew_key_turn(&first, "connecting", NOW_US, LATER_US).await.expect("renewed"));
        let second = rotating.claim("second", LATER_US).await.expect("it lapsed");
        assert_eq!((second.server, second.claims), (first.server, 2));
        let before = rotating.fleet.recorded_of(first.server).await;
        assert!(!store.renew_key_turn(&first, "taking_back", LATER_US, LATER_US * 2).await.expect("asked"));
        assert_eq!(rotating.switch(&first).await, Switched::Lost);
        assert!(!rotating.settle(&first, ServerState::Failed).await);
        store.give_back_key_turn(&first, 0, true).await.expect("asked");
        assert_eq!(rotating.claim("third", LATER_US + 1).await, None, "the second's turn is held");
        // Nor does it knock at the host, to take anything back or for anything else.
        rotating.rotations.take(first.clone()).await;
        let server = rotating.fleet.servers.get(rotating.fleet.org, first.server).await.expect("there");
        assert_eq!((server.connection, server.key_pair), (None, Some(rotating.pair.id)));
        assert_eq!(rotating.fleet.recorded_of(first.server).await, before);
        rotating.rotate(&second).await;
        let words = rotating.fleet.recorded_of(first.server).await;
        assert_eq!(words[..2], ["SERVER_OLD_KEY_REMOVED", "SERVER_KEY_ROTATED"]);
    })
    .await;
}

#[tokio::test]
async fn a_server_changed_by_others_meanwhile_is_not_overwritten() {
    on_each(|store| async move {
        let rotating = Rotating::new(store, 1).await;
        rotating.start().await.expect("started");
        let turn = rotating.claim("one", NOW_US).await.expect("a turn");
        let login = SshLogin::KeyPair { id: turn.new_pair, sudo_password: None };
        let change = rotating.fleet.servers.begin_login_change(rotating.fleet.org, turn.server, login).await;
        let patch = crate::servers::ServerPatch { name: "other".parse().ok(), ..Default::default() };
        rotating.fleet.servers.update(&rotating.fleet.act(), turn.server, &patch).await.expect("renamed");
        let (act, change) = (rotating.fleet.act(), change.expect("begun"));
        let switched = rotating.fleet.servers.switch_to_new_key(&act, &turn, change);
        assert_eq!(switched.await.expect("answered"), Switched::Changed);
        let servers = rotating.rotations.servers(&rotating.rotation().await, 0, 10).await.expect("a page");
        assert_eq!(servers[0].state, ServerState::Waiting, "neither is written");
        rotating.rotate(&turn).await;
        assert_eq!(rotating.pair_of("other").await, Some(turn.new_pair));
    })
    .await;
}

#[tokio::test]
async fn the_old_pair_stays_while_anything_depends_on_it() {
    on_each(|store| async move {
        let rotating = Rotating::new(store, 3).await;
        let deleted = rotating.server("gone", rotating.pair.id).await.expect("a server");
        let record = Record::new(&rotating.fleet.act(), Action::ServerDeleted, deleted.id, "gone");
        rotating.fleet.store.delete_server(deleted.id, &record).await.expect("deleted");
        let started = rotating.start().await.expect("started");
        let ends = [ServerState::Rotated, ServerState::Failed, ServerState::Lingering];
        for state in ends {
            let turn = rotating.claim("one", NOW_US).await.expect("a turn");
            if state != ServerState::Failed {
                assert_eq!(rotating.switch(&turn).await, Switched::Done);
            }
            assert!(rotating.settle(&turn, state).await);
            if state == ServerState::Failed {
                let words = rotating.fleet.recorded_of(turn.server).await;
                assert_eq!(words[0], "SERVER_KEY_ROTATION_FAILED");
            }
        }
        assert_eq!(rotating.conclude().await, Conclusion::Partial);
        let rotation = rotating.rotation().await;
        assert_eq!((rotation.state, rotation.old_pair_kept), (RotationState::Partial, true));
        let held = rotating.fleet.ssh_keys.delete(&rotating.fleet.act(), rotating.pair.id).await.expect_err("held");
        assert_eq!(held.code, "key_pair_rotating", "a host still lets it in");

        let again = rotating.start().await.expect("taken up");
        assert_eq!((again.rotation.id, again.rotation.new_pair), (started.rotation.id, started.rotation.new_pair));
        assert_eq!((again.rotation.tally.open, again.private_key.is_none()), (2, true));
        while let Some(turn) = rotating.claim("two", NOW_US).await {
            if turn.state == ServerState::Waiting {
                assert_eq!(rotating.switch(&turn).await, Switched::Done);
            }
            assert!(rotating.settle(&turn, ServerState::Rotated).await);
        }
        // The deleted server's record can still be recovered, and refers to the old pair.
        assert_eq!(rotating.conclude().await, Conclusion::Partial);
        rotating.fleet.ssh_keys.delete(&rotating.fleet.act(), rotating.pair.id).await.expect("by a person's decision");
        assert_eq!(rotating.pairs().await, ["web"]);
    })
    .await;
}

#[tokio::test]
async fn who_is_given_the_old_pair_in_the_last_moment_has_a_turn() {
    on_each(|store| async move {
        let rotating = Rotating::new(store.clone(), 1).await;
        rotating.start().await.expect("started");
        let refused = rotating.server("late", rotating.pair.id).await.expect_err("refused");
        assert_eq!(refused.code, "key_pair_rotating");
        let turn = rotating.claim("one", NOW_US).await.expect("a turn");
        rotating.rotate(&turn).await;
        // As one that was let through before the rotation began.
        let late = rotating.fleet.create("late").await;
        let login = SshLogin::KeyPair { id: rotating.pair.id, sudo_password: None };
        let change =
            rotating.fleet.servers.begin_login_change(rotating.fleet.org, late.id, login).await.expect("begun");
        rotating.fleet.servers.finish_login_change(&rotating.fleet.act(), change).await.expect("given");
        assert_eq!(rotating.conclude().await, Conclusion::GoesOn);
        let turn = rotating.claim("one", NOW_US).await.expect("its turn");
        assert_eq!(turn.server, late.id);
        rotating.rotate(&turn).await;
        assert_eq!(rotating.conclude().await, Conclusion::Done);
    })
    .await;
}

#[tokio::test]
async fn a_new_pair_is_rotated_only_when_it_is_in_place() {
    on_each(|store| async move {
        let mut rotating = Rotating::new(store, 2).await;
        let first = rotating.start().await.expect("started").rotation;
        let (old, act) = (rotating.pair.id, rotating.fleet.act());
        for pair in [old, first.new_pair] {
            let held = rotating.fleet.ssh_keys.delete(&act, pair).await.expect_err("held");
            assert_eq!(held.code, "key_pair_rotating");
        }
        let busy = rotating.rotations.start(&act, first.new_pair, None).await.err().expect("refused");
        assert_eq!((busy.kind, busy.code), (ErrorKind::Precondition, "key_pair_rotating"));
        let turn = rotating.claim("one", NOW_US).await.expect("a turn");
        rotating.rotate(&turn).await;
        let turn = rotating.claim("one", NOW_US).await.expect("a turn");
        assert!(rotating.settle(&turn, ServerState::Failed).await);
        assert_eq!(rotating.conclude().await, Conclusion::Partial);

        let second = rotating.rotations.start(&act, first.new_pair, None).await.expect("started").rotation;
        let busy = rotating.start().await.err().expect("its new pair is being replaced");
        assert_eq!(busy.code, "key_pair_rotating");
        let turn = rotating.claim("one", NOW_US).await.expect("a turn");
        rotating.rotate(&turn).await;
        rotating.pair = rotating.fleet.ssh_keys.get(rotating.fleet.org, first.new_pair).await.expect("still there");
        assert_eq!(rotating.conclude().await, Conclusion::Done);
        // What was left behind goes on with the newest pair.
        rotating.pair = rotating.fleet.ssh_keys.get(rotating.fleet.org, old).await.expect("kept");
        let again = rotating.start().await.expect("taken up").rotation;
        assert_eq!((again.id, again.new_pair), (first.id, second.new_pair));
        let turn = rotating.claim("one", NOW_US).await.expect("a turn");
        rotating.rotate(&turn).await;
        assert_eq!(rotating.conclude().await, Conclusion::Done);
        assert_eq!(rotating.pairs().await, ["web"]);
    })
    .await;
}

#[tokio::test]
async fn another_organization_s_rotation_is_not_there() {
    on_each(|store| async move {
        let (ours, theirs) = (Rotating::new(store.clone(), 1).await, Rotating::new(store, 1).await);
        let not_found = ours.rotations.start(&ours.fleet.act(), theirs.pair.id, None).await.err().expect("refused");
        assert_eq!(not_found.kind, ErrorKind::NotFound);
        theirs.start().await.expect("started");
        let not_found = ours.rotations.get(ours.fleet.org, theirs.pair.id).await.expect_err("not there");
        assert_eq!(not_found.kind, ErrorKind::NotFound);
        let mut foreign = theirs.rotation().await;
        foreign.org_id = ours.fleet.org;
        assert!(ours.rotations.servers(&foreign, 0, 10).await.expect("a page").is_empty());
    })
    .await;
}
