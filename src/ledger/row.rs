//! An entry as the database holds it: typed columns, and JSON only for what rare kinds need.

use serde::{Serialize, de::DeserializeOwned};

use crate::quota::Rule;

use super::entry::{
    AnswerNotes, Body, CallEnded, CallPending, CallPosted, CallRefused, CredentialInvalidated,
    CredentialIssued, CredentialPending, CredentialPosted, Entry, Fetched, Once, PenaltyStarted, Refs, Seq,
    Target, Told,
};
use super::kind::Kind;
use super::units::{TargetDetail, Units, is_zero};

/// One row of the entry table; the columns are described in `migrations/0001_ledger.sql`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub seq: Seq,
    pub kind: Kind,
    pub tick: i64,
    pub at: i64,
    pub process: Option<Seq>,
    pub corp: Option<Seq>,
    pub app: Option<Seq>,
    pub api: Option<Seq>,
    pub api_key: Option<Seq>,
    pub actor: Option<String>,
    pub pending_seq: Option<Seq>,
    pub credential_seq: Option<Seq>,
    pub cost: Option<u64>,
    pub errcode: Option<i64>,
    pub method: Option<String>,
    pub timeout_ms: Option<u32>,
    pub http_status: Option<u16>,
    pub latency_us: Option<u64>,
    pub request_bytes: Option<u64>,
    pub response_bytes: Option<u64>,
    pub request_sha256: Option<[u8; 32]>,
    pub detail: Option<String>,
}

/// A row that no version of this program wrote.
#[derive(Debug, thiserror::Error)]
#[error("entry {seq} ({kind}) is damaged: {what}")]
pub struct DamagedRow {
    pub seq: Seq,
    pub kind: &'static str,
    pub what: String,
}

#[derive(Serialize, serde::Deserialize, Default)]
struct PendingDetail {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reserved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<Seq>,
    #[serde(flatten)]
    units: Units,
    #[serde(flatten)]
    target: TargetDetail,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shadowed: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once: Option<Once>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Told>,
}

#[derive(Serialize, serde::Deserialize, Default)]
struct PostedDetail {
    #[serde(flatten)]
    units: Units,
    #[serde(default, skip_serializing_if = "is_zero")]
    unreached: u64,
    #[serde(flatten)]
    answer: AnswerNotes,
}

#[derive(Serialize, serde::Deserialize)]
struct FetchDetail {
    credential: String,
}

#[derive(Serialize, serde::Deserialize)]
struct RefusedDetail {
    limit: String,
    #[serde(default, skip_serializing_if = "Rule::is_of_limit")]
    rule: Rule,
    used: u64,
    cap: u64,
    count: u64,
}

#[derive(Serialize, serde::Deserialize)]
struct EndedDetail {
    reason: String,
}

#[derive(Serialize, serde::Deserialize, Default)]
struct InvalidatedDetail {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_seq: Option<Seq>,
}

impl Body {
    pub fn kind(&self) -> Kind {
        match self {
            Body::LedgerCreated(_) => Kind::LedgerCreated,
            Body::ClockBooted(_) => Kind::ClockBooted,
            Body::ClockStepped(_) => Kind::ClockStepped,
            Body::ProcessStarted(_) => Kind::ProcessStarted,
            Body::ProcessEnded(_) => Kind::ProcessEnded,
            Body::StoreRecovered(_) => Kind::StoreRecovered,
            Body::ApiNamed(_) => Kind::ApiNamed,
            Body::CorpPut(_) => Kind::CorpPut,
            Body::CorpRemoved => Kind::CorpRemoved,
            Body::AppPut(_) => Kind::AppPut,
            Body::AppReset => Kind::AppReset,
            Body::AppRemoved => Kind::AppRemoved,
            Body::ApiKeyCreated(_) => Kind::ApiKeyCreated,
            Body::ApiKeyRevoked => Kind::ApiKeyRevoked,
            Body::ApiKeyPaused => Kind::ApiKeyPaused,
            Body::ApiKeyResumed => Kind::ApiKeyResumed,
            Body::ApiKeySet(_) => Kind::ApiKeySet,
            Body::LimitsPut(_) => Kind::LimitsPut,
            Body::UsageDeclared(_) => Kind::UsageDeclared,
            Body::SizeLearned(_) => Kind::SizeLearned,
            Body::PenaltyStarted(_) => Kind::PenaltyStarted,
            Body::PenaltyEnded(_) => Kind::PenaltyEnded,
            Body::PenaltyCleared(_) => Kind::PenaltyCleared,
            Body::CapLearned(_) => Kind::CapLearned,
            Body::CapRestored(_) => Kind::CapRestored,
            Body::AlertRaised(_) => Kind::AlertRaised,
            Body::WebhookDelivered(_) => Kind::WebhookDelivered,
            Body::UsageReconciled(_) => Kind::UsageReconciled,
            Body::SizeDeclared(_) => Kind::SizeDeclared,
            Body::CallPending(_) => Kind::CallPending,
            Body::CallPosted(_) => Kind::CallPosted,
            Body::CallVoided(_) => Kind::CallVoided,
            Body::CallExpired(_) => Kind::CallExpired,
            Body::CallLate(_) => Kind::CallLate,
            Body::CallRefused(_) => Kind::CallRefused,
            Body::CredentialPending(_) => Kind::CredentialPending,
            Body::CredentialPosted(_) => Kind::CredentialPosted,
            Body::CredentialExpired(_) => Kind::CredentialExpired,
            Body::CredentialInvalidated(_) => Kind::CredentialInvalidated,
            Body::CredentialIssued(_) => Kind::CredentialIssued,
        }
    }
}

/// Plain data has no key that is not a string and no float, so it always has a JSON form.
fn json<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok().filter(|text| text != "{}")
}

impl Row {
    pub fn of(entry: &Entry) -> Row {
        let mut row = Row {
            seq: entry.seq,
            kind: entry.body.kind(),
            tick: entry.tick,
            at: entry.at,
            process: entry.process,
            corp: entry.refs.corp,
            app: entry.refs.app,
            api: entry.refs.api,
            api_key: entry.refs.api_key,
            actor: entry.actor.clone(),
            pending_seq: None,
            credential_seq: None,
            cost: None,
            errcode: None,
            method: None,
            timeout_ms: None,
            http_status: None,
            latency_us: None,
            request_bytes: None,
            response_bytes: None,
            request_sha256: None,
            detail: None,
        };
        row.fill(&entry.body);
        row
    }

    fn fill(&mut self, body: &Body) {
        match body {
            Body::LedgerCreated(x) => self.detail = json(x),
            Body::ClockBooted(x) => self.detail = json(x),
            Body::ClockStepped(x) => self.detail = json(x),
            Body::ProcessStarted(x) => self.detail = json(x),
            Body::ProcessEnded(x) => self.detail = json(x),
            Body::StoreRecovered(x) => self.detail = json(x),
            Body::ApiNamed(x) => self.detail = json(x),
            Body::CorpPut(x) => self.detail = json(x),
            Body::AppPut(x) => self.detail = json(x),
            Body::ApiKeyCreated(x) => self.detail = json(x),
            Body::ApiKeySet(x) => self.detail = json(x),
            Body::LimitsPut(x) => self.detail = json(x),
            Body::UsageDeclared(x) => self.detail = json(x),
            Body::SizeLearned(x) | Body::SizeDeclared(x) => self.detail = json(x),
            Body::PenaltyStarted(x) => {
                self.errcode = Some(x.errcode);
                self.detail = json(x);
            }
            Body::PenaltyEnded(x) | Body::PenaltyCleared(x) => self.detail = json(x),
            Body::CapLearned(x) => self.detail = json(x),
            Body::CapRestored(x) => self.detail = json(x),
            Body::AlertRaised(x) => self.detail = json(x),
            Body::WebhookDelivered(x) => self.detail = json(x),
            Body::UsageReconciled(x) => self.detail = json(x),
            Body::CorpRemoved
            | Body::AppReset
            | Body::AppRemoved
            | Body::ApiKeyRevoked
            | Body::ApiKeyPaused
            | Body::ApiKeyResumed => {}
            Body::CallRefused(x) => {
                self.errcode = Some(x.errcode);
                let (limit, rule) = (x.limit.clone(), x.rule);
                self.detail = json(&RefusedDetail { limit, rule, used: x.used, cap: x.cap, count: x.count });
            }
            Body::CallPending(x) => self.fill_pending(x),
            Body::CallPosted(x) | Body::CallLate(x) => self.fill_posted(x),
            Body::CallVoided(x) | Body::CallExpired(x) | Body::CredentialExpired(x) => {
                self.pending_seq = Some(x.pending);
                self.detail = json(&EndedDetail { reason: x.reason.clone() });
            }
            Body::CredentialPending(x) => {
                self.timeout_ms = Some(x.timeout_ms);
                self.cost = Some(1);
                self.detail = json(&FetchDetail { credential: x.credential.clone() });
            }
            Body::CredentialPosted(x) => {
                self.pending_seq = Some(x.pending);
                self.errcode = x.errcode;
                self.http_status = Some(x.http_status);
                self.latency_us = Some(x.latency_us);
                self.detail = json(&x.fetched);
            }
            Body::CredentialInvalidated(x) => {
                self.credential_seq = Some(x.credential);
                self.errcode = Some(x.errcode);
                self.detail = json(&InvalidatedDetail { call_seq: x.call });
            }
            Body::CredentialIssued(x) => self.credential_seq = Some(x.credential),
        }
    }

    fn fill_pending(&mut self, x: &CallPending) {
        self.method = Some(x.method.clone());
        self.cost = Some(x.cost.calls);
        self.credential_seq = x.credential;
        self.timeout_ms = Some(x.timeout_ms);
        self.request_bytes = Some(x.request_bytes);
        self.request_sha256 = x.request_sha256;
        let units = Units::of(x.cost);
        let special = x.once.is_some() || x.told.is_some() || !x.shadowed.is_empty();
        let targeted = x.target != Target::default();
        if x.reserved || x.retry_of.is_some() || units.is_some() || targeted || special {
            self.detail = json(&PendingDetail {
                reserved: x.reserved,
                retry_of: x.retry_of,
                units: units.unwrap_or_default(),
                target: TargetDetail::of(&x.target),
                shadowed: x.shadowed.clone(),
                once: x.once.clone(),
                told: x.told.clone(),
            });
        }
    }

    fn fill_posted(&mut self, x: &CallPosted) {
        self.pending_seq = Some(x.pending);
        self.cost = Some(x.cost.calls);
        self.errcode = x.errcode;
        self.http_status = Some(x.http_status);
        self.latency_us = Some(x.latency_us);
        self.response_bytes = Some(x.response_bytes);
        let units = Units::of(x.cost);
        if x.answer != AnswerNotes::default() || units.is_some() || x.unreached > 0 {
            let (units, answer) = (units.unwrap_or_default(), x.answer.clone());
            self.detail = json(&PostedDetail { units, unreached: x.unreached, answer });
        }
    }

    /// The typed entry of this row.
    pub fn entry(&self) -> Result<Entry, DamagedRow> {
        Ok(Entry {
            seq: self.seq,
            tick: self.tick,
            at: self.at,
            process: self.process,
            actor: self.actor.clone(),
            refs: Refs { corp: self.corp, app: self.app, api: self.api, api_key: self.api_key },
            body: self.body()?,
        })
    }

    fn damaged(&self, what: impl Into<String>) -> DamagedRow {
        DamagedRow { seq: self.seq, kind: self.kind.name(), what: what.into() }
    }

    fn need<T: Copy>(&self, value: Option<T>, column: &str) -> Result<T, DamagedRow> {
        value.ok_or_else(|| self.damaged(format!("column {column} is empty")))
    }

    fn detail<T: DeserializeOwned>(&self) -> Result<T, DamagedRow> {
        serde_json::from_str(self.detail.as_deref().unwrap_or("{}"))
            .map_err(|error| self.damaged(format!("column detail: {error}")))
    }

    fn body(&self) -> Result<Body, DamagedRow> {
        Ok(match self.kind {
            Kind::LedgerCreated => Body::LedgerCreated(self.detail()?),
            Kind::ClockBooted => Body::ClockBooted(self.detail()?),
            Kind::ClockStepped => Body::ClockStepped(self.detail()?),
            Kind::ProcessStarted => Body::ProcessStarted(self.detail()?),
            Kind::ProcessEnded => Body::ProcessEnded(self.detail()?),
            Kind::StoreRecovered => Body::StoreRecovered(self.detail()?),
            Kind::ApiNamed => Body::ApiNamed(self.detail()?),
            Kind::CorpPut => Body::CorpPut(self.detail()?),
            Kind::CorpRemoved => Body::CorpRemoved,
            Kind::AppPut => Body::AppPut(self.detail()?),
            Kind::AppReset => Body::AppReset,
            Kind::AppRemoved => Body::AppRemoved,
            Kind::ApiKeyCreated => Body::ApiKeyCreated(self.detail()?),
            Kind::ApiKeyRevoked => Body::ApiKeyRevoked,
            Kind::ApiKeyPaused => Body::ApiKeyPaused,
            Kind::ApiKeyResumed => Body::ApiKeyResumed,
            Kind::ApiKeySet => Body::ApiKeySet(self.detail()?),
            Kind::LimitsPut => Body::LimitsPut(self.detail()?),
            Kind::UsageDeclared => Body::UsageDeclared(self.detail()?),
            Kind::SizeLearned => Body::SizeLearned(self.detail()?),
            Kind::PenaltyStarted => Body::PenaltyStarted(PenaltyStarted {
                errcode: self.need(self.errcode, "errcode")?,
                ..self.detail()?
            }),
            Kind::PenaltyEnded => Body::PenaltyEnded(self.detail()?),
            Kind::PenaltyCleared => Body::PenaltyCleared(self.detail()?),
            Kind::CapLearned => Body::CapLearned(self.detail()?),
            Kind::CapRestored => Body::CapRestored(self.detail()?),
            Kind::AlertRaised => Body::AlertRaised(self.detail()?),
            Kind::WebhookDelivered => Body::WebhookDelivered(self.detail()?),
            Kind::UsageReconciled => Body::UsageReconciled(self.detail()?),
            Kind::SizeDeclared => Body::SizeDeclared(self.detail()?),
            Kind::CallRefused => {
                let RefusedDetail { limit, rule, used, cap, count } = self.detail()?;
                Body::CallRefused(CallRefused {
                    limit,
                    rule,
                    errcode: self.need(self.errcode, "errcode")?,
                    used,
                    cap,
                    count,
                })
            }
            Kind::CallPending => Body::CallPending(self.pending()?),
            Kind::CallPosted => Body::CallPosted(self.posted()?),
            Kind::CallLate => Body::CallLate(self.posted()?),
            Kind::CallVoided => Body::CallVoided(self.ended()?),
            Kind::CallExpired => Body::CallExpired(self.ended()?),
            Kind::CredentialExpired => Body::CredentialExpired(self.ended()?),
            Kind::CredentialPending => Body::CredentialPending(CredentialPending {
                credential: self.detail::<FetchDetail>()?.credential,
                timeout_ms: self.need(self.timeout_ms, "timeout_ms")?,
            }),
            Kind::CredentialPosted => Body::CredentialPosted(CredentialPosted {
                pending: self.need(self.pending_seq, "pending_seq")?,
                errcode: self.errcode,
                http_status: self.need(self.http_status, "http_status")?,
                latency_us: self.need(self.latency_us, "latency_us")?,
                fetched: self.detail::<Fetched>()?,
            }),
            Kind::CredentialInvalidated => Body::CredentialInvalidated(CredentialInvalidated {
                credential: self.need(self.credential_seq, "credential_seq")?,
                errcode: self.need(self.errcode, "errcode")?,
                call: self.detail::<InvalidatedDetail>()?.call_seq,
            }),
            Kind::CredentialIssued => Body::CredentialIssued(CredentialIssued {
                credential: self.need(self.credential_seq, "credential_seq")?,
            }),
        })
    }

    fn pending(&self) -> Result<CallPending, DamagedRow> {
        let PendingDetail { reserved, retry_of, units, target, shadowed, once, told } = self.detail()?;
        Ok(CallPending {
            method: self.method.clone().ok_or_else(|| self.damaged("column method is empty"))?,
            cost: units.cost(self.need(self.cost, "cost")?),
            target: target.target().ok_or_else(|| self.damaged("column detail: bad hashes"))?,
            shadowed,
            credential: self.credential_seq,
            timeout_ms: self.need(self.timeout_ms, "timeout_ms")?,
            request_bytes: self.need(self.request_bytes, "request_bytes")?,
            request_sha256: self.request_sha256,
            reserved,
            retry_of,
            once,
            told,
        })
    }

    fn posted(&self) -> Result<CallPosted, DamagedRow> {
        let PostedDetail { units, unreached, answer } = self.detail()?;
        Ok(CallPosted {
            pending: self.need(self.pending_seq, "pending_seq")?,
            cost: units.cost(self.need(self.cost, "cost")?),
            unreached,
            errcode: self.errcode,
            http_status: self.need(self.http_status, "http_status")?,
            latency_us: self.need(self.latency_us, "latency_us")?,
            response_bytes: self.need(self.response_bytes, "response_bytes")?,
            answer,
        })
    }

    fn ended(&self) -> Result<CallEnded, DamagedRow> {
        Ok(CallEnded {
            pending: self.need(self.pending_seq, "pending_seq")?,
            reason: self.detail::<EndedDetail>()?.reason,
        })
    }
}
