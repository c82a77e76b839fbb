//! A request that may come again: under which key of the client, and what it was told the first time.

use serde::{Deserialize, Serialize};

/// Sixteen bytes of a digest.
pub type ShortDigest = [u8; 16];

/// Whoever sends the same key with the same request again is told the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// Digest of the client's `Idempotency-Key`, which may say more than is ours to keep.
    #[serde(with = "hex16")]
    pub key: ShortDigest,
    /// Digest of the request as a whole.
    #[serde(with = "hex16")]
    pub request: ShortDigest,
    /// Which of the request's calls this is.
    pub part: u16,
}

/// The limit with the least share left, as the client was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub limit: String,
    pub used: u64,
    pub cap: u64,
    pub remaining: u64,
}

mod hex16 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ledger::entry::hex_bytes;

    pub fn serialize<S: Serializer>(bytes: &[u8; 16], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex_bytes::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(d)?;
        hex_bytes::decode(&text).ok_or_else(|| D::Error::custom("expected 32 hex digits"))
    }
}
