//! `/` and `/assets/…`: the dashboard, embedded into the binary as `npm run build` left it in `dashboard/dist`.
//!
//! Each file stands there up to three times, as it is and compressed (`.br`, `.gz`); a browser gets the smallest it
//! takes. Assets carry a hash of their content in their name, so they may be kept for ever; the page names them, so it
//! is asked for each time. Its policy lets a browser load nothing from elsewhere and run nothing inline, and lets no
//! text become markup but through the one door that the framework's own templates use.

use std::borrow::Cow;

use axum::{
    extract::Path,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;
use crate::error::Error;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types svelte-trusted-html";
const PAGE: &str = "index.html";
/// What is shown where the binary was built without the dashboard.
const MISSING: &str = include_str!("dashboard/missing.html");

// The derived code keeps the folder's path in a cell, in builds that read from the disk.
#[allow(clippy::disallowed_types)]
mod files {
    use rust_embed::RustEmbed;

    #[derive(RustEmbed)]
    #[folder = "dashboard/dist"]
    pub(super) struct Files;
}
use files::Files;

/// The dashboard.
#[utoipa::path(get, path = "/", tag = "control plane", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html", example = "<!doctype html>")))]
pub async fn dashboard_page(headers: HeaderMap) -> Response {
    let page = embedded(PAGE, &headers, "no-cache");
    page.unwrap_or_else(|| respond(PAGE, Bytes::from_static(MISSING.as_bytes()), None, "no-cache"))
}

/// The dashboard, where signing in through an OpenID provider goes on.
#[utoipa::path(get, path = "/sign-in", tag = "control plane", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html", example = "<!doctype html>")))]
pub async fn dashboard_sign_in(headers: HeaderMap) -> Response {
    dashboard_page(headers).await
}

/// The dashboard on a server's page: what a link that lets its reader look leads to.
#[utoipa::path(get, path = "/servers/{id}", tag = "control plane",
    params(("id" = String, Path, description = "A server's id")), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html", example = "<!doctype html>")))]
pub async fn dashboard_server(headers: HeaderMap) -> Response {
    dashboard_page(headers).await
}

/// A script, style or picture of the dashboard.
#[utoipa::path(get, path = "/assets/{file}", tag = "control plane",
    params(("file" = String, Path, description = "A name that the page gave")), responses(
        (status = 200, description = "The file", body = String, content_type = "text/javascript", example = "\"use strict\";"),
        (status = 404, description = "This version of the dashboard has no such file")))]
pub async fn dashboard_asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    // One name, no way to another folder.
    let is_name = !file.is_empty() && !file.contains(['/', '\\']) && !file.starts_with('.');
    let path = is_name.then(|| format!("assets/{file}"));
    let found = path.and_then(|path| embedded(&path, &headers, "public, max-age=31536000, immutable"));
    found.ok_or_else(|| Error::not_found("file").into())
}

/// The smallest form of a file that the caller takes.
fn embedded(path: &str, headers: &HeaderMap, keep: &'static str) -> Option<Response> {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forms = [(Some("br"), ".br"), (Some("gzip"), ".gz"), (None, "")];
    let (encoding, file) = forms
        .into_iter()
        .filter(|(encoding, _)| encoding.is_none_or(|encoding| accepts(accepted, encoding)))
        .find_map(|(encoding, ending)| Some((encoding, Files::get(&format!("{path}{ending}"))?)))?;
    let bytes = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Some(respond(path, bytes, encoding, keep))
}

/// Whether `accept-encoding` names `encoding` and does not refuse it.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = words.filter_map(|word| word.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0f32));
        named && !refused
    })
}

fn respond(path: &str, bytes: Bytes, encoding: Option<&'static str>, keep: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind(path)),
        (header::CACHE_CONTROL, keep),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (http::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let mut response = (headers, bytes).into_response();
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_used_only_where_it_is_taken() {
        assert!(accepts("gzip, deflate, br", "br") && accepts("BR;q=0.5", "br"));
        assert!(!accepts("gzip, deflate", "br") && !accepts("br;q=0, gzip", "br") && !accepts("", "gzip"));
    }

    #[test]
    fn the_policy_allows_nothing_inline_and_nothing_from_elsewhere() {
        assert!(POLICY.starts_with("default-src 'none'") && !POLICY.contains("unsafe") && !POLICY.contains("http"));
    }

    #[tokio::test]
    async fn without_the_dashboard_the_page_says_how_to_build_it() {
        assert!(MISSING.contains("packaging/build") && !MISSING.contains("<script") && !MISSING.contains("style="));
        let page = dashboard_page(HeaderMap::new()).await;
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        for file in ["no-such.js", "../index.html", ""] {
            assert!(dashboard_asset(Path(file.to_owned()), HeaderMap::new()).await.is_err(), "{file}");
        }
    }
}
