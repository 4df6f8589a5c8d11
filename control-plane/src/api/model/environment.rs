//! Environments as callers see, make, change and move them.

use muster_shared::{
    id::{EnvironmentId, ServerId},
    wire,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    filled, nullable, number,
    request::{field, optional, word},
    time::Time,
};
use crate::{
    environments::{self, EnvironmentPatch, EnvironmentType, NewEnvironment, Takes},
    error::Error,
    quota::{self, Amounts, thousandths},
    servers::{ContainerRef, HostName},
};

/// Largest sizes of an environment.
const MAX_CORES: f64 = 4096.0;
const MAX_RAM_MB: u64 = 64 << 20;
const MAX_DISK_GB: f64 = 1e6;

/// An environment: what a project runs, where and how it fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8080", "name": "production", "environment_type": "production",
    "status": "running", "domain": "shop.example.com", "port": 8069, "container_id": "odoo_prod_abc123",
    "cpu_cores": 1.0, "ram_mb": 2048, "disk_gb": 40, "is_replica": false, "replica_of": null, "is_active": true,
    "vm_id": "01890a5d-ac96-774b-bcce-b302099a8057", "vm_name": "production-server-1",
    "status_since": "2025-01-15T10:31:00Z", "created_at": "2025-01-15T10:30:00Z",
    "updated_at": "2025-01-15T10:30:00Z",
    "project": {
        "id": "01890a5d-ac96-774b-bcce-b302099a8070", "name": "E-commerce Shop", "slug": "ecommerce-shop",
        "odoo_version": "17.0"
    }
}))]
pub struct Environment {
    pub id: String,
    /// Unique in the project.
    pub name: String,
    /// `production`, `staging` or `development`.
    pub environment_type: String,
    /// As its containers were last seen: `pending` (not seen yet), `running`, `stopped` or `error`.
    pub status: String,
    /// Since when it is seen so.
    pub status_since: Option<Time>,
    pub domain: Option<String>,
    pub port: Option<u16>,
    /// The container it runs in, by id or name. A container labelled `muster.environment_id` is found without.
    pub container_id: Option<String>,
    #[serde(serialize_with = "number::plain")]
    pub cpu_cores: f64,
    pub ram_mb: u64,
    #[serde(serialize_with = "number::plain")]
    pub disk_gb: f64,
    /// A replica has the sizes of what it replicates, and counts for 30 % of CPU and RAM and 100 % of the disk.
    pub is_replica: bool,
    pub replica_of: Option<String>,
    /// Only active environments count toward the quota.
    pub is_active: bool,
    /// The server it runs on.
    pub vm_id: Option<String>,
    pub vm_name: Option<String>,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
    pub project: EnvironmentProject,
}

/// The project an environment belongs to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentProject {
    pub id: String,
    pub name: String,
    pub slug: String,
    pub odoo_version: Option<String>,
}

/// An environment to make.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "production", "environment_type": "production", "domain": "shop.example.com", "port": 8069,
    "container_id": "odoo_prod_abc123", "cpu_cores": 1.0, "ram_mb": 2048, "disk_gb": 40,
    "vm_id": "01890a5d-ac96-774b-bcce-b302099a8057"
}))]
pub struct EnvironmentCreate {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
    /// `production`, `staging` or `development`; `production` unless given.
    #[schema(pattern = "^(production|staging|development)$")]
    pub environment_type: Option<String>,
    #[schema(
        max_length = 253,
        pattern = "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?)?$"
    )]
    pub domain: Option<String>,
    #[schema(minimum = 1, maximum = 65535)]
    pub port: Option<u16>,
    #[schema(pattern = "^([A-Za-z0-9][A-Za-z0-9_.-]{0,127})?$")]
    pub container_id: Option<String>,
    /// More than 0. Needed, as the two others, unless it replicates another environment.
    #[schema(minimum = 0.001, maximum = 4096)]
    pub cpu_cores: Option<f64>,
    #[schema(minimum = 1, maximum = 67_108_864)]
    pub ram_mb: Option<u64>,
    #[schema(minimum = 0.001, maximum = 1_000_000)]
    pub disk_gb: Option<f64>,
    /// The id or name of an environment of the project that it replicates.
    pub replica_of: Option<String>,
    /// `true` unless given.
    pub is_active: Option<bool>,
    /// The id or name of the server it runs on.
    pub vm_id: Option<String>,
}

/// What to change of an environment; what is absent stays, `null` empties. Another `vm_id` moves it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "vm_id": "01890a5d-ac96-774b-bcce-b302099a8057" }))]
pub struct EnvironmentPut {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: Option<String>,
    #[schema(pattern = "^(production|staging|development)$")]
    pub environment_type: Option<String>,
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(
        value_type = Option<String>,
        max_length = 253,
        pattern = "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?)?$"
    )]
    pub domain: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 65535)]
    pub port: Option<Option<u16>>,
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(value_type = Option<String>, pattern = "^([A-Za-z0-9][A-Za-z0-9_.-]{0,127})?$")]
    pub container_id: Option<Option<String>>,
    #[schema(minimum = 0.001, maximum = 4096)]
    pub cpu_cores: Option<f64>,
    #[schema(minimum = 1, maximum = 67_108_864)]
    pub ram_mb: Option<u64>,
    #[schema(minimum = 0.001, maximum = 1_000_000)]
    pub disk_gb: Option<f64>,
    pub is_active: Option<bool>,
    /// The id or name of the server it runs on from now on; `null` for none.
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(value_type = Option<String>)]
    pub vm_id: Option<Option<String>>,
}

/// Environments to move to another server.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "target_vm_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "environment_ids": ["01890a5d-ac96-774b-bcce-b302099a8080", "01890a5d-ac96-774b-bcce-b302099a8081"]
}))]
pub struct Migration {
    /// A server's id, or its name.
    pub target_vm_id: String,
    /// All of them move, or none.
    #[schema(min_items = 1, max_items = 1000)]
    pub environment_ids: Vec<String>,
}

/// Environments that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Migrated {
    pub message: String,
    pub vm_id: String,
    pub target_vm_id: String,
    pub environments: Vec<Environment>,
}

/// That something is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "message": "Server deleted successfully" }))]
pub struct Deleted {
    pub message: String,
}

impl Deleted {
    /// `noun` is deleted.
    #[must_use]
    pub fn of(noun: &str) -> Self {
        Self { message: format!("{noun} deleted successfully") }
    }
}

impl Environment {
    /// `environment` as it is.
    #[must_use]
    pub fn of(environment: &environments::Environment) -> Self {
        let (sizes, project) = (&environment.sizes, &environment.project);
        Self {
            id: environment.id.to_string(),
            name: environment.name.to_string(),
            environment_type: environment.environment_type.as_str().to_owned(),
            status: environment.status.as_str().to_owned(),
            status_since: environment.status_at_us.map(Time),
            domain: environment.domain.as_ref().map(ToString::to_string),
            port: environment.port,
            container_id: environment.container_id.as_ref().map(ToString::to_string),
            cpu_cores: quota::number(sizes.cpu_milli),
            ram_mb: sizes.ram_mb_milli / 1000,
            disk_gb: quota::number(sizes.disk_gb_milli),
            is_replica: environment.replica_of.is_some(),
            replica_of: environment.replica_of.map(|id| id.to_string()),
            is_active: environment.is_active,
            vm_id: environment.server_id().map(|id| id.to_string()),
            vm_name: environment.server.as_ref().map(|server| server.name.to_string()),
            created_at: Some(Time(environment.created_at_us)),
            updated_at: Some(Time(environment.updated_at_us)),
            project: EnvironmentProject {
                id: project.id.to_string(),
                name: project.name.to_string(),
                slug: project.slug.to_string(),
                odoo_version: filled(project.odoo_version.to_string()),
            },
        }
    }
}

impl EnvironmentCreate {
    /// The environment to make on `server_id`, replicating `replica_of`.
    ///
    /// # Errors
    /// A field that is missing or not acceptable.
    pub fn into_environment(
        self,
        server_id: Option<ServerId>,
        replica_of: Option<EnvironmentId>,
    ) -> Result<NewEnvironment, Error> {
        let cpu_milli = cores(self.cpu_cores)?;
        let ram_mb_milli = ram(self.ram_mb)?;
        let disk_gb_milli = disk(self.disk_gb)?;
        let takes = match (replica_of, cpu_milli, ram_mb_milli, disk_gb_milli) {
            (Some(source), None, None, None) => Takes::ReplicaOf(source),
            (None, Some(cpu_milli), Some(ram_mb_milli), Some(disk_gb_milli)) => {
                Takes::Sizes(Amounts { cpu_milli, ram_mb_milli, disk_gb_milli })
            }
            (Some(_), ..) => return Err(environments::Refused::ReplicaSizes.into()),
            (None, ..) => {
                return Err(Error::invalid("sizes_required", "cpu_cores, ram_mb and disk_gb are needed"));
            }
        };
        Ok(NewEnvironment {
            name: field("name", &self.name)?,
            environment_type: kind(self.environment_type)?.unwrap_or(EnvironmentType::Production),
            domain: optional("domain", self.domain)?,
            port: port(self.port)?,
            container_id: optional("container_id", self.container_id)?,
            takes,
            is_active: self.is_active.unwrap_or(true),
            server_id,
        })
    }
}

impl EnvironmentPut {
    /// The changes, its server already found.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_patch(self, server_id: Option<Option<ServerId>>) -> Result<EnvironmentPatch, Error> {
        let domain = |text| optional::<HostName>("domain", text);
        let container = |text| optional::<ContainerRef>("container_id", text);
        Ok(EnvironmentPatch {
            name: self.name.map(|name| field("name", &name)).transpose()?,
            environment_type: kind(self.environment_type)?,
            domain: self.domain.map(domain).transpose()?,
            port: self.port.map(port).transpose()?,
            container_id: self.container_id.map(container).transpose()?,
            cpu_milli: cores(self.cpu_cores)?,
            ram_mb_milli: ram(self.ram_mb)?,
            disk_gb_milli: disk(self.disk_gb)?,
            is_active: self.is_active,
            server_id,
        })
    }
}

impl Migration {
    /// The environments to move. A text that is no id names none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
    pub fn ids(&self) -> Result<Vec<EnvironmentId>, Error> {
        let id = |text: &String| text.parse().map_err(|_| Error::not_found("environment on this server"));
        self.environment_ids.iter().map(id).collect()
    }
}

fn kind(text: Option<String>) -> Result<Option<EnvironmentType>, Error> {
    word("environment_type", text, EnvironmentType::parse)
}

fn port(port: Option<u16>) -> Result<Option<u16>, Error> {
    match port {
        Some(0) => Err(Error::invalid("invalid_field", "port: expected 1 to 65535")),
        port => Ok(port),
    }
}

fn cores(cores: Option<f64>) -> Result<Option<u64>, Error> {
    size("cpu_cores", cores, MAX_CORES)
}

fn disk(disk: Option<f64>) -> Result<Option<u64>, Error> {
    size("disk_gb", disk, MAX_DISK_GB)
}

fn size(field: &str, size: Option<f64>, max: f64) -> Result<Option<u64>, Error> {
    match size {
        Some(size) if !(size <= max && thousandths(size) > 0) => {
            Err(Error::invalid("invalid_field", format!("{field}: expected 0.001 to {max}")))
        }
        size => Ok(size.map(thousandths)),
    }
}

fn ram(ram_mb: Option<u64>) -> Result<Option<u64>, Error> {
    match ram_mb {
        Some(mb) if !(1..=MAX_RAM_MB).contains(&mb) => {
            Err(Error::invalid("invalid_field", format!("ram_mb: expected 1 to {MAX_RAM_MB}")))
        }
        mb => Ok(mb.map(|mb| mb * 1000)),
    }
}

impl From<wire::CreateEnvironmentRequest> for EnvironmentCreate {
    fn from(request: wire::CreateEnvironmentRequest) -> Self {
        Self {
            name: request.name,
            environment_type: filled(request.environment_type),
            domain: filled(request.domain),
            port: wire_port(request.port),
            container_id: filled(request.container_id),
            cpu_cores: number::positive(request.cpu_cores),
            ram_mb: Some(request.ram_mb).filter(|mb| *mb > 0),
            disk_gb: number::positive(request.disk_gb),
            replica_of: filled(request.replica_of),
            is_active: Some(!request.is_inactive),
            vm_id: filled(request.vm_id),
        }
    }
}

impl TryFrom<wire::UpdateEnvironmentRequest> for EnvironmentPut {
    type Error = Error;

    /// Takes the fields that the mask names; empty ones empty.
    fn try_from(request: wire::UpdateEnvironmentRequest) -> Result<Self, Error> {
        let mut put = Self::default();
        for path in request.update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "name" => put.name = Some(request.name.clone()),
                "environment_type" => put.environment_type = Some(request.environment_type.clone()),
                "domain" => put.domain = Some(filled(request.domain.clone())),
                "port" => put.port = Some(wire_port(request.port)),
                "container_id" => put.container_id = Some(filled(request.container_id.clone())),
                "cpu_cores" => put.cpu_cores = Some(request.cpu_cores),
                "ram_mb" => put.ram_mb = Some(request.ram_mb),
                "disk_gb" => put.disk_gb = Some(request.disk_gb),
                "is_active" => put.is_active = Some(request.is_active),
                "vm_id" => put.vm_id = Some(filled(request.vm_id.clone())),
                _ => return Err(Error::invalid("invalid_mask", "update_mask names a field there is not")),
            }
        }
        Ok(put)
    }
}

/// 0 stands for none; a port out of range becomes 0, which is refused.
fn wire_port(port: u32) -> Option<u16> {
    (port > 0).then(|| u16::try_from(port).unwrap_or(0))
}

impl From<Environment> for wire::Environment {
    fn from(environment: Environment) -> Self {
        let project = environment.project;
        Self {
            id: environment.id,
            name: environment.name,
            environment_type: environment.environment_type,
            status: environment.status,
            status_since: environment.status_since.map(Into::into),
            domain: environment.domain.unwrap_or_default(),
            port: environment.port.unwrap_or_default().into(),
            container_id: environment.container_id.unwrap_or_default(),
            cpu_cores: environment.cpu_cores,
            ram_mb: environment.ram_mb,
            disk_gb: environment.disk_gb,
            is_replica: environment.is_replica,
            replica_of: environment.replica_of.unwrap_or_default(),
            is_active: environment.is_active,
            vm_id: environment.vm_id.unwrap_or_default(),
            vm_name: environment.vm_name.unwrap_or_default(),
            created_at: environment.created_at.map(Into::into),
            updated_at: environment.updated_at.map(Into::into),
            project_id: project.id,
            project_name: project.name,
            project_slug: project.slug,
            project_odoo_version: project.odoo_version.unwrap_or_default(),
        }
    }
}

impl From<wire::Environment> for Environment {
    fn from(environment: wire::Environment) -> Self {
        Self {
            id: environment.id,
            name: environment.name,
            environment_type: environment.environment_type,
            status: environment.status,
            status_since: environment.status_since.map(Into::into),
            domain: filled(environment.domain),
            port: wire_port(environment.port),
            container_id: filled(environment.container_id),
            cpu_cores: environment.cpu_cores,
            ram_mb: environment.ram_mb,
            disk_gb: environment.disk_gb,
            is_replica: environment.is_replica,
            replica_of: filled(environment.replica_of),
            is_active: environment.is_active,
            vm_id: filled(environment.vm_id),
            vm_name: filled(environment.vm_name),
            created_at: environment.created_at.map(Into::into),
            updated_at: environment.updated_at.map(Into::into),
            project: EnvironmentProject {
                id: environment.project_id,
                name: environment.project_name,
                slug: environment.project_slug,
                odoo_version: filled(environment.project_odoo_version),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_carries_every_field_that_rest_does() {
        let mut json = serde_json::to_value(Environment::default()).expect("serialises");
        for (number, (name, value)) in json.as_object_mut().expect("an object").iter_mut().enumerate() {
            *value = match name.as_str() {
                "port" | "cpu_cores" | "ram_mb" | "disk_gb" => (number + 1).into(),
                "is_replica" | "is_active" => true.into(),
                "project" => {
                    serde_json::json!({ "id": "p", "name": "a shop", "slug": "shop", "odoo_version": "17.0" })
                }
                name if name.ends_with("_at") || name == "status_since" => Time(number as i64).to_string().into(),
                name => format!("{name} {number}").into(),
            };
        }
        let environment: Environment = serde_json::from_value(json.clone()).expect("deserialises");
        let back = Environment::from(wire::Environment::from(environment));
        assert_eq!(serde_json::to_value(back).expect("serialises"), json);
    }

    #[test]
    fn null_empties_and_absence_leaves() {
        let put: EnvironmentPut = serde_json::from_str(r#"{"vm_id": null, "port": 80}"#).expect("acceptable");
        assert_eq!((put.vm_id, put.port, put.domain), (Some(None), Some(Some(80)), None));
    }

    #[test]
    fn sizes_have_bounds() {
        let create = |cpu_cores, ram_mb| EnvironmentCreate {
            name: "production".into(),
            cpu_cores: Some(cpu_cores),
            ram_mb: Some(ram_mb),
            disk_gb: Some(40.0),
            ..EnvironmentCreate::default()
        };
        assert!(create(0.5, 2048).into_environment(None, None).is_ok());
        for (cores, ram_mb) in
            [(0.0, 1), (-1.0, 1), (0.000_4, 1), (f64::NAN, 1), (4096.5, 1), (1.0, 0), (1.0, u64::MAX)]
        {
            assert!(create(cores, ram_mb).into_environment(None, None).is_err(), "{cores} {ram_mb}");
        }
        assert!(create(1.0, 1).into_environment(None, Some(EnvironmentId::generate())).is_err());
    }
}
