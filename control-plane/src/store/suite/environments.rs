//! Projects, environments, quotas and deleted servers, with many callers at once.

use futures_util::future::join_all;
use muster_shared::{
    facts::{Container, Docker, DockerStatus, Facts},
    id::EnvironmentId,
    policy::Family,
    preflight::{CheckName, CheckResult, PreflightReport},
};

use super::*;
use crate::{
    access::Role,
    environments::{Environment, EnvironmentPatch, EnvironmentStatus, EnvironmentType, NewEnvironment, Takes},
    error::{Error, ErrorKind},
    metrics::Heads,
    projects::{NewProject, Project, Scope},
    quota::{Amounts, LimitsPatch, Standing},
    server_deletion::ServerDeletion,
    servers::{ConnectionOutcome, ServerPatch},
    sessions::Sessions,
    store::{AuditFilter, SessionClaim, SessionOutcome, test_database::on_each},
};

pub(super) fn sizes(cpu_milli: u64, ram_mb: u64, disk_gb: u64) -> Amounts {
    Amounts { cpu_milli, ram_mb_milli: ram_mb * 1000, disk_gb_milli: disk_gb * 1000 }
}

pub(super) fn new_environment(name: &str, sizes: Amounts, server_id: Option<ServerId>) -> NewEnvironment {
    NewEnvironment {
        name: name.parse().expect("a name"),
        environment_type: EnvironmentType::Production,
        domain: None,
        port: None,
        container_id: None,
        takes: Takes::Sizes(sizes),
        is_active: true,
        server_id,
    }
}

fn to(server: ServerId) -> EnvironmentPatch {
    EnvironmentPatch { server_id: Some(Some(server)), ..EnvironmentPatch::default() }
}

/// Asks again as long as the database is busy, as callers are told to.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match ask().await {
            Err(error) if error.kind == ErrorKind::Unavailable => tokio::task::yield_now().await,
            answer => return answer,
        }
    }
}

impl Fleet {
    pub(super) async fn project(&self, name: &str) -> Project {
        let new = NewProject {
            name: name.parse().expect("a name"),
            slug: None,
            description: String::new().parse().expect("a text"),
            odoo_version: label("17.0"),
        };
        self.projects.create(&self.act(), new).await.expect("a project")
    }

    pub(super) async fn environment(&self, project: &Project, name: &str, server: Option<ServerId>) -> Environment {
        let new = new_environment(name, sizes(500, 1024, 10), server);
        self.environments.create(&self.act(), project, &new).await.expect("an environment")
    }

    /// A server without limits of its own.
    pub(super) async fn boundless(&self, name: &str, max_projects: Option<u32>) -> ServerId {
        let new = NewServer { declared: Resources::default(), max_projects, ..new_server(name) };
        self.servers.create(&self.act(), new, None).await.expect("a server").id
    }

    pub(super) async fn limit(&self, limits: LimitsPatch) -> Standing {
        self.quotas.set(&self.act(), &limits).await.expect("set")
    }

    pub(super) async fn standing(&self) -> Standing {
        self.quotas.get(self.org).await.expect("a standing")
    }

    fn deletion(&self) -> ServerDeletion {
        ServerDeletion::new(
            self.store.clone(),
            Heads::new(self.store.clone()),
            Sessions::default(),
            self.events.clone(),
        )
    }

    pub(super) async fn actions(&self) -> Vec<String> {
        let filter = AuditFilter { limit: 1000, ..AuditFilter::default() };
        let entries = self.store.list_audit(self.org, &filter).await.expect("read");
        entries.into_iter().map(|entry| entry.action).collect()
    }
}

#[tokio::test]
async fn two_hundred_creations_at_the_edge_of_a_quota_never_pass_it() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let project = fleet.project("shop").await;
        fleet.limit(LimitsPatch { ram_mb_milli: Some(Some(50 * 1024 * 1000)), ..LimitsPatch::default() }).await;
        let make = async |number: usize| {
            let new = new_environment(&format!("env-{number}"), sizes(500, 1024, 10), None);
            patiently(async || fleet.environments.create(&fleet.act(), &project, &new).await).await
        };
        let made = join_all((0..200).map(make)).await;
        let refused: Vec<_> = made.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(made.len() - refused.len(), 50, "exactly as many as fit");
        for error in refused {
            assert_eq!((error.kind, error.code), (ErrorKind::PermissionDenied, "quota_exceeded"));
            assert!(error.detail.contains("RAM quota is 51200 MB, 0 MB left, 1024 MB needed"), "{error}");
        }
        let standing = fleet.standing().await;
        assert_eq!(standing.environments, sizes(25_000, 51_200, 500));
    })
    .await;
}

#[tokio::test]
async fn servers_created_at_once_never_pass_a_quota() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        fleet.limit(LimitsPatch { cpu_milli: Some(Some(41_000)), ..LimitsPatch::default() }).await;
        let make = async |number: usize| {
            let create = async || fleet.servers.create(&fleet.act(), new_server(&format!("web-{number}")), None).await;
            patiently(create).await
        };
        let made = join_all((0..40).map(make)).await;
        assert_eq!(made.iter().filter(|answer| answer.is_ok()).count(), 10, "of four cores each");
        assert!(made.iter().filter_map(|answer| answer.as_ref().err()).all(|error| error.code == "quota_exceeded"));
        assert_eq!(fleet.standing().await.servers.cpu_milli, 40_000);
        let server = made.into_iter().find_map(Result::ok).expect("one of them");
        let grow = |cores| ServerPatch {
            declared: Resources { cpu_cores: Some(cores), ..Resources::default() },
            ..ServerPatch::default()
        };
        let error = fleet.servers.update(&fleet.act(), server.id, &grow(6.0)).await.expect_err("over");
        assert_eq!(error.code, "quota_exceeded");
        fleet.servers.update(&fleet.act(), server.id, &grow(5.0)).await.expect("just fits");
        let token = fleet.join_token(None).await;
        let refused = fleet.store.enroll(&enrolment(&token, "late"), |_, _| signed(), NOW_US).await;
        assert!(matches!(refused, Err(super::super::StoreError::OverQuota(_))), "nothing is left for it");
        fleet.servers.update(&fleet.act(), server.id, &grow(1.0)).await.expect("shrinking is free");
        fleet.store.enroll(&enrolment(&token, "late"), |_, _| signed(), NOW_US).await.expect("its token is still good");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_moves_at_once_leave_the_sums_right() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let project = fleet.project("shop").await;
        let mut servers = Vec::new();
        for number in 0..4 {
            servers.push(fleet.boundless(&format!("web-{number}"), Some(7)).await);
        }
        let mut environments = Vec::new();
        for number in 0..20 {
            let server = servers[number % 4];
            environments.push(fleet.environment(&project, &format!("env-{number}"), Some(server)).await.id);
        }
        let total = fleet.standing().await.environments;
        let move_one = async |number: usize| {
            let (id, server) = (environments[number * 7 % 20], servers[(number / 3 + number * number) % 4]);
            let ask = async || fleet.environments.update(&fleet.act(), project.id, id, &to(server)).await;
            patiently(ask).await
        };
        let answers = join_all((0..1000).map(move_one)).await;
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(error.code, "server_full", "{error}");
        }
        assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= 250, "those that stay are always possible");
        assert_eq!(fleet.standing().await.environments, total);
        let mut found: Vec<EnvironmentId> = Vec::new();
        let mut given = Amounts::default();
        for server in &servers {
            let counts = fleet.store.environment_counts(fleet.org, *server).await.expect("counted");
            let there = fleet.environments.on_server(fleet.org, Scope::Organization, *server).await.expect("listed");
            assert_eq!(counts.active as usize, there.len());
            assert_eq!(counts.given, there.iter().map(Environment::counted).sum());
            assert!(counts.active <= 7);
            given = given.plus(&counts.given);
            found.extend(there.iter().map(|environment| environment.id));
        }
        found.sort_unstable();
        environments.sort_unstable();
        assert_eq!((found, given), (environments, total));
    })
    .await;
}

#[tokio::test]
async fn replicas_count_in_part_and_what_is_inactive_or_deleted_not_at_all() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let project = fleet.project("shop").await;
        let new = new_environment("production", sizes(1000, 2048, 40), None);
        let source = fleet.environments.create(&fleet.act(), &project, &new).await.expect("made");
        let replica = |name: &str, of| NewEnvironment {
            takes: Takes::ReplicaOf(of),
            ..new_environment(name, Amounts::default(), None)
        };
        let made =
            fleet.environments.create(&fleet.act(), &project, &replica("replica", source.id)).await.expect("made");
        assert_eq!(made.sizes, source.sizes);
        let expected = Amounts { cpu_milli: 1300, ram_mb_milli: 2_662_400, disk_gb_milli: 80_000 };
        assert_eq!(fleet.standing().await.environments, expected);
        let of_replica = replica("third", made.id);
        let error = fleet.environments.create(&fleet.act(), &project, &of_replica).await.expect_err("refused");
        assert_eq!(error.code, "replica");

        fleet.limit(LimitsPatch { cpu_milli: Some(Some(2599)), ..LimitsPatch::default() }).await;
        let double = EnvironmentPatch { cpu_milli: Some(2000), ..EnvironmentPatch::default() };
        let change =
            async |id, patch: &EnvironmentPatch| fleet.environments.update(&fleet.act(), project.id, id, patch).await;
        assert_eq!(change(source.id, &double).await.expect_err("with its replica").code, "quota_exceeded");
        assert_eq!(fleet.standing().await.environments, expected, "nothing of it was written");
        fleet.limit(LimitsPatch { cpu_milli: Some(Some(2600)), ..LimitsPatch::default() }).await;
        change(source.id, &double).await.expect("just fits");
        assert_eq!(fleet.standing().await.environments.cpu_milli, 2600);
        assert_eq!(change(made.id, &double).await.expect_err("its sizes are not its own").code, "replica");

        let active = |is_active| EnvironmentPatch { is_active: Some(is_active), ..EnvironmentPatch::default() };
        change(source.id, &active(false)).await.expect("deactivated");
        assert_eq!(fleet.standing().await.environments.cpu_milli, 600);
        fleet.environment(&project, "other", None).await;
        let error = change(source.id, &active(true)).await.expect_err("its place is taken");
        assert_eq!(error.code, "quota_exceeded");
        let error = fleet.environments.delete(&fleet.act(), project.id, source.id).await.expect_err("replicated");
        assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "has_replicas"));
        fleet.environments.delete(&fleet.act(), project.id, made.id).await.expect("deleted");
        change(source.id, &active(true)).await.expect("released at once");
        fleet.environments.delete(&fleet.act(), project.id, source.id).await.expect("deleted");
        assert_eq!(fleet.standing().await.environments, sizes(500, 1024, 10));
    })
    .await;
}

#[tokio::test]
async fn a_server_takes_what_it_is_ready_and_large_enough_for() {
    on_each(|store| async move {
        let (fleet, others) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let project = fleet.project("shop").await;
        let theirs = others.boundless("web", None).await;
        let place = async |name: &str, sizes, server| {
            let new = new_environment(name, sizes, Some(server));
            fleet.environments.create(&fleet.act(), &project, &new).await
        };
        assert_eq!(place("a", sizes(1, 1, 1), theirs).await.expect_err("another's").kind, ErrorKind::NotFound);
        let two = fleet.boundless("two", Some(2)).await;
        for name in ["a", "b"] {
            place(name, sizes(64_000, 1 << 20, 1), two).await.expect("its size is not known");
        }
        let error = place("c", sizes(1, 1, 1), two).await.expect_err("full");
        assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "server_full"));
        assert_eq!(error.detail, "The server two is full: it holds 2 of at most 2 active environments");

        // 4 cores, 7.5 GB
        let sized = fleet.create("sized").await.id;
        place("d", sizes(8_000, 4096, 1), sized).await.expect("cores may be given twice");
        assert_eq!(place("e", sizes(1, 1, 1), sized).await.expect_err("no core left").code, "server_full");
        let moved = fleet.environments.resolve(fleet.org, project.id, "d").await.expect("there");
        let shrink = EnvironmentPatch { cpu_milli: Some(1_000), ..EnvironmentPatch::default() };
        fleet.environments.update(&fleet.act(), project.id, moved.id, &shrink).await.expect("shrunk");
        let error = place("e", sizes(1, 3585, 1), sized).await.expect_err("no memory left");
        assert_eq!(error.detail, "The server sized is full: 3584 MB of its RAM left, 3585 MB needed");
        let grow = EnvironmentPatch { ram_mb_milli: Some(8_000_000), ..EnvironmentPatch::default() };
        let error = fleet.environments.update(&fleet.act(), project.id, moved.id, &grow).await.expect_err("over");
        assert_eq!(error.code, "server_full");

        let bad = fleet.boundless("bad", None).await;
        fleet
            .servers
            .record_connection(fleet.org, bad, ConnectionOutcome::AuthFailed, "no", NOW_US)
            .await
            .expect("kept");
        let error = place("f", sizes(1, 1, 1), bad).await.expect_err("not ready");
        assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "server_not_ready"));
        fleet.servers.record_connection(fleet.org, bad, ConnectionOutcome::Success, "", NOW_US).await.expect("kept");
        let failed = CheckResult::failed(CheckName::PortsAvailable, "taken", "free them");
        let report = PreflightReport { checked_at_us: NOW_US, checks: vec![failed], system: None };
        fleet.servers.record_preflight(fleet.org, bad, &report).await.expect("kept");
        let error = place("f", sizes(1, 1, 1), bad).await.expect_err("unqualified");
        assert_eq!(error.code, "server_not_ready");
        let passed = PreflightReport { checked_at_us: NOW_US + 1, checks: vec![], system: None };
        fleet.servers.record_preflight(fleet.org, bad, &passed).await.expect("kept");
        place("f", sizes(1, 1, 1), bad).await.expect("ready");
    })
    .await;
}

#[tokio::test]
async fn many_move_together_or_none() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let project = fleet.project("shop").await;
        let (from, small) = (fleet.boundless("from", None).await, fleet.boundless("small", Some(2)).await);
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(fleet.environment(&project, &format!("env-{number}"), Some(from)).await.id);
        }
        let migrate = async |to, ids: &[EnvironmentId]| {
            fleet.environments.migrate(&fleet.act(), Scope::Organization, from, to, ids).await
        };
        assert_eq!(migrate(small, &ids).await.expect_err("one too many").code, "server_full");
        let there = fleet.store.environment_counts(fleet.org, small).await.expect("counted");
        assert_eq!(there.active, 0, "none moved");
        assert!(!fleet.actions().await.contains(&"ENVIRONMENT_MOVED".to_owned()));
        assert_eq!(migrate(small, &[]).await.expect_err("none named").kind, ErrorKind::Invalid);
        assert_eq!(migrate(from, &ids).await.expect_err("there already").kind, ErrorKind::Invalid);
        let strange = [ids[0], EnvironmentId::generate()];
        assert_eq!(migrate(small, &strange).await.expect_err("not there").kind, ErrorKind::NotFound);
        let moved = migrate(small, &[ids[0], ids[1], ids[0]]).await.expect("moved");
        assert_eq!(moved.iter().map(|moved| moved.id).collect::<Vec<_>>(), ids[..2]);
        assert!(moved.iter().all(|moved| moved.server_id() == Some(small)));
        let actions = fleet.actions().await;
        assert_eq!(actions.iter().filter(|action| *action == "ENVIRONMENT_MOVED").count(), 2);
        assert_eq!(migrate(small, &ids[..1]).await.expect_err("no longer there").kind, ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn environments_run_as_their_containers_do() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let project = fleet.project("shop").await;
        let server = fleet.boundless("web", None).await;
        let see = async |state: &str, at_us| {
            let container =
                Container { id: "1".into(), name: "odoo".into(), state: state.into(), ..Container::default() };
            let docker = Docker { status: DockerStatus::Running, containers: vec![container], ..Docker::default() };
            let json = serde_json::to_vec(&Facts { docker, ..Facts::default() }).expect("JSON");
            fleet.servers.record_facts(fleet.org, server, &json, at_us, at_us).await.expect("kept");
        };
        see("running", NOW_US).await;
        let named = NewEnvironment {
            container_id: Some("odoo".parse().expect("a name")),
            ..new_environment("production", sizes(1, 1, 1), Some(server))
        };
        let made = fleet.environments.create(&fleet.act(), &project, &named).await.expect("made");
        assert_eq!((made.status, made.status_at_us), (EnvironmentStatus::Running, Some(NOW_US)));
        let tally = async || fleet.servers.get(fleet.org, server).await.expect("there").environments;
        let before = tally().await;
        assert_eq!((before.active, before.running), (1, 1));
        see("exited", NOW_US + 1).await;
        let after = tally().await;
        assert_eq!((after.active, after.running), (1, 0));
        let other = fleet.boundless("other", None).await;
        let moved = fleet.environments.update(&fleet.act(), project.id, made.id, &to(other)).await.expect("moved");
        assert_eq!(moved.status, EnvironmentStatus::Pending, "nothing was seen of it there");
        see("running", NOW_US + 2).await;
        let still = fleet.environments.get(fleet.org, Scope::Organization, project.id, made.id).await.expect("there");
        assert_eq!(still.status, EnvironmentStatus::Pending);
    })
    .await;
}

#[tokio::test]
async fn a_server_is_deleted_only_when_nothing_is_lost_and_its_name_is_free_again() {
    on_each(|store| async move {
        let (fleet, others) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let project = fleet.project("shop").await;
        let server = fleet.create("web").await.id;
        let environment = fleet.environment(&project, "production", Some(server)).await;
        let delete = async |force| fleet.deletion().run(&fleet.act(), server, force).await;
        let error = delete(true).await.expect_err("it holds an environment");
        assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "environments_active"));
        let seeds_words = "Cannot delete server with 1 active environment(s). Reassign or delete them first.";
        assert!(error.detail.starts_with(seeds_words) && error.detail.ends_with("shop/production"), "{error}");
        let theirs = others.deletion().run(&others.act(), server, true).await.expect_err("not theirs");
        assert_eq!(theirs.kind, ErrorKind::NotFound);
        let sleep = EnvironmentPatch { is_active: Some(false), ..EnvironmentPatch::default() };
        fleet.environments.update(&fleet.act(), project.id, environment.id, &sleep).await.expect("deactivated");

        let container =
            Container { id: "1".into(), name: "odoo".into(), state: "running".into(), ..Container::default() };
        let docker = Docker { status: DockerStatus::Running, containers: vec![container], ..Docker::default() };
        let json = serde_json::to_vec(&Facts { docker, ..Facts::default() }).expect("JSON");
        fleet.servers.record_facts(fleet.org, server, &json, NOW_US, NOW_US).await.expect("kept");
        let error = delete(false).await.expect_err("a container runs");
        assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "containers_running"));
        assert!(error.detail.contains("1 running container(s) (odoo)"), "{error}");
        assert_ne!(fleet.standing().await.servers, Amounts::default());
        delete(true).await.expect("forced");
        assert_eq!(fleet.standing().await.servers, Amounts::default(), "released");
        assert_eq!(delete(true).await.expect_err("gone").kind, ErrorKind::NotFound);
        assert_eq!(fleet.servers.get(fleet.org, server).await.expect_err("gone").kind, ErrorKind::NotFound);
        assert_eq!(fleet.actions().await.first().map(String::as_str), Some("SERVER_DELETED"));
        let row = sqlx::query("SELECT status, ssh_password_sealed FROM servers WHERE id = $1")
            .bind(server.to_string())
            .fetch_one(fleet.store.read())
            .await
            .expect("the row stays");
        use crate::store::rows::Columns as _;
        assert_eq!(row.value::<&str>("status").expect("a word"), "deleted");
        assert!(row.value::<Option<Vec<u8>>>("ssh_password_sealed").expect("bytes").is_some(), "for recovery");
        let left = fleet.environments.get(fleet.org, Scope::Organization, project.id, environment.id).await;
        assert_eq!(left.expect("there").server, None);
        fleet.create("web").await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_server_s_agent_is_told_to_retire() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("web").await;
        let sessions = Sessions::default();
        let guard = sessions.open(fleet.org, server, 1, NOW_US).expect("a session");
        let deletion = ServerDeletion::new(
            fleet.store.clone(),
            Heads::new(fleet.store.clone()),
            sessions.clone(),
            fleet.events.clone(),
        );
        deletion.run(&fleet.act(), server, false).await.expect("deleted");
        assert_eq!(guard.orders.borrow().cut, Some(crate::sessions::Cut::Retired), "the live stream is cut");
        let claim = SessionClaim {
            serial: serial.clone(),
            server_id: server,
            generation: 0,
            machine_id_sha256: "machine-1".into(),
            boot_id: "boot-1".into(),
            agent_version: "0.1.0".into(),
            allowed_families: vec![Family::Observe],
        };
        let outcome = super::sessions::open(&fleet, &claim).await;
        assert_eq!(outcome, SessionOutcome::Retired, "one that was away hears of it when it comes back");
        let standing = fleet.store.certificate(&serial).await.expect("read").expect("on record");
        assert_eq!(standing.revoked_because.as_deref(), Some("retired"));
    })
    .await;
}

#[tokio::test]
async fn members_see_their_projects_and_no_other() {
    on_each(|store| async move {
        let (fleet, others) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let (mine, hidden) = (fleet.project("mine").await, fleet.project("hidden").await);
        let server = fleet.boundless("web", None).await;
        let visible = fleet.environment(&mine, "production", Some(server)).await;
        let secret = fleet.environment(&hidden, "production", Some(server)).await;
        let scope = Scope::MemberOf(fleet.user);
        assert!(fleet.projects.list(fleet.org, scope, 0, 100).await.expect("listed").is_empty());
        for _ in 0..2 {
            fleet.projects.add_member(&fleet.act(), &mine, fleet.user).await.expect("added");
        }
        let stranger = fleet.projects.add_member(&fleet.act(), &mine, others.user).await.expect_err("not a user here");
        assert_eq!(stranger.kind, ErrorKind::NotFound);
        let members = fleet.projects.members(fleet.org, mine.id).await.expect("listed");
        assert_eq!(
            members.iter().map(|member| (member.user_id, member.role)).collect::<Vec<_>>(),
            [(fleet.user, Role::Owner)]
        );
        let seen = fleet.projects.list(fleet.org, scope, 0, 100).await.expect("listed");
        assert_eq!(seen.iter().map(|project| project.id).collect::<Vec<_>>(), [mine.id]);
        for reference in ["hidden", &*hidden.id.to_string()] {
            let error = fleet.projects.resolve(fleet.org, scope, reference).await.expect_err("hidden");
            assert_eq!(error.kind, ErrorKind::NotFound);
        }
        let there = fleet.environments.on_server(fleet.org, scope, server).await.expect("listed");
        assert_eq!(there.iter().map(|environment| environment.id).collect::<Vec<_>>(), [visible.id]);
        let target = fleet.boundless("target", None).await;
        let migrate =
            async |ids: &[EnvironmentId]| fleet.environments.migrate(&fleet.act(), scope, server, target, ids).await;
        assert_eq!(migrate(&[visible.id, secret.id]).await.expect_err("not theirs").kind, ErrorKind::NotFound);
        assert_eq!(migrate(&[visible.id]).await.expect("theirs").len(), 1);
        fleet.projects.remove_member(&fleet.act(), &mine, fleet.user).await.expect("removed");
        assert!(fleet.projects.list(fleet.org, scope, 0, 100).await.expect("listed").is_empty());
        let error = fleet.projects.remove_member(&fleet.act(), &mine, fleet.user).await.expect_err("twice");
        assert_eq!(error.kind, ErrorKind::NotFound);
    })
    .await;
}
