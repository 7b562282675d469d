//! HTTP servers with limits: the accept loop of all servers, and the small server behind `/healthz`, `/readyz` and
//! `/metrics`.
//!
//! `worker`, `adas` and `monitor` share this crate for the limits of [`serve_connections`], which `axum::serve` does not
//! have: the number of connections in total and per client network, and the time until a request is complete.

mod connections;
mod pages;

pub use connections::{Limits, network, serve_connections};
pub use pages::{Page, bind, serve};
