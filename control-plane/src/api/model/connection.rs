//! What callers send to create, change or test a server, and what a test answers. Secrets are write-only.

use muster_shared::{id::ServerId, wire};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{filled, number, secret::WriteOnly};
use crate::connection_test::{self, TestResult};

/// A server to create, or to test before it is created.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "production-server-1", "provider": "custom", "region": "Frankfurt", "ipv4_address": "203.0.113.10",
    "connection_host_type": "auto", "ssh_port": 22, "ssh_username": "root", "ssh_auth_method": "ssh_key",
    "ssh_private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...\n-----END OPENSSH PRIVATE KEY-----",
    "ssh_sudo_mode": "auto", "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "max_projects": 8
}))]
pub struct VmCreate {
    /// The caller's organisation unless given.
    #[schema(format = Uuid)]
    pub organization_id: Option<String>,
    /// Unique in the organisation. Not needed to test a connection.
    #[serde(default)]
    #[schema(
        required = true,
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
    /// `custom` unless given.
    #[schema(
        pattern = "^\\s*([\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?)?\\s*$"
    )]
    pub provider: Option<String>,
    #[schema(
        pattern = "^\\s*([\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?)?\\s*$"
    )]
    pub region: Option<String>,
    #[schema(format = Ipv4)]
    pub ipv4_address: Option<String>,
    #[schema(format = Ipv6)]
    pub ipv6_address: Option<String>,
    #[schema(
        max_length = 254,
        pattern = "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?)?$"
    )]
    pub fqdn: Option<String>,
    #[schema(
        max_length = 254,
        pattern = "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?)?$"
    )]
    pub hostname: Option<String>,
    /// `auto` (FQDN, then IPv4, IPv6, hostname), `ipv4`, `ipv6`, `fqdn` or `hostname`.
    #[schema(pattern = "^(auto|ipv4|ipv6|fqdn|hostname)$")]
    pub connection_host_type: Option<String>,
    /// 22 unless given.
    #[schema(minimum = 1, maximum = 65535)]
    pub ssh_port: Option<u16>,
    /// `root` unless given.
    #[schema(pattern = "^\\s*[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\\s*$")]
    pub ssh_username: Option<String>,
    /// `password` or `ssh_key`; told by which secret is given unless said.
    #[schema(pattern = "^(password|ssh_key)$")]
    pub ssh_auth_method: Option<String>,
    pub ssh_password: Option<WriteOnly>,
    /// OpenSSH, PKCS#1 or PKCS#8 PEM.
    pub ssh_private_key: Option<WriteOnly>,
    pub ssh_key_passphrase: Option<WriteOnly>,
    /// One of the organisation's key pairs, instead of `ssh_private_key` or `ssh_password`.
    #[schema(format = Uuid)]
    pub ssh_key_pair_id: Option<String>,
    /// The password `sudo` asks for, where it differs from the login's.
    pub ssh_sudo_password: Option<WriteOnly>,
    /// `auto`, `none` or `sudo`.
    #[schema(pattern = "^(auto|none|sudo)$")]
    pub ssh_sudo_mode: Option<String>,
    /// `SHA256:…`; given in advance, another key is a hard stop.
    #[schema(pattern = "^\\s*(SHA256:[A-Za-z0-9+/]{43}\\s*)?$")]
    pub ssh_host_key_fingerprint: Option<String>,
    #[schema(exclusive_minimum = 0, maximum = 1_000_000)]
    pub cpu_cores: Option<f64>,
    #[schema(exclusive_minimum = 0, maximum = 1_000_000)]
    pub memory_gb: Option<f64>,
    #[schema(exclusive_minimum = 0, maximum = 1_000_000)]
    pub disk_gb: Option<f64>,
    pub max_projects: Option<u32>,
}

/// A server to test before it is created: the body that would create it, with or without its name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct VmConnection(pub VmCreate);

impl PartialSchema for VmConnection {
    fn schema() -> RefOr<Schema> {
        match VmCreate::schema() {
            RefOr::T(Schema::Object(mut object)) => {
                object.required.retain(|field| field != "name");
                if let Some(RefOr::T(Schema::Object(name))) = object.properties.get_mut("name") {
                    name.pattern = name.pattern.take().map(|pattern| format!("^$|{pattern}"));
                }
                RefOr::T(Schema::Object(object))
            }
            other => other,
        }
    }
}

impl ToSchema for VmConnection {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        VmCreate::schemas(schemas);
    }
}

/// What to change of a server; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "production-server-1-updated", "cpu_cores": 8, "memory_gb": 16, "max_projects": 12 }))]
pub struct VmPatch {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: Option<String>,
    #[schema(
        pattern = "^\\s*([\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?)?\\s*$"
    )]
    pub provider: Option<String>,
    #[schema(
        pattern = "^\\s*([\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?)?\\s*$"
    )]
    pub region: Option<String>,
    #[schema(format = Ipv4)]
    pub ipv4_address: Option<String>,
    #[schema(format = Ipv6)]
    pub ipv6_address: Option<String>,
    #[schema(
        max_length = 254,
        pattern = "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?)?$"
    )]
    pub fqdn: Option<String>,
    #[schema(
        max_length = 254,
        pattern = "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?)?$"
    )]
    pub hostname: Option<String>,
    #[schema(pattern = "^(auto|ipv4|ipv6|fqdn|hostname)$")]
    pub connection_host_type: Option<String>,
    #[schema(minimum = 1, maximum = 65535)]
    pub ssh_port: Option<u16>,
    #[schema(pattern = "^\\s*([A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\\s*)?$")]
    pub ssh_username: Option<String>,
    #[schema(pattern = "^(password|ssh_key)$")]
    pub ssh_auth_method: Option<String>,
    pub ssh_password: Option<WriteOnly>,
    pub ssh_private_key: Option<WriteOnly>,
    pub ssh_key_passphrase: Option<WriteOnly>,
    #[schema(format = Uuid)]
    pub ssh_key_pair_id: Option<String>,
    pub ssh_sudo_password: Option<WriteOnly>,
    #[schema(pattern = "^(auto|none|sudo)$")]
    pub ssh_sudo_mode: Option<String>,
    #[schema(exclusive_minimum = 0, maximum = 1_000_000)]
    pub cpu_cores: Option<f64>,
    #[schema(exclusive_minimum = 0, maximum = 1_000_000)]
    pub memory_gb: Option<f64>,
    #[schema(exclusive_minimum = 0, maximum = 1_000_000)]
    pub disk_gb: Option<f64>,
    pub max_projects: Option<u32>,
}

/// A password to log in with from now on.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ssh_password": "new-secure-password", "test_connection": true }))]
pub struct SshPasswordUpdate {
    pub ssh_password: WriteOnly,
    /// Try it first, and change nothing where it does not work; `true` unless said.
    pub test_connection: Option<bool>,
}

/// A key to log in with from now on: a private key, or one of the organisation's key pairs.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "ssh_private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...\n-----END OPENSSH PRIVATE KEY-----",
    "ssh_key_passphrase": "optional-passphrase", "test_connection": true
}))]
pub struct SshKeyUpdate {
    /// OpenSSH, PKCS#1 or PKCS#8 PEM.
    pub ssh_private_key: Option<WriteOnly>,
    pub ssh_key_passphrase: Option<WriteOnly>,
    #[schema(format = Uuid)]
    pub ssh_key_pair_id: Option<String>,
    /// The password `sudo` asks for. One that was kept beside a key stays unless given.
    pub ssh_sudo_password: Option<WriteOnly>,
    /// Try it first, and change nothing where it does not work; `true` unless said.
    pub test_connection: Option<bool>,
}

impl From<wire::SetSshPasswordRequest> for SshPasswordUpdate {
    fn from(request: wire::SetSshPasswordRequest) -> Self {
        Self { ssh_password: request.ssh_password.into(), test_connection: request.test_connection }
    }
}

impl From<wire::SetSshKeyRequest> for SshKeyUpdate {
    fn from(request: wire::SetSshKeyRequest) -> Self {
        Self {
            ssh_private_key: filled(request.ssh_private_key).map(WriteOnly::from),
            ssh_key_passphrase: filled(request.ssh_key_passphrase).map(WriteOnly::from),
            ssh_key_pair_id: filled(request.ssh_key_pair_id),
            ssh_sudo_password: filled(request.ssh_sudo_password).map(WriteOnly::from),
            test_connection: request.test_connection,
        }
    }
}

/// A host key to believe from now on.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "fingerprint": "SHA256:uNiVztksCsDhcc0u9e8BrqXaNSQKFuN9M1UTmI0p0HU" }))]
pub struct HostKeyAccept {
    /// `SHA256:…`, as `ssh-keygen -lf` prints it on the host.
    #[schema(pattern = "^\\s*SHA256:[A-Za-z0-9+/]{43}\\s*$")]
    pub fingerprint: String,
}

/// What a connection test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "vm_id": "01890a5d-ac96-774b-bcce-b302099a8057", "status": "success", "message": "Connection successful",
    "remedy": null,
    "detected": {
        "hostname": "ubuntu-s-4vcpu-8gb-fra1-01", "os_type": "Ubuntu", "os_version": "22.04", "cpu_cores": 4,
        "memory_gb": 8, "disk_gb": 160, "docker_status": "running", "docker_version": "24.0.7", "is_root": false,
        "sudo_available": true, "ssh_sudo_mode": "sudo"
    },
    "host_key_fingerprint": "SHA256:uNiVztksCsDhcc0u9e8BrqXaNSQKFuN9M1UTmI0p0HU",
    "expected_host_key_fingerprint": null
}))]
pub struct ConnectionTested {
    /// `null` for a server that is not saved yet.
    pub vm_id: Option<String>,
    /// `success`, `auth_failed`, `unreachable`, `host_key_mismatch` or `failed`.
    pub status: String,
    pub message: String,
    /// What to do, in words.
    pub remedy: Option<String>,
    pub detected: Option<Detected>,
    /// The key the host presented.
    pub host_key_fingerprint: Option<String>,
    /// The key that was expected, where it differs.
    pub expected_host_key_fingerprint: Option<String>,
}

/// What a login showed of the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Detected {
    pub hostname: String,
    pub os_type: String,
    pub os_version: String,
    #[serde(serialize_with = "number::whole")]
    pub cpu_cores: Option<f64>,
    #[serde(serialize_with = "number::whole")]
    pub memory_gb: Option<f64>,
    #[serde(serialize_with = "number::whole")]
    pub disk_gb: Option<f64>,
    pub docker_status: String,
    pub docker_version: Option<String>,
    pub is_root: bool,
    pub sudo_available: bool,
    /// What `auto` came to: `none` or `sudo`.
    pub ssh_sudo_mode: String,
}

impl ConnectionTested {
    /// `result` for a saved server, or for none.
    #[must_use]
    pub fn of(result: &TestResult, server: Option<ServerId>) -> Self {
        Self {
            vm_id: server.map(|id| id.to_string()),
            status: result.outcome.as_str().to_owned(),
            message: result.message.clone(),
            remedy: result.remedy.clone(),
            detected: result.detected.as_ref().map(Detected::of),
            host_key_fingerprint: result.host_key.as_ref().map(ToString::to_string),
            expected_host_key_fingerprint: result.expected_host_key.as_ref().map(ToString::to_string),
        }
    }
}

impl Detected {
    fn of(detected: &connection_test::Detected) -> Self {
        let host = &detected.host;
        let gigabytes = |bytes: u64| (bytes as f64 / 1e8).round() / 10.0;
        Self {
            hostname: host.hostname.clone().unwrap_or_default(),
            os_type: host.os_type.clone().unwrap_or_default(),
            os_version: host.os_version.clone().unwrap_or_default(),
            cpu_cores: host.cpu_cores.map(|cores| cores as f64),
            memory_gb: host.memory_bytes.map(gigabytes),
            disk_gb: host.disk_bytes.map(gigabytes),
            docker_status: host.docker_status.clone().unwrap_or_else(|| "unknown".to_owned()),
            docker_version: host.docker_version.clone(),
            is_root: detected.is_root,
            sudo_available: detected.sudo_available,
            ssh_sudo_mode: detected.sudo_mode.as_str().to_owned(),
        }
    }
}

impl From<ConnectionTested> for wire::TestConnectionResponse {
    fn from(tested: ConnectionTested) -> Self {
        Self {
            vm_id: tested.vm_id.unwrap_or_default(),
            status: tested.status,
            message: tested.message,
            remedy: tested.remedy.unwrap_or_default(),
            detected: tested.detected.map(Into::into),
            host_key_fingerprint: tested.host_key_fingerprint.unwrap_or_default(),
            expected_host_key_fingerprint: tested.expected_host_key_fingerprint.unwrap_or_default(),
        }
    }
}

impl From<wire::TestConnectionResponse> for ConnectionTested {
    fn from(tested: wire::TestConnectionResponse) -> Self {
        Self {
            vm_id: filled(tested.vm_id),
            status: tested.status,
            message: tested.message,
            remedy: filled(tested.remedy),
            detected: tested.detected.map(Into::into),
            host_key_fingerprint: filled(tested.host_key_fingerprint),
            expected_host_key_fingerprint: filled(tested.expected_host_key_fingerprint),
        }
    }
}

impl From<Detected> for wire::Detected {
    fn from(detected: Detected) -> Self {
        Self {
            hostname: detected.hostname,
            os_type: detected.os_type,
            os_version: detected.os_version,
            cpu_cores: detected.cpu_cores.unwrap_or_default(),
            memory_gb: detected.memory_gb.unwrap_or_default(),
            disk_gb: detected.disk_gb.unwrap_or_default(),
            docker_status: detected.docker_status,
            docker_version: detected.docker_version.unwrap_or_default(),
            is_root: detected.is_root,
            sudo_available: detected.sudo_available,
            ssh_sudo_mode: detected.ssh_sudo_mode,
        }
    }
}

impl From<wire::Detected> for Detected {
    fn from(detected: wire::Detected) -> Self {
        Self {
            hostname: detected.hostname,
            os_type: detected.os_type,
            os_version: detected.os_version,
            cpu_cores: number::positive(detected.cpu_cores),
            memory_gb: number::positive(detected.memory_gb),
            disk_gb: number::positive(detected.disk_gb),
            docker_status: detected.docker_status,
            docker_version: filled(detected.docker_version),
            is_root: detected.is_root,
            sudo_available: detected.sudo_available,
            ssh_sudo_mode: detected.ssh_sudo_mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_create_body_is_accepted() {
        let body = r#"{
            "organization_id": "01890a5d-ac96-774b-bcce-b302099a8058", "name": "production-server-1",
            "provider": "custom", "region": "Frankfurt", "ipv4_address": "203.0.113.10",
            "connection_host_type": "auto", "ssh_port": 22, "ssh_username": "root", "ssh_auth_method": "ssh_key",
            "ssh_private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...\n-----END OPENSSH PRIVATE KEY-----",
            "ssh_sudo_mode": "auto", "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "max_projects": 8
        }"#;
        let create: VmCreate = serde_json::from_str(body).expect("accepted");
        assert_eq!(create.cpu_cores, Some(4.0));
        assert!(create.ssh_private_key.is_some());
    }

    #[test]
    fn a_published_patch_body_is_accepted_and_a_misspelt_one_is_not() {
        let body = r#"{"name": "production-server-1-updated", "cpu_cores": 8, "memory_gb": 16, "max_projects": 12}"#;
        let patch: VmPatch = serde_json::from_str(body).expect("accepted");
        assert_eq!(patch.max_projects, Some(12));
        assert!(serde_json::from_str::<VmPatch>(r#"{"cpu_core": 8}"#).is_err());
    }
}
