//! Who is told what, for every kind of event: each role, in the organisation where it happens and in another one, over
//! both interfaces. A kind without a row does not compile.

use std::sync::Arc;

use muster_shared::id::{CommandId, EnvironmentId, OrgId, ProjectId, ServerId, UserId};
use serde_json::{Value, json};

use crate::{
    access::Role,
    api::{
        test_streams::{EventStream, Interface},
        test_world::World,
    },
    events::EventKind,
    metrics::Summary,
};

const EVERYBODY: &[Role] = &Role::ALL;
const THE_WHOLE: &[Role] = &[Role::Owner, Role::Admin, Role::Member];
const NOBODY: &[Role] = &[];

/// The kind after `last`: walked from `None` on, it is every kind.
fn after(last: Option<&EventKind>, project: ProjectId, server: ServerId) -> Option<EventKind> {
    Some(match last {
        None => EventKind::ServerCreated,
        Some(EventKind::ServerCreated) => EventKind::ServerChanged,
        Some(EventKind::ServerChanged) => EventKind::ServerDeleted,
        Some(EventKind::ServerDeleted) => {
            EventKind::EnvironmentChanged { environment: EnvironmentId::generate(), project }
        }
        Some(EventKind::EnvironmentChanged { .. }) => EventKind::ProjectChanged(project),
        Some(EventKind::ProjectChanged(_)) => EventKind::MemberChanged(UserId::generate()),
        Some(EventKind::MemberChanged(_)) => EventKind::HealthChanged,
        Some(EventKind::HealthChanged) => EventKind::HardeningChanged,
        Some(EventKind::HardeningChanged) => EventKind::SamplesDamaged,
        Some(EventKind::SamplesDamaged) => EventKind::CommandChanged(CommandId::generate()),
        Some(EventKind::CommandChanged(_)) => EventKind::CommandUpdated { command_id: CommandId::generate(), seq: 1 },
        Some(EventKind::CommandUpdated { .. }) => EventKind::Sample(Arc::new(summary(server))),
        Some(EventKind::Sample(_)) => EventKind::AgentOnline,
        Some(EventKind::AgentOnline) => EventKind::AgentOffline,
        Some(EventKind::AgentOffline) => return None,
    })
}

/// Who is told of a kind: of what belongs to a project, the two project roles only where they belong to it, too.
fn row(kind: &EventKind, is_of_their_project: bool) -> &'static [Role] {
    match kind {
        EventKind::ServerCreated
        | EventKind::ServerChanged
        | EventKind::ServerDeleted
        | EventKind::HealthChanged
        | EventKind::HardeningChanged
        | EventKind::AgentOnline
        | EventKind::AgentOffline => EVERYBODY,
        EventKind::EnvironmentChanged { .. } | EventKind::ProjectChanged(_) => {
            if is_of_their_project {
                EVERYBODY
            } else {
                THE_WHOLE
            }
        }
        EventKind::MemberChanged(_)
        | EventKind::CommandChanged(_)
        | EventKind::Sample(_)
        | EventKind::SamplesDamaged => THE_WHOLE,
        // What a host says while it works goes to who watches that command alone.
        EventKind::CommandUpdated { .. } => NOBODY,
    }
}

fn summary(server: ServerId) -> Summary {
    Summary {
        server_id: server,
        at_us: 1,
        cpu_usage_percent: 1.0,
        memory_usage_percent: 1.0,
        disk_usage_percent: 1.0,
        network_rx_bytes_per_second: 0.0,
        network_tx_bytes_per_second: 0.0,
        container_count: 0,
        load_1m: 0.0,
        uptime_seconds: 0.0,
    }
}

/// Somebody who reads. Their role tells what of; `None` is another organisation's.
struct Reader {
    role: Role,
    is_ours: bool,
    stream: EventStream,
}

/// Opens both interfaces as `role`. Who may not see samples is refused them, and reads without.
async fn readers(world: &World, (role, token): (Role, &str), is_ours: bool, readers: &mut Vec<Reader>) {
    for interface in Interface::ALL {
        let samples = THE_WHOLE.contains(&role);
        if !samples {
            assert!(EventStream::open(&world.api, interface, token, true).await.is_none(), "{role:?} may see samples");
        }
        let mut stream = EventStream::open(&world.api, interface, token, samples).await.expect("a stream");
        assert_eq!(stream.next().await.event, "ready");
        readers.push(Reader { role, is_ours, stream });
    }
}

/// Publishes `kind`, and holds what every reader is told to its row.
async fn walk(world: &World, orgs: [OrgId; 2], kind: &EventKind, told_to: &[Role], readers: &mut [Reader]) {
    let server: ServerId = world.server.parse().expect("an id");
    let events = &world.api.app.events;
    events.publish(orgs[0], server, kind.clone());
    // A sample is told beside what has numbers, so what follows must not overtake it.
    if matches!(kind, EventKind::Sample(_)) {
        for reader in readers.iter_mut().filter(|reader| reader.is_ours && told_to.contains(&reader.role)) {
            assert_eq!(reader.stream.next().await.event, kind.word(), "{:?}", reader.role);
        }
    }
    let marker = ServerId::generate();
    for org in orgs {
        events.publish(org, marker, EventKind::ServerChanged);
    }
    for reader in readers {
        let told = reader.stream.until("server_changed", &marker.to_string()).await;
        let told: Vec<_> = told.iter().map(|told| told.event.as_str()).collect();
        let is_told = reader.is_ours && told_to.contains(&reader.role) && !matches!(kind, EventKind::Sample(_));
        let expected = if is_told { vec![kind.word()] } else { Vec::new() };
        assert_eq!(told, expected, "{kind:?} to {:?}, of this organization: {}", reader.role, reader.is_ours);
    }
}

#[tokio::test]
async fn every_role_is_told_what_its_row_says_and_another_organization_nothing() {
    let world = World::new().await;
    let org = |id: &Value| id.as_str().and_then(|id| id.parse::<OrgId>().ok()).expect("an id");
    let stranger = world.api.stranger().await;
    let mut everybody = Vec::new();
    let mut orgs = Vec::new();
    for (owner, is_ours) in [(&world.api.owner, true), (&stranger, false)] {
        for role in Role::ALL {
            let name = format!("{}-{is_ours}", role.as_str());
            let token = world.token(owner, &name, role).await;
            let (_, me) = world.api.call_as(&token, "GET", "/api/v1/me", &Value::Null).await;
            if is_ours && matches!(role, Role::ProjectAdmin | Role::ProjectMember) {
                let path = format!("/api/v1/projects/{}/members/{}", world.project, me["id"].as_str().expect("an id"));
                assert!(world.api.call("PUT", &path, &json!({})).await.0.is_success());
            }
            orgs.push(org(&me["organization_id"]));
            readers(&world, (role, &token), is_ours, &mut everybody).await;
        }
    }
    let orgs = [orgs[0], *orgs.last().expect("organizations")];
    let (_, other) = world.api.call("POST", "/api/v1/projects", &json!({ "name": "of others" })).await;
    let other: ProjectId = other["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let marker = ServerId::generate();
    for org in orgs {
        world.api.app.events.publish(org, marker, EventKind::ServerChanged);
    }
    for reader in &mut everybody {
        reader.stream.until("server_changed", &marker.to_string()).await;
    }
    let mut walked = 0;
    for (project, is_theirs) in [(world.project.parse().expect("an id"), true), (other, false)] {
        let mut kind = after(None, project, world.server.parse().expect("an id"));
        while let Some(walking) = kind {
            walk(&world, orgs, &walking, row(&walking, is_theirs), &mut everybody).await;
            walked += everybody.len();
            kind = after(Some(&walking), project, world.server.parse().expect("an id"));
        }
    }
    for reader in everybody.iter().filter(|reader| !reader.is_ours) {
        let text = String::from_utf8_lossy(reader.stream.bytes());
        for secret in world.secrets() {
            assert!(!text.contains(secret), "{secret} leaks to {:?} of another organization", reader.role);
        }
    }
    let ours = everybody.iter().find(|reader| reader.is_ours).expect("a reader");
    assert!(String::from_utf8_lossy(ours.stream.bytes()).contains(&world.server), "what would leak is there");
    println!("{walked} tellings: 0 leaks");
}
