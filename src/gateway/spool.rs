//! Request bodies are read whole before a call is admitted: its cost, its digest and the one retry need all of it.
//! Up to 64 KiB stay in memory, more goes to a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{BytesMut, Payload};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::wecom::client::RequestBody;

const MEMORY_MAX: usize = 64 * 1024;
const CHUNK: usize = 64 * 1024;
/// A client that sends nothing for this long has gone.
const IDLE: Duration = Duration::from_secs(30);
/// The whole of a body, however slowly it drips.
const WHOLE: Duration = Duration::from_mins(5);
/// How long a large body waits for its place.
const PLACE: Duration = Duration::from_secs(30);

/// A body that can be sent as often as needed.
#[derive(Debug, Clone)]
pub struct Spooled {
    pub len: u64,
    /// None for an empty body.
    pub sha256: Option<[u8; 32]>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Memory(Bytes),
    /// The place in the semaphore is given back with the last copy.
    File(Arc<File>, #[expect(dead_code, reason = "held for its drop")] Arc<OwnedSemaphorePermit>),
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error(
        "the request body is longer than {0} bytes, the most that this gateway takes (call.body_max_bytes)"
    )]
    TooLong(u64),
    #[error("the request body broke off or stopped: {0}")]
    Client(String),
    #[error("the request body could not be kept: {0}")]
    Disk(#[from] io::Error),
    #[error("too many large request bodies at the same time; try again in a moment")]
    Full,
}

/// Reads a body of at most `max` bytes, within a bounded time.
pub async fn spool(
    payload: Payload,
    declared: Option<u64>,
    max: u64,
    dir: &Path,
    large: &Arc<Semaphore>,
) -> Result<Spooled, SpoolError> {
    match tokio::time::timeout(WHOLE, read_all(payload, declared, max, dir, large)).await {
        Ok(spooled) => spooled,
        Err(_) => Err(SpoolError::Client(format!("it took longer than {} s", WHOLE.as_secs()))),
    }
}

/// A large one waits for a place in `large`, while its client waits for us.
async fn read_all(
    mut payload: Payload,
    declared: Option<u64>,
    max: u64,
    dir: &Path,
    large: &Arc<Semaphore>,
) -> Result<Spooled, SpoolError> {
    if declared.is_some_and(|declared| declared > max) {
        return Err(SpoolError::TooLong(max));
    }
    let mut memory = BytesMut::new();
    let mut file: Option<(tokio::fs::File, OwnedSemaphorePermit)> = None;
    let mut hash = Sha256::new();
    let mut len = 0_u64;
    while let Some(chunk) = next(&mut payload).await? {
        len += chunk.len() as u64;
        if len > max {
            return Err(SpoolError::TooLong(max));
        }
        hash.update(&chunk);
        match &mut file {
            Some((file, _)) => file.write_all(&chunk).await?,
            None if memory.len() + chunk.len() <= MEMORY_MAX => memory.extend_from_slice(&chunk),
            None => {
                let waiting = tokio::time::timeout(PLACE, Arc::clone(large).acquire_owned());
                let place = waiting.await.map_err(|_| SpoolError::Full)?.map_err(io::Error::other)?;
                let mut new = tokio::fs::File::from_std(tempfile::tempfile_in(dir)?);
                new.write_all(&memory).await?;
                new.write_all(&chunk).await?;
                memory = BytesMut::new();
                file = Some((new, place));
            }
        }
    }
    let content = match file {
        Some((mut file, place)) => {
            file.flush().await?;
            Content::File(Arc::new(file.into_std().await), Arc::new(place))
        }
        None => Content::Memory(memory.freeze()),
    };
    Ok(Spooled { len, sha256: (len > 0).then(|| hash.finalize().into()), content })
}

async fn next(payload: &mut Payload) -> Result<Option<Bytes>, SpoolError> {
    // What has arrived already needs no clock.
    let next = match payload.next().now_or_never() {
        Some(next) => next,
        None => Box::pin(tokio::time::timeout(IDLE, payload.next()))
            .await
            .map_err(|_| SpoolError::Client(format!("nothing came for {} s", IDLE.as_secs())))?,
    };
    next.transpose().map_err(|error| SpoolError::Client(error.to_string()))
}

impl Spooled {
    /// It takes one of the places that are for large ones.
    pub fn is_large(&self) -> bool {
        matches!(self.content, Content::File(..))
    }

    pub fn empty() -> Self {
        Self { len: 0, sha256: None, content: Content::Memory(Bytes::new()) }
    }

    /// A short one of our own.
    pub fn of(text: String) -> Self {
        let sha256 = (!text.is_empty()).then(|| Sha256::digest(&text).into());
        Self { len: text.len() as u64, sha256, content: Content::Memory(text.into()) }
    }

    /// The body, whole, if it has at most `max` bytes.
    pub async fn bytes(&self, max: usize) -> io::Result<Option<Bytes>> {
        match &self.content {
            _ if self.len > max as u64 => Ok(None),
            Content::Memory(bytes) => Ok(Some(bytes.clone())),
            Content::File(file, _) => {
                let (file, len) = (Arc::clone(file), self.len as usize);
                let read = tokio::task::spawn_blocking(move || {
                    let mut buffer = vec![0; len];
                    file.read_exact_at(&mut buffer, 0).map(|()| Bytes::from(buffer))
                });
                read.await.map_err(io::Error::other)?.map(Some)
            }
        }
    }

    /// The body, from its beginning.
    pub fn body(&self) -> RequestBody {
        match &self.content {
            Content::Memory(bytes) if bytes.is_empty() => RequestBody::Empty,
            Content::Memory(bytes) => RequestBody::Bytes(bytes.clone()),
            Content::File(file, _) => {
                let start = (Arc::clone(file), 0_u64, self.len);
                RequestBody::Stream { len: self.len, stream: stream::try_unfold(start, read).boxed() }
            }
        }
    }
}

type Position = (Arc<File>, u64, u64);

async fn read((file, at, len): Position) -> io::Result<Option<(Bytes, Position)>> {
    if at >= len {
        return Ok(None);
    }
    let want = CHUNK.min((len - at) as usize);
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; want];
        file.read_exact_at(&mut buffer, at).map(|()| (buffer, file))
    });
    let (buffer, file) = read.await.map_err(io::Error::other)??;
    Ok(Some((Bytes::from(buffer), (file, at + want as u64, len))))
}
