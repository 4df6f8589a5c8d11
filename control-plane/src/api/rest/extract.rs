//! What requests bring, parsed at the edge; what can't be parsed is a [`Problem`] that says where.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::{api::model::number::to_integer, error::Error};

/// Most entries of a page, and how many there are unless said.
pub const MAX_PAGE: u32 = 1000;
pub const DEFAULT_PAGE: u32 = 100;

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            let detail = "the body must be JSON: send `content-type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
        }
        let bytes = whole(request, state).await?;
        // serde would take a list for the values of the fields in their order, which no caller could rely on.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(Error::invalid("invalid_body", "the body must be a JSON object, not a list").into());
        }
        read(&bytes).map(Self).map_err(|error| explain(&error))
    }
}

/// A JSON body that may be left out or be `null`: then it says nothing.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(Request::from_parts(parts.clone(), body), state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        let Body(body) = Body::<Option<T>>::from_request(Request::from_parts(parts, bytes.into()), state).await?;
        Ok(Self(body.unwrap_or_default()))
    }
}

async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request body is too large")
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "incomplete", "the request body ended early"),
    })
}

/// Reads a JSON text. Where that fails, numbers such as `8.0` are taken for the whole numbers they are.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes).or_else(|error| {
        let whole = error.is_data().then(|| serde_json::from_slice::<Value>(bytes).ok()).flatten();
        whole.and_then(|value| serde_json::from_value(with_whole_numbers(value)).ok()).ok_or(error)
    })
}

fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().and_then(to_integer);
            whole.map_or(Value::Number(number), Value::from)
        }
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect(),
        other => other,
    }
}

/// Says what is wrong with a JSON text, where, and what was probably meant.
fn explain(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let place = format!("line {}, column {}", error.line(), error.column());
    let what = text.split(" at line ").next().unwrap_or_default();
    if !error.is_data() {
        return Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            format!("the body is not JSON: {what} at {place}"),
        );
    }
    let nearest = unknown_field(what).and_then(|(field, known)| nearest(field, &known));
    let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let what = what.split(", expected one of").next().unwrap_or_default();
    Error::invalid("invalid_body", format!("{what} at {place}{hint}")).into()
}

/// The field serde did not know, and those it knows, out of its message: it hands them out in no other way.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut names = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((names.next()?, names.collect()))
}

fn nearest<'a>(field: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|name| (strsim::damerau_levenshtein(field, name), *name));
    scored.filter(|(distance, _)| *distance <= 1 + field.len() / 4).min().map(|(_, name)| name)
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Error::invalid("invalid_query", rejection.body_text()).into()),
        }
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many to leave out at the start.
    #[param(default = 0)]
    pub skip: Option<u32>,
    /// How many at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl Page {
    /// The bounds, checked.
    ///
    /// # Errors
    /// A limit of 0 or above [`MAX_PAGE`].
    pub fn bounds(self) -> Result<(u32, u32), Error> {
        bounds(self.skip.unwrap_or(0), self.limit.unwrap_or(DEFAULT_PAGE))
    }
}

/// `skip` and `limit` as they are, where they are acceptable.
///
/// # Errors
/// A limit of 0 or above [`MAX_PAGE`].
pub fn bounds(skip: u32, limit: u32) -> Result<(u32, u32), Error> {
    if (1..=MAX_PAGE).contains(&limit) {
        Ok((skip, limit))
    } else {
        Err(Error::invalid("invalid_limit", format!("limit must be 1 to {MAX_PAGE}, not {limit}")))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::api::model::connection::VmPatch;

    fn explained(body: &str) -> (StatusCode, String) {
        let problem = explain(&serde_json::from_str::<VmPatch>(body).expect_err("refused"));
        let text = format!("{problem:?}");
        (problem.into_response().status(), text)
    }

    #[test]
    fn malformed_json_says_where() {
        let (status, text) = explained("{\n  \"name\": }");
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("line 2, column 11"), "{text}");
    }

    #[test]
    fn unknown_fields_are_refused_with_the_nearest_name() {
        let (status, text) = explained(r#"{"cpu_core": 8}"#);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(text.contains("unknown field `cpu_core`") && text.contains("did you mean `cpu_cores`?"), "{text}");
        let (_, text) = explained(r#"{"colour": 8}"#);
        assert!(!text.contains("did you mean"), "{text}");
    }

    #[test]
    fn a_wrong_type_is_no_syntax_error() {
        let (status, text) = explained(r#"{"ssh_port": "twenty-two"}"#);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(text.contains("expected u16"), "{text}");
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction() {
        let patch = read::<VmPatch>(br#"{"ssh_port": 22.0, "memory_gb": 7.5}"#).expect("accepted");
        assert_eq!((patch.ssh_port, patch.memory_gb), (Some(22), Some(7.5)));
        let error = read::<VmPatch>(br#"{"ssh_port": 22.5}"#).expect_err("no port");
        assert_eq!(error.column(), 17, "the place is told as it was read first");
    }

    #[test]
    fn pages_have_bounds() {
        assert_eq!(Page::default().bounds().ok(), Some((0, 100)));
        assert!(bounds(5, 1000).is_ok());
        assert!(bounds(0, 0).is_err());
        assert!(bounds(0, 1001).is_err());
    }
}
