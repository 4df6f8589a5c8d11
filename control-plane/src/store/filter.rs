//! What filters read: the columns asked for of many servers at once, as text.
//!
//! A row costs the driver more than its content, so a query answers one text for up to [`SCAN`] servers: one line a
//! server, cells apart by control characters that no stored text holds.

use muster_shared::id::{OrgId, ServerId};
use sqlx::AssertSqlSafe;

use super::{Result, Store, StoreError, rows::Columns as _};
use crate::{
    filter::Column,
    servers::{Server, ServerStatus},
};

/// Servers read at once.
const SCAN: i64 = 2_500;
/// The place of the first text to look for among what is bound.
const FIRST_TEXT: usize = 6;
const BETWEEN_CELLS: char = '\u{1f}';
const BETWEEN_SERVERS: char = '\u{1e}';

/// Where a scan stands: the last server that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPosition {
    created_at_us: i64,
    id: String,
}

/// Some servers of an organisation, oldest first.
#[derive(Debug)]
pub struct Scanned {
    text: String,
    cells: usize,
    /// Where to go on; `None` when these were the last.
    pub next: Option<ScanPosition>,
}

impl Scanned {
    /// Each server's id and the cells asked for, empty where the database holds nothing.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for a line that has not as many cells as were asked for.
    pub fn servers(&self) -> impl Iterator<Item = Result<(ServerId, Vec<&str>)>> {
        self.text.split_terminator(BETWEEN_SERVERS).map(|line| {
            let mut cells = line.split(BETWEEN_CELLS);
            let id = cells.next().unwrap_or_default().parse().map_err(|_| StoreError::Unreadable { column: "id" })?;
            let cells: Vec<_> = cells.collect();
            if cells.len() == self.cells { Ok((id, cells)) } else { Err(StoreError::Unreadable { column: "name" }) }
        })
    }
}

impl Store {
    /// The `columns` of some servers after `after`, oldest first; of those with `status`, if given, whose remembered facts
    /// hold every text of `facts_with`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scan_servers(
        &self,
        org: OrgId,
        status: Option<ServerStatus>,
        (columns, facts_with): (&[Column], &[String]),
        after: Option<&ScanPosition>,
    ) -> Result<Scanned> {
        let (created_at_us, id) = after.map_or((i64::MIN, ""), |after| (after.created_at_us, after.id.as_str()));
        let query = sqlx::query(AssertSqlSafe(scan(columns, facts_with.len())))
            .bind(org.to_string())
            .bind(created_at_us)
            .bind(id)
            .bind(SCAN)
            .bind(status.map_or("", ServerStatus::as_str));
        let query = facts_with.iter().fold(query, |query, text| query.bind(text.as_str()));
        let row = query.fetch_one(self.read()).await?;
        let text = row.value::<Option<String>>("lines")?.unwrap_or_default();
        let is_full = row.value::<i64>("servers")? == SCAN;
        let last = text.rsplit(BETWEEN_SERVERS).next().and_then(|line| line.split(BETWEEN_CELLS).next());
        let position = row.value::<Option<i64>>("last_created_at_us")?.zip(last.map(str::to_owned));
        let next = position.filter(|_| is_full).map(|(created_at_us, id)| ScanPosition { created_at_us, id });
        Ok(Scanned { text, cells: columns.len(), next })
    }

    /// These servers, oldest first; those that are gone meanwhile are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn servers_by_id(&self, org: OrgId, ids: &[ServerId]) -> Result<Vec<Server>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<_> = (2..ids.len() + 2).map(|place| format!("${place}")).collect();
        let sql =
            format!("{} AND s.id IN ({}) ORDER BY s.created_at_us, s.id", super::servers::SELECT, places.join(", "));
        let query = sqlx::query(AssertSqlSafe(sql)).bind(org.to_string());
        let query = ids.iter().fold(query, |query, id| query.bind(id.to_string()));
        query.fetch_all(self.read()).await?.iter().map(super::servers::server).collect()
    }
}

/// The query over constants only: what callers write is bound.
fn scan(columns: &[Column], texts: usize) -> String {
    let cells: String =
        columns.iter().map(|column| format!(" || '{BETWEEN_CELLS}' || COALESCE({}, '')", text_of(*column))).collect();
    // Both databases know `replace`, and both compare bytes with it; on PostgreSQL it takes half as long as LIKE.
    let holds = |nth| format!(" AND REPLACE(s.filter_facts, ${nth}, '') <> s.filter_facts");
    let narrowed: String = (FIRST_TEXT..FIRST_TEXT + texts).map(holds).collect();
    format!(
        "SELECT COUNT(*) AS servers, MAX(r.created_at_us) AS last_created_at_us, \
         string_agg(r.line, '{BETWEEN_SERVERS}' ORDER BY r.created_at_us, r.id) AS lines \
         FROM (SELECT s.created_at_us, s.id, s.id{cells} AS line FROM servers s \
         WHERE s.org_id = $1 AND s.deleted_at_us IS NULL AND (s.created_at_us, s.id) > ($2, $3) \
         AND ($5 = '' OR s.status = $5){narrowed} ORDER BY s.created_at_us, s.id LIMIT $4) r"
    )
}

/// What the last check of a server's health kept.
macro_rules! kept_by_check {
    ($column:literal) => {
        concat!("(SELECT CAST(h.", $column, " AS TEXT) FROM server_health h WHERE h.server_id = s.id)")
    };
}

fn text_of(column: Column) -> &'static str {
    match column {
        Column::Name => "s.name",
        Column::Provider => "s.provider",
        Column::Region => "s.region",
        Column::Status => "s.status",
        Column::Ipv4Address => "s.ipv4_address",
        Column::Ipv6Address => "s.ipv6_address",
        Column::Fqdn => "s.fqdn",
        Column::Hostname => "s.hostname",
        Column::SshUsername => "s.ssh_username",
        Column::SshAuthMethod => "s.ssh_auth_method",
        Column::DeclaredCpuCoresMilli => "CAST(s.cpu_cores_milli AS TEXT)",
        Column::DeclaredMemoryGbMilli => "CAST(s.memory_gb_milli AS TEXT)",
        Column::DeclaredDiskGbMilli => "CAST(s.disk_gb_milli AS TEXT)",
        Column::MaxProjects => "CAST(s.max_projects AS TEXT)",
        Column::CreatedAt => "CAST(s.created_at_us AS TEXT)",
        Column::UpdatedAt => "CAST(s.updated_at_us AS TEXT)",
        Column::ConnectionOutcome => "s.connection_outcome",
        Column::ConnectionAt => "CAST(s.connection_at_us AS TEXT)",
        Column::FactsCollectedAt => "CAST(s.facts_collected_at_us AS TEXT)",
        Column::DetectedHostname => "s.detected_hostname",
        Column::OsType => "s.os_type",
        Column::OsVersion => "s.os_version",
        Column::OsArch => "s.os_arch",
        Column::DockerStatus => "s.docker_status",
        Column::DockerVersion => "s.docker_version",
        Column::DetectedCpuCores => "CAST(s.detected_cpu_cores AS TEXT)",
        Column::DetectedMemoryBytes => "CAST(s.detected_memory_bytes AS TEXT)",
        Column::DataDiskBytes => "CAST(s.data_disk_bytes AS TEXT)",
        Column::DataDiskAvailableBytes => "CAST(s.data_disk_available_bytes AS TEXT)",
        Column::PreflightVerdict => "s.preflight_verdict",
        Column::PreflightAt => "CAST(s.preflight_at_us AS TEXT)",
        Column::AgentStatus => "s.agent_status",
        // The agent's own word; every other text was freed of control characters before it was stored.
        Column::AgentVersion => "REPLACE(REPLACE(s.agent_version, '\u{1f}', ''), '\u{1e}', '')",
        Column::AllowedFamilies => "s.agent_allowed_families",
        Column::LastSeenAt => "CAST(s.last_seen_at_us AS TEXT)",
        Column::SampleArrivedAt => kept_by_check!("sample_arrived_at_us"),
        Column::SampleLookedAt => kept_by_check!("sample_looked_at_us"),
        Column::SampleDiskPercentMilli => kept_by_check!("sample_disk_percent_milli"),
        Column::CertificateNotBefore => kept_by_check!("certificate_not_before_us"),
        Column::CertificateNotAfter => kept_by_check!("certificate_not_after_us"),
        Column::Facts => "s.filter_facts",
    }
}
