//! Query strings. The caller's credential comes out, the real one goes in, and every other byte stays as it was: what
//! a caller encoded in its own way must reach WeCom in that way.

use std::{borrow::Cow, fmt};

use secrecy::{ExposeSecret, SecretString};

/// The longest query string that is taken; WeCom's own are far shorter.
pub const MAX_LEN: usize = 16 * 1024;

/// The parameters that carry a credential of WeCom.
pub const CREDENTIAL_PARAMS: [&str; 3] = ["access_token", "suite_access_token", "provider_access_token"];

/// A query string without its credentials.
#[derive(Clone, Default)]
pub struct Query {
    /// The other pairs, byte for byte, in their order.
    rest: Vec<String>,
    credentials: Vec<Found>,
}

/// A credential that was taken out of a query string.
#[derive(Debug, Clone)]
pub struct Found {
    pub param: &'static str,
    pub value: SecretString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the query string is longer than {MAX_LEN} bytes; put the data into the body")]
    TooLong,
    #[error("debug mode is refused, since WeCom then allows 5 calls a minute; leave the parameter debug out")]
    Debug,
    #[error("separate parameters with '&'; a ';' before a credential or debug is refused")]
    Semicolon,
    #[error("the query string holds different values for one credential; send it once")]
    Conflict,
}

impl Query {
    /// Parses a raw query string, without its `?`.
    pub fn parse(raw: &str) -> Result<Self, QueryError> {
        if raw.len() > MAX_LEN {
            return Err(QueryError::TooLong);
        }
        let mut query = Self::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = split(pair);
            if let Some(param) = credential_param(&name) {
                let value = SecretString::from(decode(value).into_owned());
                query.credentials.push(Found { param, value });
                continue;
            }
            if is_debug(&name) && !matches!(decode(value).trim(), "" | "0") {
                return Err(QueryError::Debug);
            }
            if hides_a_parameter(pair) {
                return Err(QueryError::Semicolon);
            }
            query.rest.push(pair.to_owned());
        }
        Ok(query)
    }

    /// Every credential that was there, duplicates included.
    pub fn credentials(&self) -> &[Found] {
        &self.credentials
    }

    /// The one value of a credential parameter. Two that differ are an error: which of them counts would be a guess.
    pub fn credential(&self, param: &str) -> Result<Option<&SecretString>, QueryError> {
        let mut values =
            self.credentials.iter().filter(|found| found.param == param).map(|found| &found.value);
        let Some(first) = values.next() else { return Ok(None) };
        if values.all(|other| other.expose_secret() == first.expose_secret()) {
            Ok(Some(first))
        } else {
            Err(QueryError::Conflict)
        }
    }

    /// The decoded value of another parameter: the first one of that name.
    pub fn get(&self, name: &str) -> Option<String> {
        self.values(name).next()
    }

    /// The decoded values of all parameters of that name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = String> {
        let pairs = self.rest.iter().map(|pair| split(pair));
        pairs.filter(move |(found, _)| found == name).map(|(_, value)| decode(value).into_owned())
    }

    /// Whether anything but credentials was there.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The query string for WeCom, with the real credential in front.
    pub fn with_credential(&self, param: &str, value: &SecretString) -> SecretString {
        let mut out = format!("{param}={}", encode(value.expose_secret()));
        for pair in &self.rest {
            out.push('&');
            out.push_str(pair);
        }
        out.into()
    }

    /// The query string for an API whose credential is the caller's own (webhooks, hardware).
    pub fn without_credential(&self) -> SecretString {
        self.rest.join("&").into()
    }

    /// For logs: the names only, since any value may be a secret (`corpsecret`, a webhook's `key`).
    pub fn redact(&self) -> String {
        let credentials = self.credentials.iter().map(|found| Cow::Borrowed(found.param));
        let rest = self.rest.iter().map(|pair| split(pair).0);
        let names: Vec<String> = credentials.chain(rest).map(|name| printable(&name)).collect();
        names.join("&")
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({})", self.redact())
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

fn split(pair: &str) -> (Cow<'_, str>, &str) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (decode(name), value)
}

/// Decodes `%XX` as browsers do: a malformed escape stays as it is. `+` stays too, because no credential of WeCom
/// holds a space and SDKs send a bare `+`.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| hex_pair(bytes.get(at + 1..at + 3)?)).flatten();
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

/// Which credential a decoded name stands for. Letter case and blanks are overlooked: whether WeCom does so is
/// unknown, and a credential that slipped through would be used or logged in place of ours.
fn credential_param(name: &str) -> Option<&'static str> {
    let name = bare_name(name);
    CREDENTIAL_PARAMS.into_iter().find(|param| name.eq_ignore_ascii_case(param))
}

fn is_debug(name: &str) -> bool {
    bare_name(name).eq_ignore_ascii_case("debug")
}

fn bare_name(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// Some servers still take `;` for a separator, so that `a=1;access_token=x` would hold a second parameter.
fn hides_a_parameter(pair: &str) -> bool {
    pair.split(';')
        .skip(1)
        .map(|part| split(part).0)
        .any(|name| credential_param(&name).is_some() || is_debug(&name))
}

fn printable(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_control() || c == '&' { '?' } else { c }).collect()
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
