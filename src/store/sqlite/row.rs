//! A row as SQLite returns it.

use crate::ledger::row::DamagedRow;
use crate::ledger::{Kind, Row};

/// The columns of `entry`, in the types that SQLite has.
pub(super) struct Raw {
    pub seq: i64,
    pub kind: i64,
    pub tick: i64,
    pub at: i64,
    pub process: Option<i64>,
    pub corp: Option<i64>,
    pub app: Option<i64>,
    pub api: Option<i64>,
    pub api_key: Option<i64>,
    pub actor: Option<String>,
    pub pending_seq: Option<i64>,
    pub credential_seq: Option<i64>,
    pub cost: Option<i64>,
    pub errcode: Option<i64>,
    pub method: Option<String>,
    pub timeout_ms: Option<i64>,
    pub http_status: Option<i64>,
    pub latency_us: Option<i64>,
    pub request_bytes: Option<i64>,
    pub response_bytes: Option<i64>,
    pub request_sha256: Option<Vec<u8>>,
    pub detail: Option<String>,
}

impl TryFrom<Raw> for Row {
    type Error = DamagedRow;

    fn try_from(raw: Raw) -> Result<Self, DamagedRow> {
        let seq = raw.seq as u64;
        let damaged = |what: &str| DamagedRow { seq, kind: "unknown", what: what.to_owned() };
        let kind = Kind::from_code(raw.kind).ok_or_else(|| {
            damaged("its kind is not known to this version; was it written by a newer one?")
        })?;
        let request_sha256 = match raw.request_sha256 {
            None => None,
            Some(bytes) => Some(bytes.try_into().map_err(|_| damaged("request_sha256 is not 32 bytes"))?),
        };
        let unsigned = |value: Option<i64>| value.map(|value| value as u64);
        Ok(Self {
            seq,
            kind,
            tick: raw.tick,
            at: raw.at,
            process: unsigned(raw.process),
            corp: unsigned(raw.corp),
            app: unsigned(raw.app),
            api: unsigned(raw.api),
            api_key: unsigned(raw.api_key),
            actor: raw.actor,
            pending_seq: unsigned(raw.pending_seq),
            credential_seq: unsigned(raw.credential_seq),
            cost: unsigned(raw.cost),
            errcode: raw.errcode,
            method: raw.method,
            timeout_ms: raw.timeout_ms.map(|value| value as u32),
            http_status: raw.http_status.map(|value| value as u16),
            latency_us: unsigned(raw.latency_us),
            request_bytes: unsigned(raw.request_bytes),
            response_bytes: unsigned(raw.response_bytes),
            request_sha256,
            detail: raw.detail,
        })
    }
}
