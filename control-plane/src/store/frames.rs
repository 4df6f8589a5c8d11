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

use super::{Result, Store, StoreError, Tx, rows::Columns as _};
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
            stored += insert_frames(&mut tx, chunk).await?;
        }
        tx.commit().await?;
        Ok(stored)
    }

    /// A server's frames that hold samples of `from_us..=to_us`, oldest first, at most `limit`.
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
             WHERE s.org_id = $1 AND f.server_id = $2 AND f.last_us >= $3 AND f.first_us <= $4 \
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
        .map(stored)
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
        .map(stored)
        .collect()
    }

    /// The series a server declared in `epoch`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn series_of(&self, org: OrgId, server: ServerId, epoch: u64) -> Result<Vec<(SeriesId, Series)>> {
        let rows = sqlx::query(
            "SELECT l.declarations FROM metric_declarations d JOIN declaration_lists l ON l.sha256 = d.list_sha256 \
             JOIN servers s ON s.id = d.server_id WHERE s.org_id = $1 AND d.server_id = $2 AND d.epoch = $3",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(epoch.cast_signed())
        .fetch_all(self.read())
        .await?;
        let mut declared = BTreeMap::new();
        for row in rows {
            let list = Declarations::series(row.value("declarations")?);
            declared.extend(list.map_err(|_| StoreError::Unreadable { column: "declarations" })?);
        }
        if declared.is_empty() {
            declared.extend(self.series_of_an_older_version(org, server, epoch).await?);
        }
        Ok(declared.into_iter().collect())
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

    /// Servers, of every organisation, that have frames whose newest sample is older than `before_us`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn servers_with_frames_before(&self, before_us: i64) -> Result<Vec<ServerId>> {
        sqlx::query(
            "SELECT s.id FROM servers s WHERE EXISTS \
             (SELECT 1 FROM metric_frames f WHERE f.server_id = s.id AND f.last_us < $1)",
        )
        .bind(before_us)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| row.parsed("id"))
        .collect()
    }

    /// Deletes up to `limit` of a server's frames whose newest sample is older than `before_us`. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_frames_before(&self, server: ServerId, before_us: i64, limit: u32) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM metric_frames WHERE server_id = $1 AND (epoch, seq) IN (SELECT epoch, seq \
             FROM metric_frames WHERE server_id = $1 AND last_us < $2 ORDER BY last_us LIMIT $3)",
        )
        .bind(server.to_string())
        .bind(before_us)
        .bind(i64::from(limit))
        .execute(self.write())
        .await?;
        Ok(done.rows_affected())
    }

    /// Deletes what a server declared for spools that no frame is left of, and lists that nobody declares any more. A
    /// host that is online declares its series with its next frame, so it is passed over. Answers how many
    /// declarations of the server went.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_unused_series(&self, server: ServerId) -> Result<u64> {
        let mut tx = self.begin().await?;
        let mut deleted = 0;
        for sql in [
            "DELETE FROM metric_declarations WHERE server_id = $1 AND NOT EXISTS (SELECT 1 FROM metric_frames f \
             WHERE f.server_id = metric_declarations.server_id AND f.epoch = metric_declarations.epoch) \
             AND EXISTS (SELECT 1 FROM servers s WHERE s.id = $1 AND s.agent_status <> 'online')",
            "DELETE FROM metric_series WHERE server_id = $1 AND NOT EXISTS (SELECT 1 FROM metric_frames f \
             WHERE f.server_id = metric_series.server_id AND f.epoch = metric_series.epoch) \
             AND EXISTS (SELECT 1 FROM servers s WHERE s.id = $1 AND s.agent_status <> 'online')",
        ] {
            deleted += sqlx::query(sql).bind(server.to_string()).execute(&mut *tx).await?.rows_affected();
        }
        if deleted > 0 {
            sqlx::query(
                "DELETE FROM declaration_lists WHERE NOT EXISTS \
                 (SELECT 1 FROM metric_declarations d WHERE d.list_sha256 = declaration_lists.sha256)",
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(deleted)
    }
}

async fn insert_frames(tx: &mut Tx, frames: &[FrameRow]) -> Result<u64> {
    let sql = insert_into(
        "metric_frames (server_id, epoch, seq, first_us, last_us, ticks, encoding, payload)",
        8,
        frames.len(),
    );
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
    }
    Ok(query.execute(&mut **tx).await?.rows_affected())
}

/// Rows go in in the order of their keys, so that two processes that write the same ones don't wait for each other.
async fn insert_declarations(tx: &mut Tx, frames: &[FrameRow]) -> Result<()> {
    let declared: BTreeMap<_, _> = frames
        .iter()
        .flat_map(|frame| frame.declares.iter().map(|list| ((list.sha256, frame.server_id, frame.epoch), list)))
        .collect();
    let lists: BTreeMap<_, _> = declared.iter().map(|((sha256, _, _), list)| (sha256, list)).collect();
    for (sha256, list) in lists {
        sqlx::query(AssertSqlSafe(insert_into("declaration_lists (sha256, declarations)", 2, 1)))
            .bind(&sha256[..])
            .bind(&list.stored[..])
            .execute(&mut **tx)
            .await?;
    }
    let declared: Vec<_> = declared.into_keys().collect();
    for chunk in chunks(&declared) {
        let sql = insert_into("metric_declarations (list_sha256, server_id, epoch)", 3, chunk.len());
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (sha256, server, epoch) in chunk {
            query = query.bind(&sha256[..]).bind(server.to_string()).bind(epoch.cast_signed());
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

/// `INSERT INTO <target> VALUES (…), (…) ON CONFLICT DO NOTHING` with numbered places only.
fn insert_into(target: &str, columns: usize, rows: usize) -> String {
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
    sql.push_str(" ON CONFLICT DO NOTHING");
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

fn stored(row: &AnyRow) -> Result<StoredFrame> {
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
    async fn what_two_servers_declare_alike_is_stored_once_and_goes_with_the_last() {
        on_each(async |store: Store| {
            let series = Series { name: "up".into(), labels: BTreeMap::new(), scale: 0, kind: SeriesKind::Gauge };
            let list = Arc::new(Declarations::of([(1, series.clone())]));
            let servers = [server(&store).await, server(&store).await];
            let rows = servers.map(|(_, server)| FrameRow { declares: vec![list.clone()], ..frame(server, 1, 0) });
            store.insert_frames(&rows).await.expect("stored");
            let lists = async || {
                let rows = sqlx::query("SELECT sha256 FROM declaration_lists").fetch_all(store.read()).await;
                rows.expect("read").len()
            };
            assert_eq!(lists().await, 1);
            for (left, (org, server)) in [1, 0].into_iter().zip(servers) {
                assert_eq!(store.series_of(org, server, u64::MAX).await.expect("read"), [(1, series.clone())]);
                assert_eq!(store.delete_unused_series(server).await.expect("in use"), 0);
                store.delete_frames_before(server, 1000, 9).await.expect("deleted");
                assert_eq!(store.delete_unused_series(server).await.expect("online"), 0);
                sqlx::query("UPDATE servers SET agent_status = 'offline' WHERE id = $1")
                    .bind(server.to_string())
                    .execute(store.write())
                    .await
                    .expect("offline");
                assert_eq!(store.delete_unused_series(server).await.expect("deleted"), 1);
                assert_eq!(lists().await, left);
            }
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
    async fn retention_deletes_what_is_old_and_no_more_than_asked() {
        on_each(async |store: Store| {
            let (org, server) = server(&store).await;
            let frames: Vec<_> = (0..10).map(|seq| frame(server, seq, seq as i64 * 10)).collect();
            store.insert_frames(&frames).await.expect("stored");
            assert_eq!(store.servers_with_frames_before(50).await.expect("read"), [server]);
            assert_eq!(store.delete_frames_before(server, 50, 3).await.expect("deleted"), 3);
            assert_eq!(store.delete_frames_before(server, 50, 3).await.expect("deleted"), 2);
            assert!(store.servers_with_frames_before(50).await.expect("read").is_empty());
            let left = store.frames_between(org, server, (0, 1000), 99).await.expect("read");
            assert_eq!(left.first().map(|frame| frame.seq), Some(5));
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
