//! Whatever sessions, hosts, people and clocks do to a command, in whatever order: the promises hold.

use std::collections::BTreeSet;

use muster_shared::command::{CommandBody, CommandState};
use proptest::{prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::{
    commands::{Cancelled, Command, DEFAULT_TTL_US, Finished, LEASE_US, Recorded, Step, Update},
    store::test_database::TestDatabase,
};

#[derive(Debug, Clone)]
enum Act {
    /// A session asks for work.
    Claim(u8),
    /// A session's stream ends.
    Lose(u8),
    /// The host reports, maybe again, maybe late.
    Report(u64, Box<Step>),
    /// A person cancels.
    Cancel,
    /// Time passes and the reconciler runs.
    Wait(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let end = |state| {
        Step::Finished(Finished { state, code: String::new(), detail: String::new(), result: None, receipt: None })
    };
    let step = prop_oneof![
        Just(Step::Received),
        Just(Step::Started),
        Just(Step::Line("x".into())),
        Just(end(CommandState::Succeeded)),
        Just(end(CommandState::Refused)),
        Just(end(CommandState::Cancelled)),
        Just(end(CommandState::Indeterminate)),
    ];
    let act = prop_oneof![
        3 => (0..3u8).prop_map(Act::Claim),
        1 => (0..3u8).prop_map(Act::Lose),
        4 => (1..6u64, step).prop_map(|(seq, step)| Act::Report(seq, Box::new(step))),
        1 => Just(Act::Cancel),
        2 => prop_oneof![Just(SECOND_US), Just(LEASE_US), Just(DEFAULT_TTL_US)].prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..25)
}

/// What must have been true so far.
#[derive(Default)]
struct Seen {
    stored: BTreeSet<u64>,
    /// Who holds the lease, and until when.
    lease: Option<(u8, i64)>,
    was_started: bool,
    was_claimed: bool,
    ended: Option<Command>,
}

async fn act(fleet: &Fleet, command: &Command, seen: &mut Seen, act: &Act, now_us: &mut i64) -> TestCaseResult {
    let (server, id) = (command.server_id, command.id);
    match act {
        Act::Claim(session) => {
            let before = fleet.commands.get(fleet.org, id).await.expect("read");
            let claimed = fleet.commands.claim(server, &session.to_string(), *now_us).await.expect("answered");
            if !claimed.is_empty() {
                prop_assert!(seen.lease.is_none_or(|(_, until_us)| until_us <= *now_us), "held by another");
                prop_assert!(matches!(before.state, CommandState::Queued | CommandState::Sent));
                prop_assert!(before.cancel_requested_at_us.is_none() && before.expires_at_us > *now_us);
                (seen.lease, seen.was_claimed) = (Some((*session, *now_us + LEASE_US)), true);
            }
        }
        Act::Lose(session) => {
            fleet.requeue_lost(&session.to_string()).await;
            seen.lease = seen.lease.filter(|(holder, _)| holder != session);
        }
        Act::Report(seq, step) => {
            let update = Update { seq: *seq, at_us: *now_us, step: Step::clone(step) };
            let recorded = fleet.commands.record(server, id, &update, *now_us).await.expect("answered");
            let expected = if seen.stored.insert(*seq) { Recorded::Stored } else { Recorded::Duplicate };
            prop_assert_eq!(recorded, expected);
        }
        Act::Cancel => {
            let before = fleet.commands.get(fleet.org, id).await.expect("read").state;
            let outcome = fleet.commands.cancel(&fleet.act_at(*now_us), id).await.expect("answered");
            let too_late = before == CommandState::Started || before.is_final();
            prop_assert_eq!(outcome == Cancelled::TooLate, too_late);
        }
        Act::Wait(for_us) => {
            *now_us += for_us;
            fleet.commands.reconcile(*now_us).await.expect("reconciled");
        }
    }
    check(fleet, seen, id).await
}

async fn check(fleet: &Fleet, seen: &mut Seen, id: muster_shared::id::CommandId) -> TestCaseResult {
    let now = fleet.commands.get(fleet.org, id).await.expect("read");
    seen.was_started |= now.state == CommandState::Started;
    if let Some(ended) = &seen.ended {
        prop_assert_eq!(&now, ended, "what has ended stays as it is");
    } else if now.state.is_final() {
        prop_assert!(now.finished_at_us.is_some());
        seen.ended = Some(now.clone());
    } else {
        prop_assert!(now.finished_at_us.is_none());
    }
    if seen.was_started {
        use CommandState::{Cancelled, Expired, Refused};
        prop_assert!(!matches!(now.state, Cancelled | Refused | Expired), "it had started");
    }
    if now.state == CommandState::Expired {
        prop_assert!(!seen.was_claimed, "the host may have run it");
    }
    if !matches!(now.state, CommandState::Sent) {
        seen.lease = None;
    }
    let stored = fleet.store.command_updates(fleet.org, id, 0).await.expect("read");
    let stored: Vec<u64> = stored.iter().map(|update| update.seq).collect();
    prop_assert_eq!(stored, seen.stored.iter().copied().collect::<Vec<_>>(), "each step once, in order");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_whatever_happens(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let database = TestDatabase::sqlite().await;
            let fleet = Fleet::new(database.store.clone()).await;
            let (server, _) = fleet.joined("debian").await;
            let body = CommandBody::RefreshFacts;
            let submitted = fleet.commands.submit(&fleet.act(), server, body, DEFAULT_TTL_US).await;
            let command = submitted.expect("submitted");
            let (mut seen, mut now_us) = (Seen::default(), NOW_US);
            for step in &acts {
                act(&fleet, &command, &mut seen, step, &mut now_us).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
