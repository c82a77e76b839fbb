//! The canonical JSON line of an entry: fixed field order, integers only, a pure function of the row and of the
//! entries that it refers to.
//!
//! The common fields are always there (`null` where they do not apply), the others only where they have a value:
//! `seq, at, kind, corp_id, agent_id, api, api_key_id, pending_seq, cost, errcode, tick, process, actor, method,
//! credential_seq, timeout_ms, http_status, latency_us, request_bytes, response_bytes, request_sha256`, then the
//! members of the row's `detail`, in the order in which they were stored.

use std::fmt::Write as _;

use super::entry::{Seq, hex_bytes};
use super::row::Row;

/// Turns references into the names that people know.
pub trait Names {
    fn corp_id(&self, corp: Seq) -> Option<&str>;
    fn agent_id(&self, app: Seq) -> Option<&str>;
    fn api(&self, api: Seq) -> Option<&str>;
}

/// The line, without a line feed at its end.
pub fn line(row: &Row, names: &impl Names) -> String {
    let mut out = String::with_capacity(384);
    let _ =
        write!(out, "{{\"seq\":{},\"at\":\"{}\",\"kind\":\"{}\"", row.seq, instant(row.at), row.kind.name());
    text(&mut out, "corp_id", row.corp.and_then(|corp| names.corp_id(corp)));
    text(&mut out, "agent_id", row.app.and_then(|app| names.agent_id(app)));
    text(&mut out, "api", row.api.and_then(|api| names.api(api)));
    common(&mut out, "api_key_id", row.api_key);
    common(&mut out, "pending_seq", row.pending_seq);
    common(&mut out, "cost", row.cost);
    common(&mut out, "errcode", row.errcode);
    let _ = write!(out, ",\"tick\":{}", row.tick);
    number(&mut out, "process", row.process);
    if let Some(actor) = &row.actor {
        text(&mut out, "actor", Some(actor));
    }
    if let Some(method) = &row.method {
        text(&mut out, "method", Some(method));
    }
    number(&mut out, "credential_seq", row.credential_seq);
    number(&mut out, "timeout_ms", row.timeout_ms);
    number(&mut out, "http_status", row.http_status);
    number(&mut out, "latency_us", row.latency_us);
    number(&mut out, "request_bytes", row.request_bytes);
    number(&mut out, "response_bytes", row.response_bytes);
    if let Some(digest) = &row.request_sha256 {
        text(&mut out, "request_sha256", Some(&hex_bytes::encode(digest)));
    }
    if let Some(members) = row.detail.as_deref().and_then(|detail| detail.strip_prefix('{')) {
        out.push(',');
        out.push_str(members);
    } else {
        out.push('}');
    }
    out
}

/// RFC 3339 in UTC with milliseconds.
pub fn instant(unix_ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(unix_ms)
        .unwrap_or_default()
        .format("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

fn text(out: &mut String, name: &str, value: Option<&str>) {
    let value = value.map_or_else(|| "null".to_owned(), |value| serde_json::Value::from(value).to_string());
    let _ = write!(out, ",\"{name}\":{value}");
}

fn common<T: std::fmt::Display>(out: &mut String, name: &str, value: Option<T>) {
    match value {
        Some(value) => {
            let _ = write!(out, ",\"{name}\":{value}");
        }
        None => {
            let _ = write!(out, ",\"{name}\":null");
        }
    }
}

fn number<T: std::fmt::Display>(out: &mut String, name: &str, value: Option<T>) {
    if value.is_some() {
        common(out, name, value);
    }
}
