//! What an answer says: its `errcode`, wherever WeCom put it.
//!
//! An answer can be a small JSON object, a large one of which only a prefix is at hand, or a file. Only the top-level
//! keys of an object are looked at; the rest is skipped without being built.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::errmsg::ErrMsg;

/// The parts of an answer's head that decide how its body is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    pub status: u16,
    pub content_type: Option<&'a str>,
    /// `error-code`, seen on some answers of WeCom but documented nowhere: a fallback only.
    pub error_code: Option<&'a str>,
    /// Whether there is a `content-disposition`. A file that a member uploaded may well be JSON with an `errcode` in
    /// it, and must not pass for WeCom's own word.
    pub attachment: bool,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `None` means that it isn't known, not that it is 0.
    pub errcode: Option<i64>,
    pub errmsg: String,
    pub hint: Option<String>,
    pub from_ip: Option<String>,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Json,
    Binary,
    /// Neither JSON nor a file: a proxy's error page, a broken body.
    Garbage,
}

/// Reads an answer. `complete` says whether `body` is all of it or only a prefix.
pub fn inspect(head: &Head<'_>, body: &[u8], complete: bool) -> Answer {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let header = head.error_code.and_then(|code| code.trim().parse().ok());
    let success = (200..300).contains(&head.status);
    match expected(head, body) {
        Expected::File if success => bare(Kind::Binary, header),
        Expected::File | Expected::Nothing => bare(Kind::Garbage, header),
        Expected::Json => match scan(body, complete) {
            Some(found) => from_json(&found, header, complete && success),
            None => bare(Kind::Garbage, header),
        },
    }
}

enum Expected {
    Json,
    File,
    Nothing,
}

fn expected(head: &Head<'_>, body: &[u8]) -> Expected {
    if head.attachment || head.status == 206 {
        return Expected::File;
    }
    let essence = head.content_type.and_then(|value| value.split(';').next()).unwrap_or("").trim();
    let essence = essence.to_ascii_lowercase();
    if matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json") {
        return Expected::Json;
    }
    // Several APIs send their JSON as text/plain or without a type.
    let untyped = essence.is_empty() || essence.starts_with("text/");
    if untyped && body.trim_ascii_start().starts_with(b"{") {
        return Expected::Json;
    }
    if essence == "text/html" || (essence.is_empty() && body.is_empty()) {
        return Expected::Nothing;
    }
    Expected::File
}

fn bare(kind: Kind, errcode: Option<i64>) -> Answer {
    Answer { errcode, errmsg: String::new(), hint: None, from_ip: None, kind }
}

fn from_json(found: &Found, header: Option<i64>, whole_success: bool) -> Answer {
    if found.unreadable {
        // There is an errcode, but not one that we understand: that is not a success.
        return bare(Kind::Garbage, header);
    }
    let ErrMsg { text, hint, from_ip } = ErrMsg::parse(&found.errmsg);
    // Some APIs send errcode on failure only, so its absence from a whole answer means success.
    let errcode = found.errcode.or(header).or(whole_success.then_some(0));
    Answer { errcode, errmsg: text, hint, from_ip, kind: Kind::Json }
}

/// The two keys that we look for.
#[derive(Debug, Default)]
struct Found {
    errcode: Option<i64>,
    errmsg: String,
    unreadable: bool,
}

/// Reads the top level of a document as far as it goes. `None`: that is no JSON.
fn scan(body: &[u8], complete: bool) -> Option<Found> {
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let end = json.deserialize_any(TopLevel(&mut found)).and_then(|()| json.end());
    match end {
        Ok(()) => Some(found),
        // What was found before the cut still holds.
        Err(error) if error.is_eof() && !complete => Some(found),
        Err(_) => None,
    }
}

struct TopLevel<'f>(&'f mut Found);

impl<'de> Visitor<'de> for TopLevel<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object or array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut key: Option<Key> = map.next_key()?;
        while let Some(current) = key {
            let value = match current {
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    Scalar::Null
                }
                Key::ErrCode | Key::ErrMsg => map.next_value_seed(ScalarSeed)?,
            };
            // Only the next key (or the end) proves that a number was not cut off in its middle.
            key = map.next_key()?;
            match current {
                Key::ErrCode => self.0.take_errcode(&value),
                Key::ErrMsg => self.0.take_errmsg(value),
                Key::Other => {}
            }
        }
        Ok(())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

impl Found {
    fn take_errcode(&mut self, value: &Scalar) {
        let code = match value {
            Scalar::Null => return,
            Scalar::Number(number) => Some(*number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Other => None,
        };
        self.unreadable |= code.is_none();
        self.errcode = code;
    }

    fn take_errmsg(&mut self, value: Scalar) {
        if let Scalar::Text(text) = value {
            self.errmsg = text;
        }
    }
}

enum Key {
    ErrCode,
    ErrMsg,
    Other,
}

impl<'de> de::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Ok(match name.as_ref() {
            "errcode" => Self::ErrCode,
            "errmsg" => Self::ErrMsg,
            _ => Self::Other,
        })
    }
}

enum Scalar {
    Null,
    Number(i64),
    Text(String),
    Other,
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(value).map_or(Scalar::Other, Scalar::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
