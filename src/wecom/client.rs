//! Sends one request to WeCom and says honestly what became of it: answered, not sent, or unknown. The ledger settles
//! an entry by that, so "not sent" is claimed only where no byte of the request can have been written.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream,
    stream::{self, BoxStream},
};
use reqwest::{
    Client, Url,
    header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

pub use reqwest::{Method, StatusCode};

use super::{answer::Head, errmsg, path::ApiName};

pub const DEFAULT_BASE: &str = "https://qyapi.weixin.qq.com";

/// Shorter than the keep-alive of any server in use, since a connection that the peer closes at the moment of writing
/// costs an unknown outcome.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection pool to one host.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client,
    base: Url,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("the upstream must be an origin such as {DEFAULT_BASE}: {0}")]
    Base(&'static str),
    #[error("the HTTP client could not be set up (are CA certificates installed?): {0}")]
    Client(String),
}

/// One request. The query string holds the real credential, hence its type.
pub struct Request<'a> {
    pub method: Method,
    pub api: &'a ApiName,
    pub query: SecretString,
    pub headers: Vec<(&'a str, &'a [u8])>,
    pub body: RequestBody,
    pub timeouts: Timeouts,
}

/// A request body whose length is known, so that it is never sent chunked.
pub enum RequestBody {
    Empty,
    Bytes(Bytes),
    /// A stream that ends early or late breaks the request instead of being cut to fit.
    Stream {
        len: u64,
        stream: BoxStream<'static, io::Result<Bytes>>,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the start until the answer's head is there; includes sending the body.
    pub head: Duration,
    /// Between two pieces of the answer's body.
    pub idle: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("nothing was sent: {reason}")]
    NotSent { reason: String },
    #[error("the outcome is unknown: {reason}")]
    Unknown { reason: String, timed_out: bool },
}

/// An answer whose head was read.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: ResponseBody,
}

/// The body of an answer, piece by piece.
pub struct ResponseBody {
    /// `None` after a failure, so that a broken body can't be mistaken for one that ended.
    inner: Option<reqwest::Response>,
    idle: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the answer stopped for longer than {0:?}")]
    TimedOut(Duration),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl Upstream {
    /// `connect` bounds resolving, connecting and the TLS handshake: nothing is sent before they are done.
    pub fn new(base: &str, connect: Duration) -> Result<Self, UpstreamError> {
        let base = parse_base(base)?;
        super::tls::install();
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(connect)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            // Each attempt is an entry in the ledger, so none may happen behind its back.
            .retry(reqwest::retry::never());
        if base.scheme() == "http" {
            // The sandbox must also run where no CA certificates are installed.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| UpstreamError::Client(describe(error)))?;
        Ok(Self { client, base })
    }

    /// The host that is called, for people.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub async fn send(&self, request: Request<'_>) -> Result<Response, SendError> {
        let Timeouts { head, idle } = request.timeouts;
        let request = self.build(request)?;
        let response = match timeout(head, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(classify(error)),
            Err(_) => {
                let reason = format!("no answer within {head:?}");
                return Err(SendError::Unknown { reason, timed_out: true });
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Response { status, headers, body: ResponseBody { inner: Some(response), idle } })
    }

    fn build(&self, request: Request<'_>) -> Result<reqwest::Request, SendError> {
        let url = self.url(request.api, &request.query)?;
        let has_body = !matches!(request.method, Method::GET | Method::HEAD);
        let mut built = reqwest::Request::new(request.method, url);
        for (name, value) in request.headers {
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                return Err(not_sent("a header has a malformed name"));
            };
            let value = HeaderValue::from_bytes(value)
                .map_err(|_| not_sent(&format!("the header {header} has a malformed value")))?;
            built.headers_mut().append(header, value);
        }
        let length = match request.body {
            RequestBody::Empty => has_body.then_some(0),
            RequestBody::Bytes(bytes) => {
                let length = bytes.len() as u64;
                *built.body_mut() = Some(bytes.into());
                Some(length)
            }
            RequestBody::Stream { len, stream } => {
                *built.body_mut() = Some(reqwest::Body::wrap_stream(stream));
                Some(len)
            }
        };
        // Whatever a caller declared, the length is that of the body at hand.
        built.headers_mut().remove(CONTENT_LENGTH);
        if let Some(length) = length {
            built.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        Ok(built)
    }

    fn url(&self, api: &ApiName, query: &SecretString) -> Result<Url, SendError> {
        let query = query.expose_secret();
        // A URL parser would drop or reinterpret these, and what WeCom sees would not be what was admitted.
        if query.bytes().any(|b| b <= b' ' || b == b'#' || b == 0x7f) {
            return Err(not_sent(
                "the query string holds blanks, control characters or '#'; percent-encode them",
            ));
        }
        let mut url = self.base.clone();
        url.set_path(&api.path());
        url.set_query((!query.is_empty()).then_some(query));
        Ok(url)
    }
}

impl Response {
    /// What is needed to read the body's meaning.
    pub fn head(&self) -> Head<'_> {
        let text = |name| self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Head {
            status: self.status.as_u16(),
            content_type: text("content-type"),
            error_code: text("error-code"),
            attachment: self.headers.contains_key("content-disposition"),
        }
    }
}

impl ResponseBody {
    /// The next piece, or `None` at the end of a body that is whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Some(response) = &mut self.inner else {
            return Err(BodyError::Broken("it failed before".to_owned()));
        };
        let error = match timeout(self.idle, response.chunk()).await {
            Ok(Ok(chunk)) => return Ok(chunk),
            Ok(Err(error)) => BodyError::Broken(describe(error)),
            Err(_) => BodyError::TimedOut(self.idle),
        };
        self.inner = None;
        Err(error)
    }

    /// Reads the whole body, which must not be longer than `limit`.
    pub async fn read_all(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(BodyError::TooLong(limit));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// The pieces as a stream that ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
        stream::try_unfold(self, |mut body| async move { Ok(body.chunk().await?.map(|chunk| (chunk, body))) })
    }
}

fn parse_base(base: &str) -> Result<Url, UpstreamError> {
    let url = Url::parse(base).map_err(|_| UpstreamError::Base("that is not a URL"))?;
    let problem = if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        "use http or https and a host name"
    } else if !url.username().is_empty() || url.password().is_some() {
        "leave user name and password out"
    } else if url.path() != "/" {
        "leave the path out"
    } else if url.query().is_some() || url.fragment().is_some() {
        "leave '?' and '#' out"
    } else {
        return Ok(url);
    };
    Err(UpstreamError::Base(problem))
}

fn classify(error: reqwest::Error) -> SendError {
    // Building, resolving, connecting and the TLS handshake all come before the first byte of the request.
    let before_sending = error.is_builder() || error.is_connect();
    let timed_out = error.is_timeout();
    let reason = describe(error);
    if before_sending { SendError::NotSent { reason } } else { SendError::Unknown { reason, timed_out } }
}

fn not_sent(reason: &str) -> SendError {
    SendError::NotSent { reason: reason.to_owned() }
}

/// The error and its causes, without the URL: that holds the token.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    errmsg::redacted(&text)
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(super) mod tests;
