//! Answers on their way to the client.

use actix_web::HttpResponse;
use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::StatusCode;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::admission::Wait;
use crate::quota::Reading;
use crate::wecom::headers;
use crate::wecom::reply::{self, Reply};

/// An answer that has no connection to either side's HTTP types.
pub struct Outgoing {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Body,
    /// The connection can't carry another request.
    pub close: bool,
}

pub enum Body {
    Whole(Bytes),
    Stream { len: Option<u64>, pieces: mpsc::Receiver<Result<Bytes, Interrupted>> },
}

/// Ends a transfer so that the client can see that it is not whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

impl Outgoing {
    /// An answer of our own: HTTP 200 and WeCom's shape.
    pub fn own(reply: &Reply) -> Self {
        Self {
            status: 200,
            headers: vec![
                ("content-type".to_owned(), reply::CONTENT_TYPE.as_bytes().to_vec()),
                ("error-code".to_owned(), reply.errcode.to_string().into_bytes()),
                ("cache-control".to_owned(), b"no-store".to_vec()),
            ],
            body: Body::Whole(Bytes::from(reply.to_json())),
            close: false,
        }
    }

    /// A success of our own, in WeCom's shape.
    pub fn json(body: &impl serde::Serialize) -> Self {
        let headers = vec![
            ("content-type".to_owned(), reply::CONTENT_TYPE.as_bytes().to_vec()),
            ("cache-control".to_owned(), b"no-store".to_vec()),
        ];
        let body = Body::Whole(Bytes::from(serde_json::to_vec(body).unwrap_or_default()));
        Self { status: 200, headers, body, close: false }
    }

    /// WeCom's answer with the headers that may pass.
    pub fn relayed<'a>(
        status: u16,
        upstream: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: Body,
    ) -> Self {
        let headers = headers::to_client(upstream)
            .into_iter()
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect();
        Self { status, headers, body, close: false }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// `RateLimit` and `RateLimit-Policy` of the limit that binds most.
    #[must_use]
    pub fn rate_limit(self, reading: Option<&Reading>, tick: i64) -> Self {
        let Some(reading) = reading else { return self };
        let [policy, state] = rate_limit_headers(reading, tick);
        self.header("ratelimit-policy", policy).header("ratelimit", state)
    }

    /// `Preference-Applied`, where a client's wish to wait was honoured.
    #[must_use]
    pub fn waited(self, wait: Option<Wait>) -> Self {
        match wait {
            Some(wait) => self.header("preference-applied", wait.applied()),
            None => self,
        }
    }

    pub fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = HttpResponse::build(status);
        for (name, value) in self.headers {
            response.append_header((name, value));
        }
        if self.close {
            response.force_close();
        }
        match self.body {
            Body::Whole(bytes) => response.body(bytes),
            Body::Stream { len, pieces } => {
                let pieces = stream::unfold(pieces, |mut pieces| async move {
                    pieces.recv().await.map(|piece| (piece, pieces))
                });
                match len {
                    Some(len) => response.body(SizedStream::new(len, Box::pin(pieces))),
                    None => response.body(BodyStream::new(Box::pin(pieces))),
                }
            }
        }
    }
}

/// `RateLimit-Policy` and `RateLimit`, as the IETF's httpapi draft writes them.
pub fn rate_limit_headers(reading: &Reading, tick: i64) -> [String; 2] {
    let Reading { limit, rule, cap, remaining, window, resets_at, .. } = reading;
    let length = window.longest_ms().map_or_else(String::new, |ms| format!(";w={}", ms / 1000));
    let of = if rule.is_of_limit() { String::new() } else { format!(";rule={}", rule.name()) };
    let reset = resets_at.map_or_else(String::new, |then| format!(";t={}", seconds_until(then, tick)));
    [format!("\"{limit}\";q={cap}{length}{of}"), format!("\"{limit}\";r={remaining}{reset}")]
}

/// Whole seconds, rounded up, so that waiting that long is enough.
pub fn seconds_until(then: i64, tick: i64) -> i64 {
    ((then - tick).max(0) + 999) / 1000
}
