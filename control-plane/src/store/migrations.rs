//! The schema's versions. A migration that was released never changes again; a new one only adds, and what is no
//! longer used goes one release later.

use sqlx::{
    AnyPool, AssertSqlSafe, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{Dialect, StoreError};

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("migrations/0001_first.sql")),
    (2, "audit", include_str!("migrations/0002_audit.sql")),
    (4, "projects", include_str!("migrations/0004_projects.sql")),
    (3, "people", include_str!("migrations/0003_people.sql")),
    (5, "ssh_key_pairs", include_str!("migrations/0005_ssh_key_pairs.sql")),
    (6, "health", include_str!("migrations/0006_health.sql")),
    (7, "disk_use", include_str!("migrations/0007_disk_use.sql")),
    (8, "declarations", include_str!("migrations/0008_declarations.sql")),
    (9, "power", include_str!("migrations/0009_power.sql")),
    (10, "filter facts", include_str!("migrations/0010_filter_facts.sql")),
    (11, "containers", include_str!("migrations/0011_containers.sql")),
    (12, "metric blocks", include_str!("migrations/0012_metric_blocks.sql")),
    (16, "ssh key rotations", include_str!("migrations/0016_ssh_key_rotations.sql")),
    (17, "fleet runs", include_str!("migrations/0017_fleet_runs.sql")),
    (18, "oidc", include_str!("migrations/0018_oidc.sql")),
    (19, "receipts", include_str!("migrations/0019_receipts.sql")),
    (20, "filter facts id", include_str!("migrations/0020_filter_facts_id.sql")),
    (21, "hardening", include_str!("migrations/0021_hardening.sql")),
    (22, "hardening score", include_str!("migrations/0022_hardening_score.sql")),
    (23, "metrics retention", include_str!("migrations/0023_metrics_retention.sql")),
    (24, "forwarding", include_str!("migrations/0024_forwarding.sql")),
    (25, "metric days", include_str!("migrations/0025_metric_days.sql")),
    (26, "metric block stripes", include_str!("migrations/0026_metric_block_stripes.sql")),
];

/// Brings the database to the newest version. PostgreSQL replicas take turns by an advisory lock.
pub(super) async fn run(pool: &AnyPool, dialect: Dialect) -> Result<(), StoreError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|&(version, name, sql)| {
            let sql = AssertSqlSafe(dialect.adapt(sql)).into_sql_str();
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        })
        .collect();
    Migrator::with_migrations(migrations).run(pool).await.map_err(StoreError::Migration)
}
