//! Commands: stored, claimed, reported, and ended once.

use futures_util::StreamExt as _;
use muster_shared::{
    command::{CommandBody, CommandState},
    id::CommandId,
};

use super::*;
use crate::{
    access::Act,
    audit::Action,
    commands::{
        Cancelled, Command, CommandEvent, CommandFilter, CommandResult, DEFAULT_TTL_US, Finished, LEASE_US,
        LISTED_LINES, MAX_UNFINISHED, Progress, REPORT_GRACE_US, Recorded, SHOWN_LINES, Step, Update,
    },
    error::ErrorKind,
    store::{Claim, test_database::on_each},
};

async fn submit(fleet: &Fleet, server: ServerId) -> Command {
    let body = CommandBody::RefreshFacts;
    let act = fleet.act();
    let submitted = fleet.commands.submit(&act, server, body, DEFAULT_TTL_US);
    submitted.await.expect("submitted")
}

async fn record(fleet: &Fleet, server: ServerId, id: CommandId, seq: u64, step: Step) -> Recorded {
    let update = Update { seq, at_us: NOW_US, step };
    fleet.commands.record(server, id, &update, NOW_US).await.expect("answered")
}

async fn state(fleet: &Fleet, id: CommandId) -> CommandState {
    fleet.commands.get(fleet.org, id).await.expect("read").state
}

async fn claim(fleet: &Fleet, server: ServerId, owner: &str, now_us: i64) -> Vec<CommandId> {
    let claimed = fleet.commands.claim(server, owner, now_us).await.expect("answered");
    claimed.iter().map(|command| command.id).collect()
}

fn finished(state: CommandState) -> Step {
    Step::Finished(Finished { state, code: "done".into(), detail: "all well".into(), result: None, receipt: None })
}

#[tokio::test]
async fn a_command_goes_its_way_and_ends_once() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let command = submit(&fleet, server).await;
        assert_eq!(fleet.woken.take(), [server]);
        assert_eq!(claim(&fleet, server, "session-1", NOW_US).await, [command.id]);
        assert_eq!(state(&fleet, command.id).await, CommandState::Sent);
        assert_eq!(record(&fleet, server, command.id, 1, Step::Received).await, Recorded::Stored);
        assert_eq!(record(&fleet, server, command.id, 1, Step::Received).await, Recorded::Duplicate);
        assert_eq!(record(&fleet, server, command.id, 2, Step::Started).await, Recorded::Stored);
        let facts = r#"{"hostname":"true-name"}"#;
        let end = Step::Finished(Finished {
            state: CommandState::Succeeded,
            code: String::new(),
            detail: String::new(),
            result: Some(CommandResult::Facts(facts.into())),
            receipt: None,
        });
        assert_eq!(record(&fleet, server, command.id, 3, end.clone()).await, Recorded::Stored);
        assert_eq!(record(&fleet, server, command.id, 3, end).await, Recorded::Duplicate);
        assert_eq!(record(&fleet, server, command.id, 4, finished(CommandState::Failed)).await, Recorded::Stored);
        let ended = fleet.commands.get(fleet.org, command.id).await.expect("read");
        assert_eq!(ended.state, CommandState::Succeeded);
        assert_eq!(ended.result, Some(serde_json::json!({"hostname": "true-name"})));
        assert!(ended.started_at_us.is_some() && ended.finished_at_us.is_some());
        let facts = fleet.servers.facts(fleet.org, server).await.expect("read").expect("facts");
        assert_eq!(facts.0.hostname, "true-name");
    })
    .await;
}

#[tokio::test]
async fn a_command_is_claimed_by_one_session_until_its_lease_ends() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let id = submit(&fleet, server).await.id;
        let sessions: Vec<String> = (0..10).map(|number| format!("session-{number}")).collect();
        let claims = sessions.iter().map(|session| claim(&fleet, server, session, NOW_US));
        let claimed: usize = futures_util::future::join_all(claims).await.iter().map(Vec::len).sum();
        assert_eq!(claimed, 1);
        assert!(claim(&fleet, server, "other", NOW_US + LEASE_US - 1).await.is_empty());
        assert_eq!(
            fleet.store.claim_command(server, id, "other", NOW_US, NOW_US + 1).await.expect("answered"),
            Claim::HeldByAnother
        );
        assert_eq!(claim(&fleet, server, "other", NOW_US + LEASE_US).await, [id]);
        fleet.requeue_lost("other").await;
        assert_eq!(state(&fleet, id).await, CommandState::Queued);
        assert_eq!(claim(&fleet, server, "third", NOW_US).await, [id]);
        fleet.store.close_every_session().await.expect("closed");
        assert_eq!(claim(&fleet, server, "third", NOW_US).await, [id], "a restart ends every lease");
        record(&fleet, server, id, 1, Step::Received).await;
        fleet.requeue_lost("third").await;
        assert_eq!(
            fleet.store.claim_command(server, id, "other", NOW_US + LEASE_US, 0).await.expect("answered"),
            Claim::NoLongerWaiting
        );
    })
    .await;
}

#[tokio::test]
async fn results_are_accepted_from_the_server_that_was_asked_only() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let ((server, _), (other, _)) = (fleet.joined("one").await, fleet.joined("two").await);
        let id = submit(&fleet, server).await.id;
        let end = || finished(CommandState::Succeeded);
        assert_eq!(record(&fleet, other, id, 1, end()).await, Recorded::Foreign);
        assert_eq!(record(&fleet, server, CommandId::generate(), 1, end()).await, Recorded::Unknown);
        assert!(claim(&fleet, other, "session", NOW_US).await.is_empty());
        assert_eq!(state(&fleet, id).await, CommandState::Queued);
        let theirs = OrgId::generate();
        assert_eq!(fleet.commands.get(theirs, id).await.expect_err("hidden").kind, ErrorKind::NotFound);
        assert_eq!(
            fleet.commands.cancel(&Act::of_system(theirs, NOW_US), id).await.expect_err("hidden").kind,
            ErrorKind::NotFound
        );
        assert!(fleet.commands.list(theirs, &CommandFilter::of_server(server)).await.expect("a list").is_empty());
    })
    .await;
}

#[tokio::test]
async fn commands_are_listed_by_server_state_kind_and_time() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let ((one, _), (two, _)) = (fleet.joined("one").await, fleet.joined("two").await);
        let old = submit(&fleet, one).await.id;
        record(&fleet, one, old, 1, finished(CommandState::Failed)).await;
        let later = Act { at_us: NOW_US + 1_000_000, ..fleet.act() };
        let new = fleet.commands.submit(&later, two, CommandBody::Reboot, DEFAULT_TTL_US).await.expect("submitted").id;
        let all = CommandFilter::default();
        for (filter, expected) in [
            (all.clone(), vec![new, old]),
            (CommandFilter::of_server(one), vec![old]),
            (CommandFilter { state: Some(CommandState::Failed), ..all.clone() }, vec![old]),
            (CommandFilter { state: Some(CommandState::Failed), ..CommandFilter::of_server(two) }, vec![]),
            (CommandFilter { kind: Some("reboot"), ..all.clone() }, vec![new]),
            (CommandFilter { since_us: Some(NOW_US + 1), ..all.clone() }, vec![new]),
            (CommandFilter { since_us: Some(NOW_US), kind: Some("wake"), ..all.clone() }, vec![]),
            (CommandFilter { skip: 1, limit: 1, ..all.clone() }, vec![old]),
        ] {
            let listed = fleet.commands.list(fleet.org, &filter).await.expect("a list");
            assert_eq!(listed.iter().map(|command| command.id).collect::<Vec<_>>(), expected, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn cancelling_is_honoured_until_the_start() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let cancel = async |id| fleet.commands.cancel(&fleet.act(), id).await.expect("answered");
        let unsent = submit(&fleet, server).await.id;
        assert_eq!(cancel(unsent).await, Cancelled::AtOnce);
        assert_eq!(state(&fleet, unsent).await, CommandState::Cancelled);
        assert!(claim(&fleet, server, "session", NOW_US).await.is_empty());
        let sent = submit(&fleet, server).await.id;
        claim(&fleet, server, "session", NOW_US).await;
        assert_eq!(cancel(sent).await, Cancelled::Requested);
        assert_eq!(fleet.commands.cancellations(server).await.expect("a list"), [sent]);
        fleet.requeue_lost("session").await;
        assert!(claim(&fleet, server, "session", NOW_US).await.is_empty(), "it is not pushed again");
        record(&fleet, server, sent, 1, finished(CommandState::Cancelled)).await;
        assert!(fleet.commands.cancellations(server).await.expect("a list").is_empty());
        let started = submit(&fleet, server).await.id;
        record(&fleet, server, started, 1, Step::Started).await;
        assert_eq!(cancel(started).await, Cancelled::TooLate);
        assert_eq!(cancel(unsent).await, Cancelled::TooLate);
    })
    .await;
}

#[tokio::test]
async fn only_what_never_left_is_called_expired() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let sent = submit(&fleet, server).await.id;
        claim(&fleet, server, "session", NOW_US).await;
        fleet.requeue_lost("session").await;
        let unsent = submit(&fleet, server).await.id;
        let expiry = NOW_US + DEFAULT_TTL_US;
        fleet.commands.reconcile(expiry - 1).await.expect("reconciled");
        assert_eq!(state(&fleet, unsent).await, CommandState::Queued);
        fleet.commands.reconcile(expiry).await.expect("reconciled");
        assert_eq!(state(&fleet, unsent).await, CommandState::Expired);
        assert_eq!(state(&fleet, sent).await, CommandState::Queued);
        assert!(claim(&fleet, server, "session", expiry).await.is_empty());
        fleet.commands.reconcile(expiry + REPORT_GRACE_US).await.expect("reconciled");
        assert_eq!(state(&fleet, sent).await, CommandState::Indeterminate);
    })
    .await;
}

#[tokio::test]
async fn lost_wake_ups_are_made_up_for() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        submit(&fleet, server).await;
        fleet.woken.take();
        fleet.commands.reconcile(NOW_US).await.expect("reconciled");
        assert_eq!(fleet.woken.take(), [server]);
        claim(&fleet, server, "session", NOW_US).await;
        fleet.commands.reconcile(NOW_US).await.expect("reconciled");
        assert!(fleet.woken.take().is_empty());
        fleet.commands.reconcile(NOW_US + LEASE_US).await.expect("reconciled");
        assert_eq!(fleet.woken.take(), [server]);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_who_could_never_answer() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let without_agent = fleet.create("web").await.id;
        let act = fleet.act();
        let submit_to = |server| fleet.commands.submit(&act, server, CommandBody::RefreshFacts, DEFAULT_TTL_US);
        assert_eq!(submit_to(without_agent).await.expect_err("refused").code, "no_agent");
        let (server, _) = fleet.joined("debian").await;
        for _ in 0..MAX_UNFINISHED {
            submit(&fleet, server).await;
        }
        assert_eq!(submit_to(server).await.expect_err("refused").kind, ErrorKind::Exhausted);
        fleet.store.revoke_agent(server, &fleet.record(Action::AgentRevoked)).await.expect("revoked");
        assert_eq!(submit_to(server).await.expect_err("refused").code, "no_agent");
    })
    .await;
}

#[tokio::test]
async fn a_watcher_sees_every_step_and_then_the_end() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let id = submit(&fleet, server).await.id;
        record(&fleet, server, id, 1, Step::Received).await;
        let watching = fleet.commands.watch(fleet.org, id).await.expect("watching");
        let acting = async {
            record(&fleet, server, id, 2, Step::Started).await;
            record(&fleet, server, id, 3, Step::Line("working".into())).await;
            record(&fleet, server, id, 4, finished(CommandState::Succeeded)).await;
        };
        let (seen, ()) = tokio::join!(watching.collect::<Vec<_>>(), acting);
        let seen: Vec<CommandEvent> = seen.into_iter().collect::<Result<_, _>>().expect("no failure");
        let steps: Vec<u64> = seen
            .iter()
            .filter_map(|event| match event {
                CommandEvent::Update(update) => Some(update.seq),
                CommandEvent::Changed(_) => None,
            })
            .collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert!(
            matches!(seen.last(), Some(CommandEvent::Changed(command)) if command.state == CommandState::Succeeded)
        );
        assert_eq!(fleet.commands.watch(OrgId::generate(), id).await.err().map(|e| e.kind), Some(ErrorKind::NotFound));
    })
    .await;
}

#[tokio::test]
async fn what_hosts_said_is_shown_bounded_and_of_running_commands_in_lists() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let [running, waiting] = [submit(&fleet, server).await.id, submit(&fleet, server).await.id];
        record(&fleet, server, running, 1, Step::Received).await;
        record(&fleet, server, running, 2, Step::Started).await;
        let lines = SHOWN_LINES as u64 + 5;
        for seq in 3..3 + lines {
            record(&fleet, server, running, seq, Step::Line(format!("line {seq}"))).await;
        }
        let seqs = |progress: &Progress| progress.lines.iter().map(|update| update.seq).collect::<Vec<_>>();
        let list = fleet.commands.list(fleet.org, &CommandFilter::of_server(server)).await.expect("listed");
        let listed = fleet.commands.progress_of(&list).await.expect("read");
        assert_eq!((list.len(), listed.len()), (2, 1), "one that waits has said nothing");
        assert_eq!(seqs(&listed[&running]), (3 + lines - LISTED_LINES as u64..3 + lines).collect::<Vec<_>>());
        assert!(listed[&running].has_earlier);
        let shown = async |id| {
            let command = fleet.commands.get(fleet.org, id).await.expect("read");
            fleet.commands.progress(&command).await.expect("read")
        };
        assert_eq!(shown(waiting).await, None);
        assert_eq!(seqs(&shown(running).await.expect("lines")), (8..3 + lines).collect::<Vec<_>>());
        record(&fleet, server, running, 3 + lines, finished(CommandState::Succeeded)).await;
        assert_eq!(
            seqs(&shown(running).await.expect("lines")),
            (8..3 + lines).collect::<Vec<_>>(),
            "kept when it ended"
        );
        let list = fleet.commands.list(fleet.org, &CommandFilter::of_server(server)).await.expect("listed");
        assert!(fleet.commands.progress_of(&list).await.expect("read").is_empty(), "lists tell of those that run");
        let foreign = fleet.store.newest_command_updates(OrgId::generate(), running, 10).await.expect("read");
        assert_eq!(foreign, []);
        let after = fleet.commands.watch_after(fleet.org, running, 1 + lines).await.expect("watching");
        let after: Vec<_> = after.map(|event| event.expect("no failure")).collect().await;
        assert_eq!(after.len(), 3, "the last line, the end, and the state: {after:?}");
    })
    .await;
}

#[tokio::test]
async fn signed_commands_are_what_hosts_accept() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let command = submit(&fleet, server).await;
        let signed = fleet.commands.sign(&command);
        let envelope = command.envelope();
        assert_eq!(envelope.server_id, server);
        assert_eq!(signed.key_id, "k1");
        assert_eq!(fleet.events.watchers(), 0);
    })
    .await;
}
