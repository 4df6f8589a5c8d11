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
/// Stands before remembered facts that have no id yet: they stand for themselves.
const UNNAMED: char = '=';
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

/// What a host's facts say to filters.
#[derive(Debug)]
pub struct FilterFacts {
    pub server: ServerId,
    /// What names the lines, see [`facts_id`](crate::filter::facts_id).
    pub id: String,
    pub lines: String,
}

/// What a scan answers of a host's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactsCell<'a> {
    /// What names them.
    Id(&'a str),
    /// Themselves.
    Lines(&'a str),
}

impl<'a> FactsCell<'a> {
    /// Reads the cell of [`Column::Facts`].
    #[must_use]
    pub fn of(cell: &'a str) -> Self {
        match cell.strip_prefix(UNNAMED) {
            Some(lines) => Self::Lines(lines),
            None if cell.is_empty() => Self::Lines(cell),
            None => Self::Id(cell),
        }
    }
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
    /// The `columns` of some servers after `after`, oldest first; of those with `status`, if given. Of the facts it is what
    /// [`FactsCell`] reads.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scan_servers(
        &self,
        org: OrgId,
        status: Option<ServerStatus>,
        columns: &[Column],
        after: Option<&ScanPosition>,
    ) -> Result<Scanned> {
        let (created_at_us, id) = after.map_or((i64::MIN, ""), |after| (after.created_at_us, after.id.as_str()));
        let query = sqlx::query(AssertSqlSafe(scan(columns)))
            .bind(org.to_string())
            .bind(created_at_us)
            .bind(id)
            .bind(SCAN)
            .bind(status.map_or("", ServerStatus::as_str));
        let row = query.fetch_one(self.read()).await?;
        let text = row.value::<Option<String>>("lines")?.unwrap_or_default();
        let is_full = row.value::<i64>("servers")? == SCAN;
        let last = text.rsplit(BETWEEN_SERVERS).next().and_then(|line| line.split(BETWEEN_CELLS).next());
        let position = row.value::<Option<i64>>("last_created_at_us")?.zip(last.map(str::to_owned));
        let next = position.filter(|_| is_full).map(|(created_at_us, id)| ScanPosition { created_at_us, id });
        Ok(Scanned { text, cells: columns.len(), next })
    }

    /// The remembered facts of these servers, where there are any, each with what names them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn filter_facts(&self, org: OrgId, ids: &[ServerId]) -> Result<Vec<FilterFacts>> {
        // A database plans each text of a query anew: there are few lengths of a list. No server has an empty id.
        let places: Vec<_> = (2..ids.len().next_power_of_two() + 2).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT id, filter_facts_id, filter_facts FROM servers WHERE org_id = $1 AND filter_facts IS NOT NULL \
             AND filter_facts_id IS NOT NULL AND id IN ({})",
            places.join(", ")
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(org.to_string());
        let query = (0..places.len())
            .fold(query, |query, nth| query.bind(ids.get(nth).map_or_else(String::new, ToString::to_string)));
        let rows = query.fetch_all(self.read()).await?;
        let facts = rows.iter().map(|row| {
            Ok(FilterFacts {
                server: row.parsed("id")?,
                id: row.value("filter_facts_id")?,
                lines: row.value("filter_facts")?,
            })
        });
        facts.collect()
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
fn scan(columns: &[Column]) -> String {
    let cells: String =
        columns.iter().map(|column| format!(" || '{BETWEEN_CELLS}' || COALESCE({}, '')", text_of(*column))).collect();
    let checks = if columns.iter().any(|column| is_kept_by_check(*column)) { CHECKS } else { "" };
    format!(
        "SELECT COUNT(*) AS servers, MAX(r.created_at_us) AS last_created_at_us, \
         string_agg(r.line, '{BETWEEN_SERVERS}' ORDER BY r.created_at_us, r.id) AS lines \
         FROM (SELECT s.created_at_us, s.id, s.id{cells} AS line FROM servers s{checks} \
         WHERE s.org_id = $1 AND s.deleted_at_us IS NULL AND (s.created_at_us, s.id) > ($2, $3) \
         AND ($5 = '' OR s.status = $5) ORDER BY s.created_at_us, s.id LIMIT $4) r"
    )
}

/// What the last check of each server's health kept: one look per server, however many of its columns are asked for.
const CHECKS: &str = " LEFT JOIN server_health h ON h.server_id = s.id";

/// Whether the last check of a server's health keeps `column`.
const fn is_kept_by_check(column: Column) -> bool {
    matches!(
        column,
        Column::SampleArrivedAt
            | Column::SampleLookedAt
            | Column::SampleDiskPercentMilli
            | Column::CertificateNotBefore
            | Column::CertificateNotAfter
    )
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
        Column::HardeningScore => "CAST(s.hardening_score AS TEXT)",
        Column::LastSeenAt => "CAST(s.last_seen_at_us AS TEXT)",
        Column::SampleArrivedAt => "CAST(h.sample_arrived_at_us AS TEXT)",
        Column::SampleLookedAt => "CAST(h.sample_looked_at_us AS TEXT)",
        Column::SampleDiskPercentMilli => "CAST(h.sample_disk_percent_milli AS TEXT)",
        Column::CertificateNotBefore => "CAST(h.certificate_not_before_us AS TEXT)",
        Column::CertificateNotAfter => "CAST(h.certificate_not_after_us AS TEXT)",
        Column::Facts => "COALESCE(s.filter_facts_id, '=' || s.filter_facts)",
    }
}
