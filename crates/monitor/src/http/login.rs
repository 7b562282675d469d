//! The login form, which works without a script.

use axum::{
    Extension, Form,
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    App, assets,
    auth::{Tried, now_s, too_many},
    client::Client,
    cookie,
};

#[derive(Debug, Deserialize)]
pub(super) struct Login {
    token: String,
    #[serde(default)]
    next: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    next: String,
    wrong: Option<String>,
}

pub(super) async fn page(State(app): State<App>, wish: Result<Query<Wish>, QueryRejection>) -> Response {
    let base = app.settings.base_path.as_str();
    if app.auth.token().is_none() {
        return Redirect::to(&format!("{base}/")).into_response();
    }
    let Query(wish) = wish.unwrap_or_default();
    assets::login(base, if is_path(&wish.next) { &wish.next } else { "/" }, wish.wrong.is_some())
        .into_response()
}

pub(super) async fn login(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    Form(form): Form<Login>,
) -> Response {
    let next = if is_path(&form.next) { form.next.as_str() } else { "/" };
    let base = app.settings.base_path.as_str();
    let to_next = Redirect::to(&format!("{base}{next}"));
    let Some(token) = app.auth.token() else { return to_next.into_response() };
    match app.auth.tries(&form.token, client.address) {
        Tried::Right => {
            let cookie = cookie::make(token, now_s(), client.is_secure);
            let set = cookie.map(|cookie| [(header::SET_COOKIE, cookie)]);
            (set, to_next).into_response()
        }
        Tried::Wrong => Redirect::to(&format!("{base}/login?wrong=1&next={next}")).into_response(),
        Tried::TooMany => too_many().into_response(),
    }
}

pub(super) async fn logout(State(app): State<App>) -> Response {
    let login = Redirect::to(&format!("{}/login", app.settings.base_path));
    ([(header::SET_COOKIE, cookie::ended())], login).into_response()
}

/// Returns whether `next` is a path of this server. `//host` is another server.
fn is_path(next: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    next.starts_with('/') && !next.starts_with("//") && next.len() <= 256 && next.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_redirects_to_local_paths_only() {
        for (next, stays) in [
            ("/", true),
            ("/cameras/north-gate", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("", false),
            ("/a\r\nset-cookie: x", false),
        ] {
            assert_eq!(is_path(next), stays, "{next:?}");
        }
    }
}
