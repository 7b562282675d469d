//! `/healthz` and `/metrics`.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{App, problem::Problem};

pub(super) async fn health(State(app): State<App>) -> Response {
    match app.shared.trouble() {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    match app.shared.metrics.scrape() {
        Ok(page) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
                .into_response()
        }
        Err(error) => Problem::not_ready(Some(error.to_string())).into_response(),
    }
}
