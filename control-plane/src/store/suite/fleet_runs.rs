//! Fleet runs: who is selected, waves, the budget, and what a restart in the middle leaves. Hosts are played by the test.

use std::time::Duration;

use muster_shared::{
    action::{ItemName, Mode},
    command::{CommandBody, CommandState},
    id::FleetRunId,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    access::{Membership, Principal, Proof as Proven, Role, Scopes},
    clock::Clock,
    commands::{CommandFilter, Finished, Step, Update},
    error::ErrorKind,
    fleet_runs::{Bounds, FleetRun, FleetRuns, LEASE_US, NewRun, RunState, Selection, ServerOutcome, Task, Wanted},
    proof::Proof,
    sessions::Sessions,
    ssh::{Connector, Entrance},
    store::test_database::on_each,
};

const TINY: Bounds = Bounds { wave_size: 2, max_failures: 0 };

struct Runs {
    fleet: Fleet,
    runs: FleetRuns,
    clock: Clock,
    servers: Vec<Server>,
}

impl Runs {
    /// Hosts that are connected, as far as the record says.
    async fn new(store: Store, hosts: usize) -> Self {
        let fleet = Fleet::new(store.clone()).await;
        let clock = Clock::standing_at(NOW_US);
        let runs = runs_of(&fleet, &clock);
        let mut servers = Vec::new();
        for number in 0..hosts {
            let (id, _) = fleet.joined(&format!("web-{number}")).await;
            store.say_online(id).await;
            servers.push(fleet.servers.get(fleet.org, id).await.expect("there"));
        }
        Self { fleet, runs, clock, servers }
    }

    fn caller(&self, role: Role) -> Principal {
        let Actor::User { id, name, credential } = self.fleet.act().actor else { panic!("a user") };
        let memberships = [Membership { org_id: self.fleet.org, role }];
        let proven = Proven {
            user_id: id,
            user_name: name,
            credential,
            scopes: Scopes::All,
            memberships: memberships.into(),
            chosen: None,
            must_change_password: false,
            expires_at_us: None,
        };
        proven.acting().expect("a member")
    }

    async fn start(&self, wanted: Wanted, bounds: Bounds) -> Result<FleetRun, crate::error::Error> {
        self.runs.start(&self.caller(Role::Owner), &self.fleet.act(), wanted, bounds).await
    }

    async fn refresh(&self, bounds: Bounds) -> FleetRun {
        let names = self.servers.iter().map(|server| server.name.to_string()).collect();
        let wanted = Wanted::New { task: Task::RefreshFacts, selection: Selection::Servers(names), dry_run: false };
        self.start(wanted, bounds).await.expect("started")
    }

    async fn stands(&self, run: &FleetRun) -> Vec<(String, ServerOutcome, String)> {
        let servers = self.runs.servers(run, 0, 100).await.expect("a page");
        let mut stands: Vec<_> = servers.into_iter().map(|server| (server.name, server.state, server.code)).collect();
        stands.sort_by(|one, other| one.0.cmp(&other.0));
        stands
    }

    async fn commands(&self) -> usize {
        self.fleet.commands.list(self.fleet.org, &CommandFilter::default()).await.expect("a list").len()
    }

    /// Answers, as every host would, whatever is asked of it, until the run has ended. Answers the most that were at work
    /// at once.
    async fn play(&self, run: &FleetRun, answer: impl Fn(&str) -> CommandState) -> (FleetRun, usize) {
        let mut most = 0;
        loop {
            let now = self.runs.get(self.fleet.org, run.id).await.expect("there");
            if now.ended_at_us.is_some() {
                return (now, most);
            }
            most = most.max(usize::try_from(now.tally.running).expect("few"));
            for server in &self.servers {
                for command in self.fleet.commands.claim(server.id, "stream", NOW_US).await.expect("claimed") {
                    let state = answer(server.name.as_str());
                    let finished =
                        Finished { state, code: String::new(), detail: "so it is".into(), result: None, receipt: None };
                    for (seq, step) in [(1, Step::Received), (2, Step::Started), (3, Step::Finished(finished))] {
                        let update = Update { seq, at_us: NOW_US, step };
                        self.fleet.commands.record(server.id, command.id, &update, NOW_US).await.expect("kept");
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The loop that carries runs on; it is killed by aborting it.
    fn carried(&self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(crate::workload::keep_carried(self.runs.clone(), CancellationToken::new()))
    }
}

fn runs_of(fleet: &Fleet, clock: &Clock) -> FleetRuns {
    let connector = Connector::default();
    let entrance = Entrance::new(connector.clone(), fleet.servers.clone(), clock.clone());
    let proof = Proof::new(
        (fleet.servers.clone(), fleet.commands.clone()),
        Sessions::default(),
        (entrance, connector),
        clock.clone(),
    );
    FleetRuns::new(fleet.store.clone(), (fleet.servers.clone(), fleet.commands.clone()), proof, clock.clone())
}

impl Store {
    /// As a session of the agent's would.
    async fn say_online(&self, server: ServerId) {
        sqlx::query("UPDATE servers SET agent_status = 'online' WHERE id = $1")
            .bind(server.to_string())
            .execute(self.write())
            .await
            .expect("written");
    }
}

/// What went wrong in another product of this kind: a member's job with an empty list of servers ran on every tenant's.
#[tokio::test]
async fn a_member_s_job_with_an_empty_list_runs_on_no_tenant_s_servers() {
    on_each(|store| async move {
        let (ours, theirs) = (Runs::new(store.clone(), 2).await, Runs::new(store, 2).await);
        let empty = [
            Selection::Servers(Vec::new()),
            Selection::Filter(String::new()),
            Selection::Filter(" \t".to_owned()),
            Selection::Filter("name == \"nobody\"".to_owned()),
        ];
        for selection in empty {
            for dry_run in [true, false] {
                let wanted = Wanted::New { task: Task::RefreshFacts, selection: selection.clone(), dry_run };
                let refused = ours.start(wanted.clone(), TINY).await.expect_err("nothing is selected");
                assert!(matches!(refused.code, "selection_required" | "nothing_selected"), "{selection:?} {refused:?}");
                let member = ours.runs.start(&ours.caller(Role::Member), &ours.fleet.act(), wanted, TINY).await;
                assert_eq!(member.expect_err("not a member's").kind, ErrorKind::PermissionDenied);
            }
        }
        // Naming another tenant's server is as naming one that is not there, and one such name spoils the whole list.
        let (own, foreign) = (ours.servers[0].id.to_string(), theirs.servers[0].id.to_string());
        let selection = Selection::Servers(vec![own, foreign]);
        let wanted = Wanted::New { task: Task::RefreshFacts, selection, dry_run: false };
        assert_eq!(ours.start(wanted, TINY).await.expect_err("refused").kind, ErrorKind::NotFound);
        // Nor does the store take one, whoever asked it to.
        let run = NewRun {
            id: FleetRunId::generate(),
            task: Task::RefreshFacts,
            filter: String::new(),
            dry_run: false,
            dry_run_id: None,
            wave_size: 1,
            max_failures: 0,
            servers: vec![theirs.servers[0].id],
            only_shows: false,
        };
        let record = ours.fleet.record(Action::FleetRunStarted);
        let kept = ours.fleet.store.insert_fleet_run(&run, "token x", &record).await.expect("answered");
        assert!(!kept, "a run for another tenant's server");
        // Whoever means all says so, and gets all of their own.
        let selection = Selection::Filter("name != \"\"".to_owned());
        let wanted = Wanted::New { task: Task::RefreshFacts, selection, dry_run: true };
        let run = ours.start(wanted, TINY).await.expect("shown");
        let names: Vec<_> = ours.stands(&run).await.into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["web-0", "web-1"]);
        assert_eq!(ours.runs.servers(&run, 0, 10).await.expect("a page")[0].server, ours.servers[0].id);
        for runs in [&ours, &theirs] {
            assert_eq!(runs.commands().await, 0, "nobody was asked anything");
        }
        let listed = |runs: &Runs| {
            let (runs, org) = (runs.runs.clone(), runs.fleet.org);
            async move { runs.list(org, 0, 10).await.expect("a list").len() }
        };
        assert_eq!((listed(&ours).await, listed(&theirs).await), (1, 0));
        let stranger = theirs.runs.get(theirs.fleet.org, run.id).await.expect_err("not theirs");
        assert_eq!(stranger.kind, ErrorKind::NotFound);
        let foreign = theirs.runs.cancel(&theirs.fleet.act(), run.id).await.expect_err("not theirs");
        assert_eq!(foreign.kind, ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_run_goes_in_waves_and_each_server_is_asked_once() {
    on_each(|store| async move {
        let runs = Runs::new(store, 5).await;
        let run = runs.refresh(TINY).await;
        assert_eq!((run.tally.waiting_now, run.tally.waiting_later), (2, 3));
        let carried = runs.carried();
        let (ended, most) = runs.play(&run, |_| CommandState::Succeeded).await;
        carried.abort();
        assert_eq!((ended.state, ended.tally.succeeded, ended.wave), (RunState::Done, 5, 2));
        assert!(most <= 2, "{most} at once");
        assert_eq!(runs.commands().await, 5);
        let words = runs.fleet.recorded_of(run.id).await;
        assert_eq!(words, ["FLEET_RUN_ENDED", "FLEET_RUN_STARTED"]);
    })
    .await;
}

#[tokio::test]
async fn a_failing_wave_uses_up_the_budget_and_no_other_server_begins() {
    on_each(|store| async move {
        let runs = Runs::new(store, 7).await;
        let run = runs.refresh(Bounds { wave_size: 2, max_failures: 1 }).await;
        let carried = runs.carried();
        // Within the budget one may fail; the second wave has two more.
        let order = runs.runs.servers(&run, 0, 10).await.expect("a page");
        let failing: Vec<_> = [0, 2, 3].map(|place| order[place].name.clone()).into();
        let fate = |name: &str| match failing.iter().any(|failing| failing == name) {
            true => CommandState::Failed,
            false => CommandState::Succeeded,
        };
        let (ended, _) = runs.play(&run, fate).await;
        carried.abort();
        assert_eq!(ended.state, RunState::Stopped);
        let tally = ended.tally;
        // The second of the second wave may not have begun when the first had failed.
        assert!(tally.succeeded == 1 && matches!((tally.failed, tally.skipped), (3, 3) | (2, 4)), "{tally:?}");
        let servers = runs.runs.servers(&run, 0, 10).await.expect("a page");
        assert!(servers[4..].iter().all(|server| server.code == "failure_budget" && server.command.is_none()));
        assert!(
            servers.iter().all(|server| server.state != ServerOutcome::Failed || server.detail.contains("so it is"))
        );
        assert_eq!(runs.commands().await, usize::try_from(1 + tally.failed).expect("few"));
        assert_eq!(runs.fleet.recorded_of(servers[0].server).await[0], "FLEET_RUN_SERVER_FAILED");
    })
    .await;
}

#[tokio::test]
async fn a_restart_in_the_middle_follows_the_same_commands() {
    on_each(|store| async move {
        let runs = Runs::new(store.clone(), 4).await;
        let run = runs.refresh(TINY).await;
        let killed = runs.carried();
        while runs.commands().await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        killed.abort();
        let before = runs.runs.servers(&run, 0, 10).await.expect("a page");
        // The next control plane: the lease lapses, on SQLite it is freed at once.
        store.free_fleet_work().await.expect("freed");
        runs.clock.advance(LEASE_US);
        let again = Runs { runs: runs_of(&runs.fleet, &runs.clock), ..runs };
        let carried = again.carried();
        let (ended, _) = again.play(&run, |_| CommandState::Succeeded).await;
        carried.abort();
        assert_eq!((ended.state, ended.tally.succeeded), (RunState::Done, 4));
        assert_eq!(again.commands().await, 4, "nobody was asked twice");
        let after = again.runs.servers(&run, 0, 10).await.expect("a page");
        for (before, after) in before.iter().zip(&after) {
            assert!(before.command.is_none() || before.command == after.command, "another command");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_run_begins_nothing_more() {
    on_each(|store| async move {
        let runs = Runs::new(store, 4).await;
        let run = runs.refresh(TINY).await;
        let carried = runs.carried();
        while runs.commands().await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cancelled = runs.runs.cancel(&runs.fleet.act(), run.id).await.expect("cancelled");
        assert_eq!((cancelled.state, cancelled.tally.skipped >= 2), (RunState::Cancelled, true));
        let (ended, _) = runs.play(&run, |_| CommandState::Succeeded).await;
        carried.abort();
        assert_eq!((ended.state, ended.tally.skipped), (RunState::Cancelled, 4), "none had started");
        assert_eq!(runs.commands().await, 2);
        let late = runs.runs.cancel(&runs.fleet.act(), run.id).await.expect_err("late");
        assert_eq!((late.kind, late.code), (ErrorKind::Precondition, "too_late"));
    })
    .await;
}

#[tokio::test]
async fn what_changes_hosts_is_shown_first_and_done_where_that_went_well() {
    on_each(|store| async move {
        let runs = Runs::new(store, 3).await;
        let task = Task::Harden { item: ItemName::Fail2ban, undo: false, open_ports: None, ssh_from: Vec::new() };
        let all = Selection::Filter("name != \"\"".to_owned());
        let wanted = |dry_run| Wanted::New { task: task.clone(), selection: all.clone(), dry_run };
        let refused = runs.start(wanted(false), TINY).await.expect_err("not at once");
        assert_eq!((refused.kind, refused.code), (ErrorKind::Precondition, "dry_run_first"));
        let dry_run = runs.start(wanted(true), TINY).await.expect("planned");
        let early = runs.start(Wanted::After(dry_run.id), TINY).await.expect_err("it has not ended");
        assert_eq!(early.code, "dry_run_unfinished");
        let carried = runs.carried();
        let fate = |name: &str| if name == "web-1" { CommandState::Failed } else { CommandState::Succeeded };
        let (ended, _) = runs.play(&dry_run, fate).await;
        assert_eq!((ended.state, ended.tally.failed), (RunState::Done, 1), "a dry run is not stopped by failures");
        let modes = async || {
            let commands = runs.fleet.commands.list(runs.fleet.org, &CommandFilter::default()).await.expect("a list");
            let mode = |body: &CommandBody| match body {
                CommandBody::Change(args) => args.mode,
                other => panic!("{other:?}"),
            };
            commands.iter().map(|command| mode(&command.body)).collect::<Vec<_>>()
        };
        assert_eq!(modes().await, [Mode::Plan; 3]);

        let run = runs.start(Wanted::After(dry_run.id), TINY).await.expect("started");
        let (ended, _) = runs.play(&run, |_| CommandState::Succeeded).await;
        carried.abort();
        assert_eq!((ended.state, ended.dry_run_id), (RunState::Done, Some(dry_run.id)));
        let names: Vec<_> = runs.stands(&run).await.into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["web-0", "web-2"], "not where the dry run failed");
        assert_eq!(modes().await.iter().filter(|mode| **mode == Mode::Apply).count(), 2);
        let none = runs.start(Wanted::After(run.id), TINY).await.expect_err("no dry run");
        assert_eq!(none.code, "no_dry_run");
        let mut act = runs.fleet.act();
        act.at_us += crate::fleet_runs::DRY_RUN_LIFE_US + SECOND_US;
        let wanted = Wanted::After(dry_run.id);
        let stale = runs.runs.start(&runs.caller(Role::Owner), &act, wanted, TINY).await.expect_err("too old");
        assert_eq!(stale.code, "dry_run_stale");
    })
    .await;
}

#[tokio::test]
async fn whoever_lost_the_right_meanwhile_reaches_no_other_server() {
    on_each(|store| async move {
        let runs = Runs::new(store.clone(), 2).await;
        let run = runs.refresh(Bounds { wave_size: 1, max_failures: 5 }).await;
        sqlx::query("UPDATE memberships SET role = 'member' WHERE org_id = $1")
            .bind(runs.fleet.org.to_string())
            .execute(store.write())
            .await
            .expect("written");
        let carried = runs.carried();
        let (ended, _) = runs.play(&run, |_| CommandState::Succeeded).await;
        carried.abort();
        assert_eq!((ended.tally.failed, runs.commands().await), (2, 0));
        assert!(runs.stands(&run).await.iter().all(|(.., code)| code == "permission_denied"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_fails_and_is_not_waited_for() {
    on_each(|store| async move {
        let mut runs = Runs::new(store, 1).await;
        runs.servers.push(runs.fleet.create("bare").await);
        let run = runs.refresh(Bounds { wave_size: 1, max_failures: 5 }).await;
        let carried = runs.carried();
        let (ended, _) = runs.play(&run, |_| CommandState::Succeeded).await;
        carried.abort();
        assert_eq!((ended.state, ended.tally.succeeded, ended.tally.failed), (RunState::Done, 1, 1));
        let stands = runs.stands(&run).await;
        assert_eq!(stands[0], ("bare".to_owned(), ServerOutcome::Failed, "agent_offline".to_owned()));
    })
    .await;
}
