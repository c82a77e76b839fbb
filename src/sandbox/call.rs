//! One request as it arrived.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::header::{CONTENT_TYPE, RANGE};
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// WeCom's largest upload is 20 MB; the rest is room for what multipart adds.
const MAX_BODY: usize = 24 << 20;
/// What is recorded of the request ids; they come from the caller and have no bound of their own.
const MAX_REQUEST_IDS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyState {
    Complete,
    /// The connection broke before the end: nobody will read the answer, but the call did arrive.
    Broken,
    TooLarge,
}

#[derive(Debug)]
pub(super) struct Call {
    /// The path without `/cgi-bin/`.
    pub api: String,
    pub method: String,
    pub query: Vec<(String, String)>,
    pub ip: IpAddr,
    pub content_type: String,
    pub range: Option<String>,
    pub body: Bytes,
    pub body_state: BodyState,
    pub body_sha256: [u8; 32],
    /// The body, where it is JSON.
    pub json: Option<Value>,
    /// The values of `x-request-id`, separated by commas.
    pub request_id: Option<Box<str>>,
}

impl Call {
    pub(super) async fn read(request: &HttpRequest, payload: web::Payload) -> Self {
        let (body, body_state) = read_body(payload).await;
        let body_sha256 = Sha256::digest(&body).into();
        let content_type = header(request, &CONTENT_TYPE).unwrap_or_default();
        let json = if body.is_empty() || content_type.starts_with("multipart/") {
            None
        } else {
            serde_json::from_slice(&body).ok()
        };
        Self {
            api: request.path().strip_prefix("/cgi-bin/").unwrap_or_default().to_owned(),
            method: request.method().as_str().to_owned(),
            query: url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect(),
            // The peer's address alone: a header that names another one is not trusted.
            ip: request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip()),
            content_type,
            range: header(request, &RANGE),
            body,
            body_state,
            body_sha256,
            json,
            request_id: request_ids(request),
        }
    }

    /// The first value of a query parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same, where an empty value counts as missing.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.param(name).filter(|value| !value.is_empty())
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == "POST"
    }

    /// The names of the query parameters; never their values, which may be secrets.
    pub(super) fn query_names(&self) -> String {
        self.query.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
    }
}

fn header(request: &HttpRequest, name: &actix_web::http::header::HeaderName) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn request_ids(request: &HttpRequest) -> Option<Box<str>> {
    let values: Vec<_> = request.headers().get_all("x-request-id").filter_map(|v| v.to_str().ok()).collect();
    if values.is_empty() {
        return None;
    }
    let mut text = values.join(",");
    text.truncate(MAX_REQUEST_IDS); // header values that `to_str` accepts are ASCII
    Some(text.into())
}

async fn read_body(mut payload: web::Payload) -> (Bytes, BodyState) {
    let mut chunks = Vec::new();
    let mut size = 0;
    let mut state = BodyState::Complete;
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            state = BodyState::Broken;
            break;
        };
        size += chunk.len();
        if size > MAX_BODY {
            state = BodyState::TooLarge;
            break;
        }
        chunks.push(chunk);
    }
    // Nearly every body is one chunk, which then need not be copied.
    let body = if chunks.len() == 1 { chunks.swap_remove(0) } else { chunks.concat().into() };
    (body, state)
}
