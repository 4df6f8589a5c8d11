//! What the servers of an organisation say that they measure.

use std::collections::BTreeSet;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{Result, Store, StoreError, rows::Columns as _};
use crate::metrics::Declarations;

/// Most lists of declarations looked at: hosts of one shape share one.
const MAX_LISTS: i64 = 200;

impl Store {
    /// The series that the organisation's servers, or one of them, declared: of at most [`MAX_LISTS`] different lists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn declared_series(&self, org: OrgId, server: Option<ServerId>) -> Result<BTreeSet<Series>> {
        let rows = sqlx::query(
            "SELECT l.declarations FROM declaration_lists l WHERE l.sha256 IN (SELECT d.list_sha256 \
             FROM metric_declarations d JOIN servers s ON s.id = d.server_id WHERE s.org_id = $1 \
             AND s.deleted_at_us IS NULL AND ($2 = '' OR s.id = $2)) ORDER BY l.sha256 LIMIT $3",
        )
        .bind(org.to_string())
        .bind(server.map(|server| server.to_string()).unwrap_or_default())
        .bind(MAX_LISTS)
        .fetch_all(self.read())
        .await?;
        let mut series = BTreeSet::new();
        for row in rows {
            let list = Declarations::series(row.value("declarations")?);
            let list = list.map_err(|_| StoreError::Unreadable { column: "declarations" })?;
            series.extend(list.into_iter().map(|(_, series)| series));
        }
        Ok(series)
    }
}
