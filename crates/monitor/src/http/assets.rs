//! The files of the web page, compiled into the program.

use std::sync::LazyLock;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{App, problem::Problem};

/// A file of `assets/`.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("../../assets/", $name)) }
    };
}

const SHELL: &str = include_str!("../../assets/index.html");
const LOGIN: &str = include_str!("../../assets/login.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All files of `assets/` except the two pages; a test checks that none is missing.
const ASSETS: &[Asset] = &[
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("alerts.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("camera.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("fleet.js", SCRIPT),
    asset!("picture.js", SCRIPT),
    asset!("plot.js", SCRIPT),
    asset!("wall.js", SCRIPT),
    asset!("words.js", SCRIPT),
    asset!("zones.js", SCRIPT),
    asset!("icon.svg", "image/svg+xml"),
];

/// Entity tags, so that a browser does not download a file that it already has.
static ETAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ASSETS.iter().map(|asset| format!("\"{}\"", &hex::encode(Sha256::digest(asset.bytes))[..32])).collect()
});

pub(super) async fn shell(State(app): State<App>) -> Html<String> {
    Html(SHELL.replace("{{base}}", &app.settings.base_path))
}

/// Returns the login form. `next` is the page after the login; it holds path characters only, so it needs no
/// escaping.
pub(super) fn login(base: &str, next: &str, wrong: bool) -> Html<String> {
    let message = if wrong { "Wrong token." } else { "" };
    Html(LOGIN.replace("{{base}}", base).replace("{{next}}", next).replace("{{wrong}}", message))
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

pub(super) async fn icon(headers: HeaderMap) -> Response {
    serve("icon.svg", &headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some((asset, etag)) = ASSETS.iter().zip(ETAGS.iter()).find(|(asset, _)| asset.name == name) else {
        return Problem::not_found("file not found").into_response();
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|known| known.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response()
    };
    let headers = response.headers_mut();
    // Another version of the program serves other files under the same names.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.extend(HeaderValue::from_str(etag).ok().map(|etag| (header::ETAG, etag)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_every_file_of_the_assets_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = ["index.html", "login.html"].contains(&name.as_str())
                || ASSETS.iter().any(|a| a.name == name);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn pages_contain_no_inline_script_or_style() {
        for page in [SHELL, LOGIN] {
            let lower = page.to_lowercase();
            assert!(!lower.contains("<style") && !lower.contains(" style=") && !lower.contains(" onclick="));
            assert!(
                lower
                    .split("<script")
                    .skip(1)
                    .all(|rest| rest.starts_with(" src=") || rest.contains(" src="))
            );
        }
    }
}
