//! Environments as rows: one written whole, one read back.

use muster_shared::id::ServerId;
use sqlx::any::AnyRow;

use super::{Result, StoreError, Tx, quota::signed, rows::Columns as _};
use crate::{
    environments::{Environment, EnvironmentStatus, EnvironmentType, ProjectOf, ServerOf},
    quota::Amounts,
};

pub(super) async fn insert(tx: &mut Tx, environment: &Environment) -> Result<()> {
    sqlx::query(
        "INSERT INTO environments (id, org_id, project_id, name, environment_type, cpu_cores_milli, ram_mb, \
         disk_gb_milli, replica_of, is_active, counted_cpu_milli, counted_ram_mb_milli, counted_disk_gb_milli, status, \
         created_at_us, updated_at_us) VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6, 0, 0, 0, 0, $7, $8, $8)",
    )
    .bind(environment.id.to_string())
    .bind(environment.org_id.to_string())
    .bind(environment.project.id.to_string())
    .bind(environment.name.as_str())
    .bind(environment.environment_type.as_str())
    .bind(environment.replica_of.map(|id| id.to_string()))
    .bind(environment.status.as_str())
    .bind(environment.created_at_us)
    .execute(&mut **tx)
    .await?;
    write(tx, environment).await
}

/// Writes what can change, and what it counts for with it.
pub(super) async fn write(tx: &mut Tx, environment: &Environment) -> Result<()> {
    let (sizes, counted) = (&environment.sizes, environment.counted());
    sqlx::query(
        "UPDATE environments SET name = $3, environment_type = $4, domain = $5, port = $6, container_id = $7, \
         cpu_cores_milli = $8, ram_mb = $9, disk_gb_milli = $10, is_active = $11, server_id = $12, \
         counted_cpu_milli = $13, counted_ram_mb_milli = $14, counted_disk_gb_milli = $15, status = $16, \
         status_at_us = $17, updated_at_us = $18 WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL",
    )
    .bind(environment.org_id.to_string())
    .bind(environment.id.to_string())
    .bind(environment.name.as_str())
    .bind(environment.environment_type.as_str())
    .bind(environment.domain.as_ref().map(ToString::to_string))
    .bind(environment.port.map(i64::from))
    .bind(environment.container_id.as_ref().map(ToString::to_string))
    .bind(signed(sizes.cpu_milli))
    .bind(signed(sizes.ram_mb_milli / 1000))
    .bind(signed(sizes.disk_gb_milli))
    .bind(i64::from(environment.is_active))
    .bind(environment.server_id().map(|id| id.to_string()))
    .bind(signed(counted.cpu_milli))
    .bind(signed(counted.ram_mb_milli))
    .bind(signed(counted.disk_gb_milli))
    .bind(environment.status.as_str())
    .bind(environment.status_at_us)
    .bind(environment.updated_at_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) fn environment(row: &AnyRow) -> Result<Environment> {
    let port = row.unsigned_if_any("port")?.map(u16::try_from).transpose();
    let server_id: Option<ServerId> = row.parsed_if_any("server_id")?;
    Ok(Environment {
        id: row.parsed("id")?,
        org_id: row.parsed("org_id")?,
        project: ProjectOf {
            id: row.parsed("project_id")?,
            name: row.parsed("project_name")?,
            slug: row.parsed("slug")?,
            odoo_version: row.parsed("odoo_version")?,
        },
        name: row.parsed("name")?,
        environment_type: row.word("environment_type", EnvironmentType::parse)?,
        domain: row.parsed_if_any("domain")?,
        port: port.map_err(|_| StoreError::Unreadable { column: "port" })?,
        container_id: row.parsed_if_any("container_id")?,
        sizes: Amounts {
            cpu_milli: row.unsigned("cpu_cores_milli")?,
            ram_mb_milli: row.unsigned("ram_mb")?.saturating_mul(1000),
            disk_gb_milli: row.unsigned("disk_gb_milli")?,
        },
        replica_of: row.parsed_if_any("replica_of")?,
        is_active: row.unsigned("is_active")? == 1,
        server: match server_id {
            Some(id) => Some(ServerOf { id, name: row.parsed("server_name")? }),
            None => None,
        },
        status: row.word("status", EnvironmentStatus::parse)?,
        status_at_us: row.value("status_at_us")?,
        created_at_us: row.value("created_at_us")?,
        updated_at_us: row.value("updated_at_us")?,
    })
}
