//! Fleet runs on the wire.

use muster_shared::wire;

use super::{
    filled,
    fleet_run::{FleetRun, FleetRunCreate, FleetRunServer, FleetTask},
};

/// A number that is no port is refused where ports are parsed: 0 is none.
fn ports(numbers: Vec<u32>) -> Vec<u16> {
    numbers.into_iter().map(|port| u16::try_from(port).unwrap_or(0)).collect()
}

impl From<wire::FleetTask> for FleetTask {
    fn from(task: wire::FleetTask) -> Self {
        Self {
            kind: task.kind,
            action: filled(task.action),
            item: filled(task.item),
            undo: task.undo,
            username: filled(task.username),
            ports: ports(task.ports),
            unit: filled(task.unit),
            all_images: task.all_images,
            open_ports: ports(task.open_ports),
            ssh_from: task.ssh_from,
        }
    }
}

impl From<FleetTask> for wire::FleetTask {
    fn from(task: FleetTask) -> Self {
        Self {
            kind: task.kind,
            action: task.action.unwrap_or_default(),
            item: task.item.unwrap_or_default(),
            undo: task.undo,
            username: task.username.unwrap_or_default(),
            ports: task.ports.into_iter().map(u32::from).collect(),
            unit: task.unit.unwrap_or_default(),
            all_images: task.all_images,
            open_ports: task.open_ports.into_iter().map(u32::from).collect(),
            ssh_from: task.ssh_from,
        }
    }
}

impl From<wire::CreateFleetRunRequest> for FleetRunCreate {
    /// A list that is not sent and one that is empty are the same on the wire; neither means all.
    fn from(request: wire::CreateFleetRunRequest) -> Self {
        Self {
            task: request.task.map(Into::into),
            filter: filled(request.filter),
            servers: Some(request.servers).filter(|servers| !servers.is_empty()),
            dry_run: Some(!request.apply),
            after: filled(request.after),
            wave_size: Some(request.wave_size).filter(|size| *size != 0),
            max_failures: Some(request.max_failures),
        }
    }
}

impl From<FleetRun> for wire::FleetRun {
    fn from(run: FleetRun) -> Self {
        Self {
            id: run.id,
            task: Some(run.task.into()),
            filter: run.filter.unwrap_or_default(),
            dry_run: run.dry_run,
            dry_run_id: run.dry_run_id.unwrap_or_default(),
            wave_size: run.wave_size,
            max_failures: run.max_failures.unwrap_or_default(),
            state: run.state,
            wave: run.wave,
            waiting: run.waiting,
            running: run.running,
            succeeded: run.succeeded,
            failed: run.failed,
            skipped: run.skipped,
            created_by: run.created_by,
            created_at: run.created_at.map(Into::into),
            ended_at: run.ended_at.map(Into::into),
            servers: run.servers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::FleetRun> for FleetRun {
    fn from(run: wire::FleetRun) -> Self {
        Self {
            id: run.id,
            task: run.task.map(Into::into).unwrap_or_default(),
            filter: filled(run.filter),
            dry_run: run.dry_run,
            dry_run_id: filled(run.dry_run_id),
            wave_size: run.wave_size,
            max_failures: (!run.dry_run).then_some(run.max_failures),
            state: run.state,
            wave: run.wave,
            waiting: run.waiting,
            running: run.running,
            succeeded: run.succeeded,
            failed: run.failed,
            skipped: run.skipped,
            created_by: run.created_by,
            created_at: run.created_at.map(Into::into),
            ended_at: run.ended_at.map(Into::into),
            servers: run.servers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<FleetRunServer> for wire::FleetRunServer {
    fn from(server: FleetRunServer) -> Self {
        Self {
            server_id: server.server_id,
            server_name: server.server_name,
            wave: server.wave,
            state: server.state,
            code: server.code.unwrap_or_default(),
            detail: server.detail.unwrap_or_default(),
            command_id: server.command_id.unwrap_or_default(),
            updated_at: server.updated_at.map(Into::into),
        }
    }
}

impl From<wire::FleetRunServer> for FleetRunServer {
    fn from(server: wire::FleetRunServer) -> Self {
        Self {
            server_id: server.server_id,
            server_name: server.server_name,
            wave: server.wave,
            state: server.state,
            code: filled(server.code),
            detail: filled(server.detail),
            command_id: filled(server.command_id),
            updated_at: server.updated_at.map(Into::into),
        }
    }
}
