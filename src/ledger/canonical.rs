//! The canonical JSON line of an entry: fixed field order, integers only, a pure function of the row and of the
//! entries that it refers to.
//!
//! The common fields are always there (`null` where they do not apply), the others only where they have a value:
//! `seq, at, kind, corp_id, agent_id, api, api_key_id, pending_seq, cost, errcode, tick, process, actor, method,
//! credential_seq, timeout_ms, http_status, latency_us, request_bytes, response_bytes, request_sha256`, then the
//! members of the row's `detail`, in the order in which they were stored.

use std::fmt::Write as _;

use chrono::{Datelike as _, Timelike as _};

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
    let time = chrono::DateTime::from_timestamp_millis(unix_ms).unwrap_or_default().naive_utc();
    let Ok(year @ 0..=9999) = u32::try_from(time.year()) else {
        return time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    };
    // A format that is read anew for each call costs as much as judging it.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let millis = time.and_utc().timestamp_subsec_millis();
    let parts = [
        (0..4, year),
        (5..7, time.month()),
        (8..10, time.day()),
        (11..13, time.hour()),
        (14..16, time.minute()),
        (17..19, time.second()),
        (20..23, millis),
    ];
    for (place, mut value) in parts {
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
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

#[cfg(test)]
mod tests {
    use super::instant;

    #[test]
    fn an_instant_is_rfc_3339_in_utc_with_milliseconds() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_164_799_007, "2024-02-28T23:59:59.007Z"),
            (1_798_761_600_120, "2027-01-01T00:00:00.120Z"),
        ] {
            assert_eq!(instant(unix_ms), text);
        }
    }

    #[test]
    fn instants_are_written_as_chrono_writes_them() {
        let steps = (-62_167_219_200_000_i64..253_402_300_800_000).step_by(86_399_999_983);
        for unix_ms in steps.chain([i64::MIN, i64::MAX, -62_167_219_200_001, 253_402_300_800_000]) {
            let time = chrono::DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
            let expected = time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            assert_eq!(instant(unix_ms), expected);
        }
    }
}
