//! The JSON API of the web page.

use std::sync::{Arc, PoisonError};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use lookout_schema::{CameraId, Detection, SessionId, Size, SnapshotRecord, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    App,
    problem::{Problem, camera_id},
};
use crate::{page, shared::StateQuery, state::minute_of};

pub(super) async fn overview(State(app): State<App>) -> Response {
    let overview = Arc::clone(&app.shared.overview.borrow());
    Json(&*overview).into_response()
}

pub(super) async fn camera(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = camera_id(&id)?;
    let details = app.ask(|answer| StateQuery::Details(id.clone(), answer)).await?;
    details.map(|details| Json(details).into_response()).ok_or_else(|| no_camera(&id))
}

pub(super) fn no_camera(id: &CameraId) -> Problem {
    Problem::not_found(format!("unknown camera {id}: it has sent no records and is not in the registry"))
}

#[derive(Debug, Deserialize)]
pub(super) struct HistoryQuery {
    minutes: Option<u32>,
}

/// One week.
const MAX_MINUTES: u32 = 7 * 24 * 60;

pub(super) async fn history(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<HistoryQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let id = camera_id(&id)?;
    let Query(query) = query.map_err(|error| Problem::wrong(error.body_text()))?;
    let minutes = i64::from(query.minutes.unwrap_or(60).clamp(1, MAX_MINUTES));
    let now = minute_of(Timestamp::now());
    let bucket = app.ask(|answer| StateQuery::Bucket(id.clone(), answer)).await?;
    // With longer steps, the first step may start before the first requested minute.
    let mut rows = app.shared.store.history(id, now - 2 * minutes).await?;
    rows.extend(bucket);
    Ok(Json(page::history(&rows, now, minutes)).into_response())
}

#[derive(Serialize)]
struct Snapshot<'a> {
    seq: u64,
    session: SessionId,
    captured_at: Timestamp,
    source: Size,
    image: Size,
    detections: &'a [Detection],
}

fn latest_snapshot(app: &App, id: &CameraId) -> Result<Arc<SnapshotRecord>, Problem> {
    let snapshots = app.shared.snapshots.read().unwrap_or_else(PoisonError::into_inner);
    let what = || {
        Problem::not_found(format!(
            "no snapshot of camera {id} was received; add [snapshots] to the pipeline file of its worker"
        ))
    };
    snapshots.get(id).cloned().ok_or_else(what)
}

pub(super) async fn snapshot(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let record = latest_snapshot(&app, &camera_id(&id)?)?;
    let SnapshotRecord { seq, session, captured_at, source, image: size, .. } = *record;
    let snapshot =
        Snapshot { seq, session, captured_at, source, image: size, detections: &record.detections };
    Ok(Json(snapshot).into_response())
}

pub(super) async fn jpeg(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let record = latest_snapshot(&app, &camera_id(&id)?)?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "image/jpeg")], record.jpeg.clone()).into_response())
}
