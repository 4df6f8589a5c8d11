//! A server as callers see it. No secret is among its fields.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, health::HealthEvidence, number, time::Time};
use crate::servers::{DEFAULT_SSH_PORT, Server, SudoMode};

/// A server: how it is reached, what is known of it and how it fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8057", "name": "production-server-1",
    "organization_id": "01890a5d-ac96-774b-bcce-b302099a8058", "organization_name": "Acme Corp",
    "provider": "custom", "region": "Frankfurt", "status": "running", "health_status": "healthy",
    "connection_host": "203.0.113.10", "ssh_port": 22, "ssh_username": "root", "ssh_auth_method": "ssh_key",
    "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "environment_count": 0, "running_environment_count": 0,
    "docker_status": "running", "created_at": "2025-01-10T08:00:00Z"
}))]
pub struct Vm {
    pub id: String,
    /// Unique in the organisation.
    pub name: String,
    pub organization_id: String,
    pub organization_name: String,
    pub provider: String,
    pub region: Option<String>,
    /// `pending`, `running`, `stopped`, `error` or `deleted`.
    pub status: String,
    /// `healthy`, `degraded`, `unhealthy`, `unknown`, `auth_failed` or `unreachable`.
    pub health_status: String,
    /// Why, in words.
    pub health_reason: Option<String>,
    /// The signals that decided.
    pub health_evidence: Vec<HealthEvidence>,
    /// Since when the status holds.
    pub health_since: Option<Time>,
    /// When the signal that decided was seen; `null` where none ever was.
    pub last_health_check: Option<Time>,
    pub next_health_check: Option<Time>,
    /// The address in use, chosen by `connection_host_type`.
    pub connection_host: Option<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub fqdn: Option<String>,
    pub hostname: Option<String>,
    /// `auto`, `ipv4`, `ipv6`, `fqdn` or `hostname`.
    pub connection_host_type: String,
    pub ssh_port: u16,
    pub ssh_username: Option<String>,
    /// `password` or `ssh_key`; `null` where the server joined by itself.
    pub ssh_auth_method: Option<String>,
    /// The organisation's key pair it is entered with.
    pub ssh_key_pair_id: Option<String>,
    /// `auto`, `none` or `sudo`.
    pub ssh_sudo_mode: String,
    /// The host key that is believed, as `SHA256:…`.
    pub ssh_host_key_fingerprint: Option<String>,
    /// Another key the host showed since: nothing connects until one of them is accepted.
    pub ssh_host_key_offered: Option<String>,
    #[serde(serialize_with = "number::whole")]
    pub cpu_cores: Option<f64>,
    /// Gigabytes of 10⁹ bytes.
    #[serde(serialize_with = "number::whole")]
    pub memory_gb: Option<f64>,
    /// Gigabytes of 10⁹ bytes.
    #[serde(serialize_with = "number::whole")]
    pub disk_gb: Option<f64>,
    /// How many environments the server may hold.
    pub max_projects: Option<u32>,
    /// Active environments on it.
    pub environment_count: u32,
    /// Those of them whose containers run.
    pub running_environment_count: u32,
    pub os_type: Option<String>,
    pub os_version: Option<String>,
    pub os_arch: Option<String>,
    /// `running`, `stopped`, `not_installed`, `permission_denied`, `hung` or `unknown`.
    pub docker_status: String,
    pub docker_version: Option<String>,
    pub netdata_streaming_enabled: bool,
    pub netdata_machine_guid: Option<String>,
    /// `qualified`, `needs_setup`, `unqualified`, `stale` or `expired`; `null` before the first preflight.
    pub qualification_status: Option<String>,
    pub last_preflight_check: Option<Time>,
    /// How many of a hundred parts of the hardening profile hold; `null` before the host told.
    pub hardening_score: Option<u8>,
    /// `none`, `pending`, `online`, `offline`, `quarantined`, `revoked` or `retired`.
    pub agent_status: String,
    pub agent_version: Option<String>,
    /// The command families the host's own policy accepts.
    pub allowed_families: Vec<String>,
    pub last_seen: Option<Time>,
    pub facts_collected_at: Option<Time>,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
}

impl Vm {
    /// `server` as it is at `now_us`.
    #[must_use]
    pub fn of(server: &Server, now_us: i64) -> Self {
        let health = server.health(now_us);
        let sizes = server.resources();
        let (addresses, detected, ssh) = (&server.addresses, &server.detected, server.ssh.as_ref());
        Self {
            id: server.id.to_string(),
            name: server.name.to_string(),
            organization_id: server.org_id.to_string(),
            organization_name: server.organization_name.clone(),
            provider: server.provider.to_string(),
            region: filled(server.region.to_string()),
            status: server.status.as_str().to_owned(),
            health_status: health.status.as_str().to_owned(),
            health_reason: filled(health.reason),
            health_evidence: health.evidence.into_iter().map(Into::into).collect(),
            health_since: Some(Time(health.since_us)),
            last_health_check: health.checked_at_us.map(Time),
            next_health_check: Some(Time(health.next_check_at_us)),
            connection_host: server.connection_host(),
            ipv4_address: addresses.ipv4.map(|address| address.to_string()),
            ipv6_address: addresses.ipv6.map(|address| address.to_string()),
            fqdn: addresses.fqdn.as_ref().map(ToString::to_string),
            hostname: addresses.hostname.as_ref().map(ToString::to_string).or_else(|| detected.hostname.clone()),
            connection_host_type: addresses.choice.as_str().to_owned(),
            ssh_port: ssh.map_or(DEFAULT_SSH_PORT, |ssh| ssh.port),
            ssh_username: ssh.map(|ssh| ssh.username.to_string()),
            ssh_auth_method: ssh.map(|ssh| ssh.auth_method.as_str().to_owned()),
            ssh_key_pair_id: server.key_pair.map(|id| id.to_string()),
            ssh_sudo_mode: ssh.map_or(SudoMode::Auto, |ssh| ssh.sudo_mode).as_str().to_owned(),
            ssh_host_key_fingerprint: server.host_key.as_ref().map(ToString::to_string),
            ssh_host_key_offered: server.host_key_offered.as_ref().map(ToString::to_string),
            cpu_cores: sizes.cpu_cores,
            memory_gb: sizes.memory_gb,
            disk_gb: sizes.disk_gb,
            max_projects: server.max_projects,
            environment_count: server.environments.active,
            running_environment_count: server.environments.running,
            os_type: detected.os_type.clone(),
            os_version: detected.os_version.clone(),
            os_arch: detected.os_arch.clone(),
            docker_status: detected.docker_status.clone().unwrap_or_else(|| "unknown".to_owned()),
            docker_version: detected.docker_version.clone(),
            netdata_streaming_enabled: false,
            netdata_machine_guid: None,
            qualification_status: server.qualification(now_us).map(|status| status.as_str().to_owned()),
            last_preflight_check: server.preflight.map(|record| Time(record.checked_at_us)),
            hardening_score: server.hardening_score,
            agent_status: server.agent.status.as_str().to_owned(),
            agent_version: server.agent.version.clone(),
            allowed_families: server.agent.allowed_families.iter().map(ToString::to_string).collect(),
            last_seen: server.agent.last_seen_at_us.map(Time),
            facts_collected_at: server.facts_collected_at_us.map(Time),
            created_at: Some(Time(server.created_at_us)),
            updated_at: Some(Time(server.updated_at_us)),
        }
    }
}

impl From<Vm> for wire::Server {
    fn from(vm: Vm) -> Self {
        Self {
            id: vm.id,
            organization_id: vm.organization_id,
            organization_name: vm.organization_name,
            name: vm.name,
            provider: vm.provider,
            region: vm.region.unwrap_or_default(),
            status: vm.status,
            health_status: vm.health_status,
            health_reason: vm.health_reason.unwrap_or_default(),
            connection_host: vm.connection_host.unwrap_or_default(),
            ipv4_address: vm.ipv4_address.unwrap_or_default(),
            ipv6_address: vm.ipv6_address.unwrap_or_default(),
            fqdn: vm.fqdn.unwrap_or_default(),
            hostname: vm.hostname.unwrap_or_default(),
            connection_host_type: vm.connection_host_type,
            ssh_port: vm.ssh_port.into(),
            ssh_username: vm.ssh_username.unwrap_or_default(),
            ssh_auth_method: vm.ssh_auth_method.unwrap_or_default(),
            ssh_key_pair_id: vm.ssh_key_pair_id.unwrap_or_default(),
            ssh_sudo_mode: vm.ssh_sudo_mode,
            ssh_host_key_fingerprint: vm.ssh_host_key_fingerprint.unwrap_or_default(),
            cpu_cores: vm.cpu_cores.unwrap_or_default(),
            memory_gb: vm.memory_gb.unwrap_or_default(),
            disk_gb: vm.disk_gb.unwrap_or_default(),
            max_projects: vm.max_projects.unwrap_or_default(),
            os_type: vm.os_type.unwrap_or_default(),
            os_version: vm.os_version.unwrap_or_default(),
            os_arch: vm.os_arch.unwrap_or_default(),
            docker_status: vm.docker_status,
            docker_version: vm.docker_version.unwrap_or_default(),
            qualification_status: vm.qualification_status.unwrap_or_default(),
            last_preflight_check: vm.last_preflight_check.map(Into::into),
            hardening_score: vm.hardening_score.map(Into::into),
            agent_status: vm.agent_status,
            agent_version: vm.agent_version.unwrap_or_default(),
            last_seen: vm.last_seen.map(Into::into),
            facts_collected_at: vm.facts_collected_at.map(Into::into),
            created_at: vm.created_at.map(Into::into),
            updated_at: vm.updated_at.map(Into::into),
            facts: None,
            last_health_check: vm.last_health_check.map(Into::into),
            environment_count: vm.environment_count,
            running_environment_count: vm.running_environment_count,
            netdata_streaming_enabled: vm.netdata_streaming_enabled,
            netdata_machine_guid: vm.netdata_machine_guid.unwrap_or_default(),
            ssh_host_key_offered: vm.ssh_host_key_offered.unwrap_or_default(),
            allowed_families: vm.allowed_families,
            health_since: vm.health_since.map(Into::into),
            next_health_check: vm.next_health_check.map(Into::into),
            health_evidence: vm.health_evidence.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::Server> for Vm {
    fn from(server: wire::Server) -> Self {
        Self {
            id: server.id,
            name: server.name,
            organization_id: server.organization_id,
            organization_name: server.organization_name,
            provider: server.provider,
            region: filled(server.region),
            status: server.status,
            health_status: server.health_status,
            health_reason: filled(server.health_reason),
            health_evidence: server.health_evidence.into_iter().map(Into::into).collect(),
            health_since: server.health_since.map(Into::into),
            last_health_check: server.last_health_check.map(Into::into),
            next_health_check: server.next_health_check.map(Into::into),
            connection_host: filled(server.connection_host),
            ipv4_address: filled(server.ipv4_address),
            ipv6_address: filled(server.ipv6_address),
            fqdn: filled(server.fqdn),
            hostname: filled(server.hostname),
            connection_host_type: server.connection_host_type,
            ssh_port: u16::try_from(server.ssh_port).unwrap_or_default(),
            ssh_username: filled(server.ssh_username),
            ssh_auth_method: filled(server.ssh_auth_method),
            ssh_key_pair_id: filled(server.ssh_key_pair_id),
            ssh_sudo_mode: server.ssh_sudo_mode,
            ssh_host_key_fingerprint: filled(server.ssh_host_key_fingerprint),
            ssh_host_key_offered: filled(server.ssh_host_key_offered),
            cpu_cores: number::positive(server.cpu_cores),
            memory_gb: number::positive(server.memory_gb),
            disk_gb: number::positive(server.disk_gb),
            max_projects: Some(server.max_projects).filter(|count| *count > 0),
            environment_count: server.environment_count,
            running_environment_count: server.running_environment_count,
            os_type: filled(server.os_type),
            os_version: filled(server.os_version),
            os_arch: filled(server.os_arch),
            docker_status: server.docker_status,
            docker_version: filled(server.docker_version),
            netdata_streaming_enabled: server.netdata_streaming_enabled,
            netdata_machine_guid: filled(server.netdata_machine_guid),
            qualification_status: filled(server.qualification_status),
            last_preflight_check: server.last_preflight_check.map(Into::into),
            hardening_score: server.hardening_score.and_then(|score| u8::try_from(score).ok()),
            agent_status: server.agent_status,
            agent_version: filled(server.agent_version),
            allowed_families: server.allowed_families,
            last_seen: server.last_seen.map(Into::into),
            facts_collected_at: server.facts_collected_at.map(Into::into),
            created_at: server.created_at.map(Into::into),
            updated_at: server.updated_at.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_carries_every_field_that_rest_does() {
        let mut json = serde_json::to_value(Vm::default()).expect("serialises");
        // Every field gets a value of its own, so that one that is dropped or swapped shows.
        for (number, (name, value)) in json.as_object_mut().expect("an object").iter_mut().enumerate() {
            *value = match name.as_str() {
                "ssh_port"
                | "max_projects"
                | "environment_count"
                | "running_environment_count"
                | "cpu_cores"
                | "memory_gb"
                | "disk_gb"
                | "hardening_score" => (number + 1).into(),
                "netdata_streaming_enabled" => true.into(),
                "allowed_families" => vec!["observe", "fix"].into(),
                "health_evidence" => serde_json::json!([
                    { "signal": "disk_usage", "word": null, "number": 0.0, "unit": "percent", "limit": 85.0,
                      "at": Time(number as i64).to_string() },
                    { "signal": "agent", "word": "online", "number": null, "unit": null, "limit": null, "at": null },
                ]),
                "health_since" | "next_health_check" => Time(number as i64).to_string().into(),
                name if name.ends_with("_at") || name.starts_with("last_") => Time(number as i64).to_string().into(),
                name => format!("{name} {number}").into(),
            };
        }
        let vm: Vm = serde_json::from_value(json.clone()).expect("deserialises");
        let back = Vm::from(wire::Server::from(vm));
        assert_eq!(serde_json::to_value(back).expect("serialises"), json);
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        let vm = Vm { cpu_cores: Some(4.0), memory_gb: Some(7.5), ..Vm::default() };
        let json = serde_json::to_string(&vm).expect("serialises");
        assert!(json.contains("\"cpu_cores\":4,") && json.contains("\"memory_gb\":7.5,"), "{json}");
    }
}
