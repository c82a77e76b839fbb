//! Profiles as they are written: TOML, with the line of whatever is wrong.

use std::ops::Range;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::super::apis::Apis;
use super::super::limit::{Cap, Dimension, Limit, Mode, Scope, Unit};
use super::{DEFAULT_ZONE_MINUTES, Operator, Profile};

/// A longer text is taken for a mistake.
const MAX_BYTES: usize = 1024 * 1024;

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TextError {
    pub line: usize,
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    name: Spanned<String>,
    zone_offset_minutes: Option<Spanned<i32>>,
    #[serde(default)]
    limit: Vec<Spanned<RawLimit>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimit {
    name: Spanned<String>,
    apis: Spanned<Value>,
    except: Option<Spanned<Value>>,
    free_if_ok: Option<Spanned<Value>>,
    scope: Spanned<Vec<Dimension>>,
    unit: Spanned<Unit>,
    window: Spanned<String>,
    cap: Spanned<Value>,
    #[serde(default = "enforce")]
    mode: Mode,
    operator: Option<Operator>,
    source: Spanned<String>,
    note: Option<String>,
}

fn enforce() -> Mode {
    Mode::Enforce
}

pub(super) fn parse(text: &str) -> Result<Profile, TextError> {
    let at = |span: Range<usize>, reason: String| TextError { line: line_of(text, span.start), reason };
    if text.len() > MAX_BYTES {
        return Err(at(0..0, format!("a profile has at most {MAX_BYTES} bytes")));
    }
    let raw: RawProfile = toml::from_str(text).map_err(|error| {
        // The parser shows several lines of context after the first.
        let reason = error.message().lines().next().unwrap_or_default().to_owned();
        at(error.span().unwrap_or(0..0), reason)
    })?;
    let limits = raw.limit.iter().map(|raw| raw.get_ref().limit().map_err(|(span, reason)| at(span, reason)));
    let profile = Profile {
        name: raw.name.get_ref().clone(),
        zone_offset_minutes: raw
            .zone_offset_minutes
            .as_ref()
            .map_or(DEFAULT_ZONE_MINUTES, |zone| *zone.get_ref()),
        limits: limits.collect::<Result<_, _>>()?,
    };
    match profile.fault_for_any_operator() {
        None => Ok(profile),
        Some(fault) => {
            let limit = fault.limit.and_then(|i| raw.limit.get(i));
            let span =
                limit.map_or_else(|| raw.span_of(fault.field), |limit| limit.get_ref().span_of(fault.field));
            Err(at(span.unwrap_or(0..0), fault.error.to_string()))
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

type Wrong = (Range<usize>, String);

impl RawProfile {
    fn span_of(&self, field: &str) -> Option<Range<usize>> {
        match field {
            "zone_offset_minutes" => self.zone_offset_minutes.as_ref().map(Spanned::span),
            "limit" => self.limit.last().map(Spanned::span),
            _ => Some(self.name.span()),
        }
    }
}

impl RawLimit {
    fn span_of(&self, field: &str) -> Option<Range<usize>> {
        let span = match field {
            "apis" => self.apis.span(),
            "except" => self.except.as_ref()?.span(),
            "free_if_ok" => self.free_if_ok.as_ref()?.span(),
            "scope" => self.scope.span(),
            "unit" => self.unit.span(),
            "window" => self.window.span(),
            "cap" => self.cap.span(),
            _ => self.name.span(),
        };
        Some(span)
    }

    fn limit(&self) -> Result<Limit, Wrong> {
        let optional = |text: Option<&Spanned<Value>>| text.map_or_else(|| Ok(Apis::default()), apis);
        if self.source.get_ref().trim().is_empty() {
            return Err((self.source.span(), "every number has a source".to_owned()));
        }
        Ok(Limit {
            name: self.name.get_ref().as_str().into(),
            apis: apis(&self.apis)?,
            except: optional(self.except.as_ref())?,
            free_if_ok: optional(self.free_if_ok.as_ref())?,
            scope: Scope::of(self.scope.get_ref()),
            unit: *self.unit.get_ref(),
            window: self.window.get_ref().parse().map_err(|reason| (self.window.span(), reason))?,
            cap: cap(&self.cap)?,
            mode: self.mode,
            operator: self.operator,
            source: self.source.get_ref().clone(),
            note: self.note.clone(),
        })
    }
}

/// `"*"`, one name or pattern, or a list of them.
fn apis(text: &Spanned<Value>) -> Result<Apis, Wrong> {
    let wrong = || (text.span(), "write `\"*\"` or a list of names of APIs".to_owned());
    match text.get_ref() {
        Value::String(one) => Ok(Apis::listed([one.as_str()])),
        Value::Array(list) => {
            let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            names.map(Apis::listed).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// A number, or in words what it is a multiple of.
fn cap(text: &Spanned<Value>) -> Result<Cap, Wrong> {
    let cap = match text.get_ref() {
        Value::Integer(amount) => amount.to_string().parse(),
        Value::String(words) => words.parse(),
        other => Err(format!("a cap is a whole number or a text, not {}", other.type_str())),
    };
    cap.map_err(|reason| (text.span(), reason))
}
