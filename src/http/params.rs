//! Query parameters and the fields of bodies: what does not fit is a problem that names it.

use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::web::Query;
use serde::de::DeserializeOwned;

use super::problem::{self, Problem};

/// All parameters are text here; `number` and `instant` name the one that does not fit.
pub(super) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    Query::<T>::from_query(request.query_string()).map(Query::into_inner).map_err(|error| {
        let text = error.to_string();
        let what = text.strip_prefix("Query deserialize error: ").unwrap_or(&text);
        invalid(what.to_owned())
    })
}

pub(super) fn invalid(what: impl Into<String>) -> Problem {
    Problem::new(&problem::INVALID_QUERY, what)
}

pub(super) fn number<T: FromStr>(name: &str, text: Option<&String>) -> Result<Option<T>, Problem> {
    let parse = |text: &String| {
        text.parse().map_err(|_| invalid(format!("{name} must be a whole number, not `{text}`")))
    };
    text.map(parse).transpose()
}

/// An RFC 3339 time as Unix milliseconds. In a query that was not encoded, the `+` of an offset arrives as a space.
pub(super) fn instant(name: &str, text: Option<&String>) -> Result<Option<i64>, Problem> {
    let parse = |text: &String| {
        chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
            .map(|time| time.timestamp_millis())
            .map_err(|_| invalid(format!("{name} must be a time such as 2026-01-31T08:00:00Z, not `{text}`")))
    };
    text.map(parse).transpose()
}

/// A number in the path; what is not one does not exist.
pub(super) fn seq(request: &HttpRequest, name: &str) -> Result<u64, Problem> {
    let text = request.match_info().get(name).unwrap_or_default();
    text.parse()
        .map_err(|_| Problem::new(&problem::NOT_FOUND, format!("`{text}` is not the number of an entry")))
}

pub(super) fn invalid_body(what: impl Into<String>) -> Problem {
    Problem::new(&problem::INVALID_BODY, what)
}

pub(super) fn json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| invalid_body(error.to_string()))
}
