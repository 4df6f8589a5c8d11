//! Frames of samples as they arrived, and the series they speak of.
//!
//! Series are stored as they are declared: a list of declarations once, whoever declares it, and which servers declared
//! which lists. Writing starts from the identity in an agent's certificate; reading takes an [`OrgId`]. Epochs and sequences are
//! unsigned on the wire, and their bits are kept. A frame that comes twice is stored once.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Series, SeriesId, SeriesKind},
    wire::FrameEncoding,
};
use sqlx::{AssertSqlSafe, any::AnyRow};

use super::{Result, Store, StoreError, Tx, forwarding::WAITS, rows::Columns as _};
use crate::metrics::Declarations;

/// Rows per statement, largest first; few sizes, so that few statements need preparing.
const ROWS_PER_STATEMENT: [usize; 3] = [64, 8, 1];

/// A frame to be stored, with what was declared and may not be stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRow {
    pub server_id: ServerId,
    pub epoch: u64,
    pub seq: u64,
    pub first_us: i64,
    pub last_us: i64,
    pub ticks: u32,
    pub encoding: FrameEncoding,
    pub payload: bytes::Bytes,
    pub declares: Vec<Arc<Declarations>>,
}

/// A stored frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFrame {
    pub epoch: u64,
    pub seq: u64,
    pub first_us: i64,
    pub last_us: i64,
    pub ticks: u32,
    pub encoding: FrameEncoding,
    pub payload: Vec<u8>,
}

/// A list of series as a server declared it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredList {
    /// What it is called; nothing where an older version stored it.
    pub sha256: Vec<u8>,
    pub series: Arc<[(SeriesId, Series)]>,
}

impl Store {
    /// Stores `frames` and their series in one transaction; those that are there already stay as they are. Answers
    /// how many were new.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is stored.
    pub async fn insert_frames(&self, frames: &[FrameRow]) -> Result<u64> {
        let mut tx = self.begin().await?;
        insert_declarations(&mut tx, frames).await?;
        let mut stored = 0;
        for chunk in chunks(frames) {
            stored += insert_frames(&mut tx, chunk, self.forwards_frames()).await?;
        }
        tx.commit().await?;
        Ok(stored)
    }

    /// A server's frames that hold samples of `from_us..=to_us` and are in no block yet, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn frames_between(
        &self,
        org: OrgId,
        server: ServerId,
        (from_us, to_us): (i64, i64),
        limit: u32,
    ) -> Result<Vec<StoredFrame>> {
        sqlx::query(
            "SELECT f.epoch, f.seq, f.first_us, f.last_us, f.ticks, f.encoding, f.payload FROM metric_frames f \
             JOIN servers s ON s.id = f.server_id \
             WHERE s.org_id = $1 AND f.server_id = $2 AND f.last_us >= $3 AND f.first_us <= $4 AND f.in_block = 0 \
             ORDER BY f.last_us, f.epoch, f.seq LIMIT $5",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(from_us)
        .bind(to_us)
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?
        .iter()
        .filter_map(readable)
        .collect()
    }

    /// A server's frames with the newest samples, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_frames(&self, org: OrgId, server: ServerId, limit: u32) -> Result<Vec<StoredFrame>> {
        sqlx::query(
            "SELECT f.epoch, f.seq, f.first_us, f.last_us, f.ticks, f.encoding, f.payload FROM metric_frames f \
             JOIN servers s ON s.id = f.server_id WHERE s.org_id = $1 AND f.server_id = $2 \
             ORDER BY f.last_us DESC LIMIT $3",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?
        .iter()
        .filter_map(readable)
        .collect()
    }

    /// The series a server declared in `epoch`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn series_of(&self, org: OrgId, server: ServerId, epoch: u64) -> Result<Vec<(SeriesId, Series)>> {
        let lists = self.lists_of(org, server, epoch).await?;
        let series = lists.iter().flat_map(|list| list.series.iter().cloned());
        Ok(series.collect::<BTreeMap<_, _>>().into_iter().collect())
    }

    /// The lists of series a server declared in `epoch`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lists_of(&self, org: OrgId, server: ServerId, epoch: u64) -> Result<Vec<DeclaredList>> {
        let rows = sqlx::query(
            "SELECT l.sha256, l.declarations FROM metric_declarations d \
             JOIN declaration_lists l ON l.sha256 = d.list_sha256 \
             JOIN servers s ON s.id = d.server_id WHERE s.org_id = $1 AND d.server_id = $2 AND d.epoch = $3",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(epoch.cast_signed())
        .fetch_all(self.read())
        .await?;
        let mut lists = Vec::with_capacity(rows.len());
        for row in rows {
            let (sha256, stored): (Vec<u8>, &[u8]) = (row.value("sha256")?, row.value("declarations")?);
            let series = self.inner.declared.get(stored, || {
                Declarations::series(stored).map_err(|_| StoreError::Unreadable { column: "declarations" })
            })?;
            lists.push(DeclaredList { sha256, series });
        }
        if lists.is_empty() {
            let series = self.series_of_an_older_version(org, server, epoch).await?;
            lists.push(DeclaredList { sha256: Vec::new(), series: series.into() });
        }
        Ok(lists)
    }

    /// Series of an epoch that began before lists of declarations were stored.
    async fn series_of_an_older_version(
        &self,
        org: OrgId,
        server: ServerId,
        epoch: u64,
    ) -> Result<Vec<(SeriesId, Series)>> {
        sqlx::query(
            "SELECT m.series_id, m.name, m.labels, m.scale, m.kind FROM metric_series m \
             JOIN servers s ON s.id = m.server_id WHERE s.org_id = $1 AND m.server_id = $2 AND m.epoch = $3",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(epoch.cast_signed())
        .fetch_all(self.read())
        .await?
        .iter()
        .map(series)
        .collect()
    }
}

async fn insert_frames(tx: &mut Tx, frames: &[FrameRow], forwards: bool) -> Result<u64> {
    let columns = "server_id, epoch, seq, first_us, last_us, ticks, encoding, payload";
    let sql = if forwards {
        insert_into(&format!("metric_frames ({columns}, forwarding)"), 9, frames.len())
    } else {
        insert_into(&format!("metric_frames ({columns})"), 8, frames.len())
    };
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for frame in frames {
        query = query
            .bind(frame.server_id.to_string())
            .bind(frame.epoch.cast_signed())
            .bind(frame.seq.cast_signed())
            .bind(frame.first_us)
            .bind(frame.last_us)
            .bind(i64::from(frame.ticks))
            .bind(i64::from(i32::from(frame.encoding)))
            .bind(&frame.payload[..]);
        if forwards {
            query = query.bind(WAITS);
        }
    }
    Ok(query.execute(&mut **tx).await?.rows_affected())
}

/// Rows go in in the order of their keys, so that two processes that write the same ones don't wait for each other.
async fn insert_declarations(tx: &mut Tx, frames: &[FrameRow]) -> Result<()> {
    let declared: BTreeMap<_, _> = frames
        .iter()
        .flat_map(|frame| frame.declares.iter().map(|list| ((list.sha256, frame.server_id, frame.epoch), list)))
        .collect();
    let lists: BTreeMap<_, _> = declared.iter().map(|((sha256, _, _), list)| (*sha256, *list)).collect();
    for (sha256, list) in lists {
        sqlx::query(AssertSqlSafe(insert_into("declaration_lists (sha256, declarations)", 2, 1)))
            .bind(&sha256[..])
            .bind(&list.stored[..])
            .execute(&mut **tx)
            .await?;
    }
    let declared: Vec<_> = declared.into_iter().map(|(key, list)| (key, list.is_passing)).collect();
    for chunk in chunks(&declared) {
        // A list that was about to be forgotten is not: whoever would delete it waits for this row.
        let target = "metric_declarations (list_sha256, server_id, epoch, is_passing)";
        let again = " ON CONFLICT (server_id, epoch, list_sha256) DO UPDATE SET used_at_us = 0";
        let mut query = sqlx::query(AssertSqlSafe(insert_values(target, 4, chunk.len()) + again));
        for ((sha256, server, epoch), is_passing) in chunk {
            query =
                query.bind(&sha256[..]).bind(server.to_string()).bind(epoch.cast_signed()).bind(i64::from(*is_passing));
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

/// `INSERT INTO <target> VALUES (…), (…) ON CONFLICT DO NOTHING` with numbered places only.
fn insert_into(target: &str, columns: usize, rows: usize) -> String {
    insert_values(target, columns, rows) + " ON CONFLICT DO NOTHING"
}

/// `INSERT INTO <target> VALUES (…), (…)` with numbered places only.
fn insert_values(target: &str, columns: usize, rows: usize) -> String {
    let mut sql = format!("INSERT INTO {target} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a String can't fail.
            let _ = write!(sql, "{comma}${}", row * columns + column + 1);
        }
        sql.push(')');
    }
    sql
}

/// `rows` in pieces of [`ROWS_PER_STATEMENT`].
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS_PER_STATEMENT.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// A frame that can't be read is passed over here, and put into quarantine once it is to be sealed.
fn readable(row: &AnyRow) -> Option<Result<StoredFrame>> {
    match stored(row) {
        Err(StoreError::Unreadable { .. }) => {
            metrics::counter!("muster_frames_unreadable_total").increment(1);
            None
        }
        read => Some(read),
    }
}

pub(super) fn stored(row: &AnyRow) -> Result<StoredFrame> {
    let encoding = i32::try_from(row.value::<i64>("encoding")?).ok().and_then(|word| word.try_into().ok());
    Ok(StoredFrame {
        epoch: row.value::<i64>("epoch")?.cast_unsigned(),
        seq: row.value::<i64>("seq")?.cast_unsigned(),
        first_us: row.value("first_us")?,
        last_us: row.value("last_us")?,
        ticks: u32::try_from(row.unsigned("ticks")?).map_err(|_| StoreError::Unreadable { column: "ticks" })?,
        encoding: encoding.ok_or(StoreError::Unreadable { column: "encoding" })?,
        payload: row.value("payload")?,
    })
}

fn series(row: &AnyRow) -> Result<(SeriesId, Series)> {
    let unreadable = |column| StoreError::Unreadable { column };
    let id = u32::try_from(row.value::<i64>("series_id")?).map_err(|_| unreadable("series_id"))?;
    let series = Series {
        name: row.value("name")?,
        labels: serde_json::from_str(row.value("labels")?).map_err(|_| unreadable("labels"))?,
        scale: i32::try_from(row.value::<i64>("scale")?).map_err(|_| unreadable("scale"))?,
        kind: row.word("kind", parse_kind)?,
    };
    Ok((id, series))
}

fn parse_kind(word: &str) -> Option<SeriesKind> {
    match word {
        "gauge" => Some(SeriesKind::Gauge),
        "counter" => Some(SeriesKind::Counter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_database::on_each;

    async fn server(store: &Store) -> (OrgId, ServerId) {
        let (org, server) = (OrgId::generate(), ServerId::generate());
        for (sql, values) in [
            (
                "INSERT INTO organizations (id, name, created_at_us) VALUES ($1, $2, 0)",
                [org.to_string(), org.to_string()],
            ),
            (
                "INSERT INTO servers (org_id, id, name, provider, region, status, created_at_us, updated_at_us, \
                 connection_host_type, ssh_port, ssh_sudo_mode, agent_status) \
                 VALUES ($1, $2, 'a', '', '', 'running', 0, 0, 'auto', 22, 'auto', 'online')",
                [org.to_string(), server.to_string()],
            ),
        ] {
            let [first, second] = values;
            sqlx::query(sql).bind(first).bind(second).execute(store.write()).await.expect("a row");
        }
        (org, server)
    }

    fn frame(server_id: ServerId, seq: u64, at_us: i64) -> FrameRow {
        FrameRow {
            server_id,
            epoch: u64::MAX,
            seq,
            first_us: at_us,
            last_us: at_us + 9,
            ticks: 10,
            encoding: FrameEncoding::Columns,
            payload: vec![seq as u8; 3].into(),
            declares: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_frame_that_comes_twice_is_stored_once() {
        on_each(async |store: Store| {
            let (org, server) = server(&store).await;
            let frames: Vec<_> = (0..75).map(|seq| frame(server, seq, seq as i64 * 10)).collect();
            assert_eq!(store.insert_frames(&frames).await.expect("stored"), 75);
            assert_eq!(store.insert_frames(&frames[70..]).await.expect("stored"), 0);
            let all = store.frames_between(org, server, (0, 1_000_000), 1000).await.expect("read");
            assert_eq!(all.iter().map(|frame| frame.seq).collect::<Vec<_>>(), (0..75).collect::<Vec<_>>());
            let newest = store.newest_frames(org, server, 2).await.expect("read");
            assert_eq!(newest.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [74, 73]);
            assert_eq!((newest[0].epoch, newest[0].payload.as_slice()), (u64::MAX, &[74u8; 3][..]));
        })
        .await;
    }

    #[tokio::test]
    async fn another_organisation_reads_nothing() {
        on_each(async |store: Store| {
            let (_, server) = server(&store).await;
            store.insert_frames(&[frame(server, 1, 0)]).await.expect("stored");
            let other = OrgId::generate();
            assert!(store.frames_between(other, server, (0, 100), 9).await.expect("read").is_empty());
            assert!(store.newest_frames(other, server, 9).await.expect("read").is_empty());
            assert!(store.series_of(other, server, u64::MAX).await.expect("read").is_empty());
        })
        .await;
    }

    #[tokio::test]
    async fn series_come_back_as_they_were_declared() {
        on_each(async |store: Store| {
            let (org, server) = server(&store).await;
            let series = |name: &str, kind, scale| Series {
                name: name.into(),
                labels: BTreeMap::from([("mode".into(), "a \"b\"".into())]),
                scale,
                kind,
            };
            let declared =
                vec![(3, series("up", SeriesKind::Gauge, 0)), (u32::MAX, series("on_total", SeriesKind::Counter, -6))];
            let declares = declared.iter().map(|one| Arc::new(Declarations::of([one.clone()]))).collect();
            let row = FrameRow { declares, ..frame(server, 1, 0) };
            store.insert_frames(std::slice::from_ref(&row)).await.expect("stored");
            store.insert_frames(&[FrameRow { seq: 2, ..row }]).await.expect("a repeated declaration is harmless");
            assert_eq!(store.series_of(org, server, u64::MAX).await.expect("read"), declared);
        })
        .await;
    }

    #[tokio::test]
    async fn series_of_an_older_version_are_still_read() {
        on_each(async |store: Store| {
            let (org, server) = server(&store).await;
            sqlx::query(
                "INSERT INTO metric_series (server_id, epoch, series_id, name, labels, scale, kind) \
                 VALUES ($1, 7, 3, 'up', '{}', -2, 'counter')",
            )
            .bind(server.to_string())
            .execute(store.write())
            .await
            .expect("a row");
            let series = Series { name: "up".into(), labels: BTreeMap::new(), scale: -2, kind: SeriesKind::Counter };
            assert_eq!(store.series_of(org, server, 7).await.expect("read"), [(3, series)]);
        })
        .await;
    }

    #[tokio::test]
    async fn one_unknown_server_spoils_the_batch_and_leaves_nothing_behind() {
        on_each(async |store: Store| {
            let (org, server) = server(&store).await;
            let batch = [frame(server, 1, 0), frame(ServerId::generate(), 1, 0)];
            assert!(store.insert_frames(&batch).await.is_err());
            assert!(store.newest_frames(org, server, 9).await.expect("read").is_empty());
        })
        .await;
    }
}
