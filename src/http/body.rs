//! Bodies. They are read when it is known who asks, whole, and within a bounded time: a request that is still being
//! read holds up a server that drains.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::{FutureExt as _, StreamExt as _};

use tokio::time::{Instant, timeout_at};

use super::params::invalid_body;
use super::problem::{self, Problem};

/// Most are a few short fields.
pub(super) const SHORT: usize = 64 * 1024;
/// A thousand calls, each to a few recipients; or an answer of WeCom's as it is.
pub(super) const LONG: usize = 1024 * 1024;

/// A client that sends nothing for this long has gone.
const IDLE: Duration = Duration::from_secs(30);
/// The whole of a body, however slowly it drips.
const WHOLE: Duration = Duration::from_mins(1);
const NOTHING_CAME: &str = "nothing came of the body for 30 s";
const TOO_LONG: &str = "the body took longer than 60 s";

/// A body of at most `max` bytes.
pub(super) async fn read(mut payload: Payload, max: usize) -> Result<Bytes, Problem> {
    let mut body = Body { bytes: BytesMut::new(), max };
    // Most bodies have arrived with their request, and need no clock.
    while let Some(next) = payload.next().now_or_never() {
        if body.is_whole_with(next)? {
            return Ok(body.bytes.freeze());
        }
    }
    body.rest(payload).await
}

struct Body {
    bytes: BytesMut,
    max: usize,
}

impl Body {
    async fn rest(mut self, mut payload: Payload) -> Result<Bytes, Problem> {
        let whole = Instant::now() + WHOLE;
        loop {
            let idle = Instant::now() + IDLE;
            let what = if whole < idle { TOO_LONG } else { NOTHING_CAME };
            let late = |_| Problem::new(&problem::REQUEST_TIMEOUT, what);
            let next = timeout_at(idle.min(whole), payload.next()).await.map_err(late)?;
            if self.is_whole_with(next)? {
                return Ok(self.bytes.freeze());
            }
        }
    }

    /// Whether that was its end.
    fn is_whole_with(&mut self, next: Option<Result<Bytes, PayloadError>>) -> Result<bool, Problem> {
        match next {
            Some(Ok(chunk)) if self.bytes.len() + chunk.len() <= self.max => {
                self.bytes.extend_from_slice(&chunk);
                Ok(false)
            }
            Some(Ok(_) | Err(PayloadError::Overflow)) => Err(too_large()),
            Some(Err(_)) => Err(invalid_body("the body could not be read to its end")),
            None => Ok(true),
        }
    }
}

pub(super) fn too_large() -> Problem {
    let what =
        "the body is larger than 64 KiB, or than 1 MiB where it lists calls or is an answer of WeCom's";
    Problem::new(&problem::BODY_TOO_LARGE, what)
}
