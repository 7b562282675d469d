//! Error responses: `{"error": "..."}`, with what to do.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lookout_schema::CameraId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::StoreError;

/// An error response.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: Value,
}

impl Problem {
    pub(super) fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, body: json!({ "error": what.into() }) }
    }

    /// Adds a field to the response body.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(body) = &mut self.body {
            body.insert(key.into(), value.into());
        }
        self
    }

    pub(super) fn wrong(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what)
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    pub(super) fn not_ready(why: Option<String>) -> Self {
        let why = why.unwrap_or_else(|| "the monitor is busy".into());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; try again in a moment"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::not_ready(Some(error.to_string()))
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(body)| Self(body)).map_err(|rejection: JsonRejection| {
            let status = match rejection.status() {
                StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::BAD_REQUEST,
                status => status,
            };
            Problem::new(status, rejection.body_text())
        })
    }
}

/// Parses the camera id of a path.
pub(super) fn camera_id(text: &str) -> Result<CameraId, Problem> {
    text.parse().map_err(|error: lookout_schema::InvalidId| Problem::wrong(error.to_string()))
}
