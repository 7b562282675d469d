//! The list of alerts and their acknowledgment.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use lookout_schema::{AlertLevel, MAX_NAME, Timestamp};
use serde::Deserialize;

use super::{
    App,
    problem::{Body, Problem},
};
use crate::store::{Acknowledged, AlertFilter};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Open,
    All,
}

#[derive(Debug, Deserialize)]
pub(super) struct AlertsQuery {
    state: Option<Which>,
    acknowledged: Option<bool>,
    camera: Option<String>,
    rule: Option<String>,
    level: Option<AlertLevel>,
    before: Option<Timestamp>,
    limit: Option<usize>,
}

const LIMIT: usize = 100;
const DEAD_LETTERS_LIMIT: i64 = 100;
const MAX_LIMIT: usize = 1_000;
/// The maximum length of the user's name and of the note, in bytes.
const MAX_NOTE: usize = 1_024;

pub(super) async fn list(
    State(app): State<App>,
    query: Result<Query<AlertsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::wrong(error.body_text()))?;
    // A form sends empty strings for fields that are not set.
    let filter = AlertFilter {
        open: matches!(query.state, Some(Which::Open)),
        acknowledged: query.acknowledged,
        camera: query.camera.filter(|text| !text.is_empty()),
        rule: query.rule.filter(|text| !text.is_empty()),
        level: query.level,
        before: query.before,
        limit: query.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT),
    };
    Ok(Json(app.shared.store.alerts(filter).await?).into_response())
}

/// Returns the newest alerts that webhooks did not accept.
pub(super) async fn dead_letters(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.shared.store.dead_letters(DEAD_LETTERS_LIMIT).await?).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct Acknowledge {
    id: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    note: String,
}

pub(super) async fn acknowledge(
    State(app): State<App>,
    Body(asked): Body<Acknowledge>,
) -> Result<Response, Problem> {
    if asked.id.len() > MAX_NAME || asked.by.len() > MAX_NOTE || asked.note.len() > MAX_NOTE {
        return Err(Problem::wrong(format!(
            "`id` is longer than {MAX_NAME} bytes, or `by` or `note` is longer than {MAX_NOTE} bytes"
        )));
    }
    let by = Acknowledged { at: Timestamp::now(), by: asked.by, note: asked.note };
    let Some(alert) = app.shared.store.acknowledge(asked.id, by).await? else {
        return Err(Problem::not_found(
            "no alert has this id; it may have been deleted after `retention_days`",
        ));
    };
    app.shared.acknowledged.notify_one();
    app.shared.send_event("alert", &alert);
    Ok(Json(alert).into_response())
}
