//! A server as a filter sees it: the texts of the columns it asks for, and nothing else.

/// What can be read of a server. The store knows where each lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    Name,
    Provider,
    Region,
    Status,
    Ipv4Address,
    Ipv6Address,
    Fqdn,
    Hostname,
    SshUsername,
    SshAuthMethod,
    DeclaredCpuCoresMilli,
    DeclaredMemoryGbMilli,
    DeclaredDiskGbMilli,
    MaxProjects,
    CreatedAt,
    UpdatedAt,
    ConnectionOutcome,
    ConnectionAt,
    FactsCollectedAt,
    DetectedHostname,
    OsType,
    OsVersion,
    OsArch,
    DockerStatus,
    DockerVersion,
    DetectedCpuCores,
    DetectedMemoryBytes,
    DataDiskBytes,
    DataDiskAvailableBytes,
    PreflightVerdict,
    PreflightAt,
    HardeningScore,
    AgentStatus,
    AgentVersion,
    AllowedFamilies,
    LastSeenAt,
    SampleArrivedAt,
    SampleLookedAt,
    SampleDiskPercentMilli,
    CertificateNotBefore,
    CertificateNotAfter,
    /// The facts' own lines, see [`facts_lines`](super::facts_lines). The database answers what names them, where it can.
    Facts,
}

/// One server. An empty text is what is not known.
#[derive(Debug)]
pub struct Candidate<'a> {
    columns: &'a [Column],
    cells: Vec<&'a str>,
}

impl<'a> Candidate<'a> {
    /// The server whose `columns` have these `cells`.
    #[must_use]
    pub fn new(columns: &'a [Column], cells: Vec<&'a str>) -> Self {
        Self { columns, cells }
    }

    /// The text of `column`; `None` where it is not known.
    pub(super) fn text(&self, column: Column) -> Option<&'a str> {
        let index = self.columns.iter().position(|known| *known == column)?;
        self.cells.get(index).copied().filter(|text| !text.is_empty())
    }

    /// The whole number in `column`.
    pub(super) fn integer(&self, column: Column) -> Option<i64> {
        self.text(column)?.parse().ok()
    }

    /// The fact called `name`.
    pub(super) fn fact(&self, name: &str) -> Option<&'a str> {
        let lines = self.text(Column::Facts)?.split('\n');
        lines.filter_map(|line| line.split_once('=')).find(|(known, _)| *known == name).map(|(_, text)| text)
    }
}
