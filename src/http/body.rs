//! Bodies. They are read when it is known who asks, whole, and within a bounded time: a request that is still being
//! read holds up a server that drains.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;

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

/// A body of at most `max` bytes.
pub(super) async fn read(payload: Payload, max: usize) -> Result<Bytes, Problem> {
    let late = |_| invalid_body(format!("the body took longer than {} s", WHOLE.as_secs()));
    tokio::time::timeout(WHOLE, read_all(payload, max)).await.map_err(late)?
}

async fn read_all(mut payload: Payload, max: usize) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    loop {
        let idle = |_| invalid_body(format!("nothing came of the body for {} s", IDLE.as_secs()));
        match tokio::time::timeout(IDLE, payload.next()).await.map_err(idle)? {
            Some(Ok(chunk)) if body.len() + chunk.len() <= max => body.extend_from_slice(&chunk),
            Some(Ok(_) | Err(PayloadError::Overflow)) => return Err(too_large()),
            Some(Err(_)) => return Err(invalid_body("the body could not be read to its end")),
            None => return Ok(body.freeze()),
        }
    }
}

pub(super) fn too_large() -> Problem {
    let what =
        "the body is larger than 64 KiB, or than 1 MiB where it lists calls or is an answer of WeCom's";
    Problem::new(&problem::BODY_TOO_LARGE, what)
}
