//! Per-minute history of the cameras.

use lookout_schema::CameraId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::Store;
use crate::{error::StoreError, state::Bucket};

/// One minute of a camera.
pub(crate) type HistoryRow = Bucket;

impl Store {
    /// Returns the minutes of a camera, from `from_minute` on.
    pub(crate) async fn history(
        &self,
        camera: CameraId,
        from_minute: i64,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT minute, frames, age_ms_sum, aged, dropped, labels FROM history
                 WHERE camera = (SELECT num FROM cameras WHERE id = ?1) AND minute >= ?2 ORDER BY minute",
            )?;
            let rows = query.query_map(params![camera.as_str(), from_minute], |row| {
                let bucket = Bucket {
                    minute: row.get(0)?,
                    frames: count(row.get(1)?),
                    age_ms_sum: row.get(2)?,
                    aged: count(row.get(3)?),
                    dropped: count(row.get(4)?),
                    labels: Default::default(),
                };
                Ok((bucket, row.get::<_, String>(5)?))
            })?;
            let mut minutes = Vec::new();
            for row in rows {
                let (bucket, labels) = row?;
                minutes.push(Bucket { labels: serde_json::from_str(&labels)?, ..bucket });
            }
            Ok(minutes)
        })
        .await
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Adds the counts of a minute to those that are already stored for it.
pub(super) fn add(
    transaction: &Transaction<'_>,
    camera: &CameraId,
    bucket: &Bucket,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached("INSERT INTO cameras (id) VALUES (?1) ON CONFLICT (id) DO NOTHING")?
        .execute([camera.as_str()])?;
    let num: i64 = transaction
        .prepare_cached("SELECT num FROM cameras WHERE id = ?1")?
        .query_row([camera.as_str()], |row| row.get(0))?;
    let mut bucket = bucket.clone();
    let mut known = transaction.prepare_cached(
        "SELECT frames, age_ms_sum, aged, dropped, labels FROM history WHERE camera = ?1 AND minute = ?2",
    )?;
    let known = known
        .query_row(params![num, bucket.minute], |row| {
            let known = Bucket {
                minute: 0,
                frames: count(row.get(0)?),
                age_ms_sum: row.get(1)?,
                aged: count(row.get(2)?),
                dropped: count(row.get(3)?),
                labels: Default::default(),
            };
            Ok((known, row.get::<_, String>(4)?))
        })
        .optional()?;
    if let Some((known, labels)) = known {
        bucket.merge(&Bucket { labels: serde_json::from_str(&labels)?, ..known });
    }
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO history (camera, minute, frames, age_ms_sum, aged, dropped, labels)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            num,
            bucket.minute,
            number(bucket.frames),
            bucket.age_ms_sum,
            number(bucket.aged),
            number(bucket.dropped),
            serde_json::to_string(&bucket.labels)?,
        ])?;
    Ok(())
}
