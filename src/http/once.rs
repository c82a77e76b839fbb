//! `Idempotency-Key`: a request that comes again is told what it was told before.
//!
//! Keys and requests leave here as digests: what a client writes into a key may be no business of the ledger.

use actix_web::HttpRequest;
use sha2::{Digest as _, Sha256};

use crate::ledger::entry::{Once, ShortDigest};

use super::problem::{self, Problem};

const KEY: &str = "idempotency-key";
const KEY_MAX: usize = 255;
/// Says that the answer is that of an earlier request.
pub(super) const REPLAYED: &str = "idempotent-replayed";

/// The digest of the key, if one was sent.
pub(super) fn key(request: &HttpRequest) -> Result<Option<ShortDigest>, Problem> {
    let mut given = request.headers().get_all(KEY);
    let Some(first) = given.next() else { return Ok(None) };
    let key = first.as_bytes();
    let printable = key.iter().all(|byte| (b' '..=b'~').contains(byte));
    if given.next().is_some() || !(1..=KEY_MAX).contains(&key.len()) || !printable {
        let what = format!("Idempotency-Key must be one key of 1 to {KEY_MAX} printable ASCII characters");
        return Err(Problem::new(&problem::INVALID_HEADER, what));
    }
    Ok(Some(short(key)))
}

pub(super) fn of(key: ShortDigest, body: &[u8], part: u16) -> Once {
    Once { key, request: short(body), part }
}

fn short(bytes: &[u8]) -> ShortDigest {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let (short, _) = digest.as_chunks::<16>();
    short.first().copied().unwrap_or_default()
}
