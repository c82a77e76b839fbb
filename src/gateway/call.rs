//! One call, from its admission to its outcome on disk. Runs detached from the client's connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::sync::oneshot;

use crate::admission::{Ticket, Wait};
use crate::ledger::command::{Admit, Ask, Command, InLine, Outcome, Refusal, Reply as LedgerReply};
use crate::ledger::entry::Size;
use crate::ledger::sizes::UNKNOWN_IN_WORDS;
use crate::ledger::{LedgerError, Seq};
use crate::quota::{KEYS, KEYS_IN_WORDS, Reading, Unit};
use crate::wecom::catalogue::Credential;
use crate::wecom::client::{Method, Request, Response, SendError};
use crate::wecom::errcodes;
use crate::wecom::path::ApiName;
use crate::wecom::query::Query;
use crate::wecom::reply::Reply;

use super::Gateway;
use super::auth::Identity;
use super::cost::{self, Unsent};
use super::gettoken::{ledger_failed, unauthorized, unavailable};
use super::outgoing::{Outgoing, rate_limit_headers, seconds_until};
use super::relay::{self, Read};
use super::spool::Spooled;

/// How often a credential may end between its fetch and the admission of the call that is to carry it.
const ADMIT_ATTEMPTS: usize = 3;

/// What a pending entry outlives the call's own timeout by.
const PENDING_MARGIN: Duration = Duration::from_secs(15);

/// A call as it came from the client.
pub(super) struct Call {
    pub identity: Identity,
    pub api: ApiName,
    pub method: Method,
    pub query: Query,
    /// Where the API wants its credential.
    pub param: Option<&'static str>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Spooled,
    pub ask: Ask,
    /// Its place where calls wait for room in a limit.
    pub ticket: Ticket,
}

/// An admitted attempt: its entry is on disk.
pub(super) struct Admitted {
    pub pending: Seq,
    pub credential: Option<Seq>,
    pub reading: Option<Reading>,
    pub wait: Option<Wait>,
    /// When the ledger was asked.
    asked: tokio::time::Instant,
}

/// What the first attempt left for the second.
#[derive(Default)]
struct Rejected {
    credential: Option<Seq>,
    attempt: Option<Seq>,
}

/// Where the answer goes; taken when it is given.
pub(super) type Answer = oneshot::Sender<Outgoing>;

pub(super) async fn run(gateway: Arc<Gateway>, call: Call, mut answer: Answer) {
    let outgoing = match attempt(&gateway, &call, &Rejected::default(), &mut answer).await {
        Attempt::Unanswered(outgoing) => outgoing,
        Attempt::Answered(admitted, read) => match outdated(&call, &admitted, &read) {
            None => return deliver(&gateway, call, admitted, read, answer).await,
            Some((credential, errcode)) => {
                match Box::pin(rotate(&gateway, &call, &admitted, &read, credential, errcode)).await {
                    Err(outgoing) => outgoing,
                    Ok(rejected) => match Box::pin(attempt(&gateway, &call, &rejected, &mut answer)).await {
                        Attempt::Answered(admitted, read) => {
                            return deliver(&gateway, call, admitted, read, answer).await;
                        }
                        // Why there is no second attempt tells more than that WeCom rejected the first one's token.
                        Attempt::Unanswered(outgoing) => outgoing,
                    },
                }
            }
        },
    };
    let _ = answer.send(outgoing);
}

enum Attempt {
    /// Not admitted, not sent, or of unknown outcome.
    Unanswered(Outgoing),
    Answered(Admitted, Read),
}

/// The answer goes to the client after its outcome is on disk. A long one needs the request's body no more.
async fn deliver(gateway: &Gateway, call: Call, admitted: Admitted, read: Read, answer: Answer) {
    if read.is_long() {
        drop(call);
        return Box::pin(relay::stream(gateway, &admitted, read, answer)).await;
    }
    let unsent = cost::unsent(gateway, &call, &read);
    if let Some(errcode) = read.errcode().filter(|&errcode| errcodes::is_rate_limited(errcode)) {
        tracing::warn!(pending = admitted.pending, api = %call.api, errcode, "WeCom says that a limit is used up");
    }
    let taught = cost::taught(gateway, &call, admitted.pending, &read).await;
    let (pending, outcome) = (admitted.pending, read.outcome(unsent));
    let outgoing = match settle_taught(gateway, pending, outcome, taught).await {
        Ok(()) => relay::whole(&call, &read),
        Err(error) => relay::not_recorded(&call, &error),
    };
    let outgoing = outgoing.rate_limit(admitted.reading.as_ref(), gateway.ledger.tick());
    let _ = answer.send(outgoing.waited(admitted.wait));
    cost::learn(gateway, &call, &admitted, &read).await;
}

async fn attempt(gateway: &Arc<Gateway>, call: &Call, rejected: &Rejected, answer: &mut Answer) -> Attempt {
    let admitted = match admit(gateway, call, rejected, answer).await {
        Ok(admitted) => admitted,
        Err(outgoing) => return Attempt::Unanswered(outgoing),
    };
    let token = match admitted.credential {
        None => None,
        Some(credential) => match gateway.broker.token(credential).await {
            Ok(token) => Some(token),
            Err(error) => {
                let outcome = Outcome::Voided { reason: format!("no token: {error}") };
                Box::pin(settle(gateway, admitted.pending, outcome)).await.ok();
                return Attempt::Unanswered(unavailable(&error, gateway.ledger.tick()));
            }
        },
    };
    // The entry must outlive the call, however long the disk took to write it.
    if admitted.asked.elapsed() >= PENDING_MARGIN {
        let reason = "the ledger took too long to write the admission".to_owned();
        let reply = Reply::try_again(&format!("{reason}; nothing was sent"));
        Box::pin(settle(gateway, admitted.pending, Outcome::Voided { reason })).await.ok();
        return Attempt::Unanswered(Outgoing::own(&reply));
    }
    let begun = Instant::now();
    match send(gateway, call, token.as_deref()).await {
        Ok(response) => Attempt::Answered(admitted, relay::read(gateway, response, begun).await),
        Err(error) => {
            Attempt::Unanswered(Box::pin(not_answered(gateway, call, admitted.pending, error)).await)
        }
    }
}

async fn send(gateway: &Gateway, call: &Call, token: Option<&SecretString>) -> Result<Response, SendError> {
    let query = match (token, call.param) {
        (Some(token), Some(param)) => call.query.with_credential(param, token),
        _ => call.query.without_credential(),
    };
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let request = Request {
        method: call.method.clone(),
        api: &call.api,
        query,
        headers,
        body: call.body.body(),
        timeouts: gateway.settings.timeouts,
    };
    gateway.upstream.send(request).await
}

/// Gets the call admitted, with a credential fetched first where one is needed and none is valid.
async fn admit(
    gateway: &Arc<Gateway>,
    call: &Call,
    rejected: &Rejected,
    answer: &mut Answer,
) -> Result<Admitted, Outgoing> {
    for _ in 0..ADMIT_ATTEMPTS {
        let admit = Admit {
            caller: call.identity.caller,
            app: call.identity.app,
            api: call.api.as_str().to_owned(),
            method: call.method.as_str().to_owned(),
            ask: call.ask.clone(),
            needs_credential: call.param.is_some(),
            not_credential: rejected.credential,
            retry_of: rejected.attempt,
            timeout_ms: (gateway.settings.total_timeout + PENDING_MARGIN).as_millis() as u32,
            request_bytes: call.body.len,
            request_sha256: call.body.sha256,
            once: None,
            line: InLine::default(),
        };
        // A client that hangs up while its call waits gives up its place.
        let answered = gateway.admission.ask(Command::Admit, admit, &call.ticket, answer.closed()).await;
        let answered = answered.map_err(|error| ledger_failed(&error))?;
        let (asked, wait, note) = (answered.asked, answered.applied(), answered.note());
        match answered.reply {
            LedgerReply::Admitted { pending, credential, reading, .. } => {
                return Ok(Admitted { pending, credential, reading, wait, asked });
            }
            LedgerReply::Refused(Refusal::NoCredential) => {
                let ensured = gateway.broker.ensure(call.identity.app).await;
                ensured.map_err(|error| unavailable(&error, gateway.ledger.tick()))?;
            }
            LedgerReply::Refused(refusal) => {
                let outgoing = refused(&refusal, call, note.as_deref(), gateway.ledger.tick());
                return Err(outgoing.waited(wait));
            }
            other => {
                tracing::error!(?other, "unexpected answer to an admission");
                break;
            }
        }
    }
    Err(Outgoing::own(&Reply::try_again("WeCom's tokens end as soon as they are issued; nothing was sent")))
}

/// `note`: what there is to say about a wait for room.
fn refused(refusal: &Refusal, call: &Call, note: Option<&str>, tick: i64) -> Outgoing {
    let own = |mut reply: Reply| {
        if let Some(note) = note {
            reply.errmsg = format!("{}; {note}", reply.errmsg);
        }
        Outgoing::own(&reply)
    };
    match refusal {
        Refusal::Limit { reading, retry_at, needed, .. } => {
            let Reading { limit, rule, cap, used, window, .. } = reading;
            let wait = retry_at.map(|at| seconds_until(at, tick).max(1));
            let when = wait.map_or_else(|| "never".to_owned(), |wait| format!("in {wait} s"));
            let mut detail = format!(
                "limit {limit} for {}: {used} of {cap} used ({window}){}, nothing was sent; room again {when}",
                call.api,
                rule.in_words()
            );
            if **limit == *KEYS {
                detail = format!("{detail} at the earliest: {KEYS_IN_WORDS}");
            }
            if wait.is_none() && reading.unit == Unit::PersonTimes && *needed > *cap && *cap > 0 {
                detail = format!("{detail}: it needs {needed}; {UNKNOWN_IN_WORDS}");
            }
            let [policy, state] = rate_limit_headers(reading, tick);
            let outgoing =
                own(Reply::over_limit(&detail)).header("ratelimit-policy", policy).header("ratelimit", state);
            match wait {
                Some(wait) => outgoing.header("retry-after", wait.to_string()),
                None => outgoing,
            }
        }
        Refusal::Blocked { level, errcode, retry_at, .. } => {
            let wait = seconds_until(*retry_at, tick).max(1);
            own(Reply::blocked(*errcode, call.api.as_str(), level.name(), wait))
                .header("retry-after", wait.to_string())
        }
        Refusal::Unauthorized(why) => Outgoing::own(&unauthorized(*why)),
        Refusal::Busy | Refusal::RemembersTooMuch { .. } => {
            Outgoing::own(&Reply::try_again("too many calls wait for their outcome; nothing was sent"))
                .header("retry-after", "1")
        }
        Refusal::NeedsChat | Refusal::NoCredential | Refusal::CredentialUnavailable { .. } => {
            Outgoing::own(&Reply::try_again("no access_token for this app; nothing was sent"))
        }
    }
}

/// There is no answer: the entry says whether anything can have been sent, and so does the client's error.
async fn not_answered(gateway: &Gateway, call: &Call, pending: Seq, error: SendError) -> Outgoing {
    tracing::warn!(pending, api = %call.api, %error, "a call got no answer");
    let (outcome, reply) = match error {
        SendError::NotSent { reason } => {
            let reply = Reply::try_again(&format!("WeCom could not be reached, nothing was sent: {reason}"));
            (Outcome::Voided { reason }, reply)
        }
        SendError::Unknown { reason, .. } => {
            let reply = unknown(call, &reason);
            (Outcome::Expired { reason }, reply)
        }
    };
    // The answer is the same whether or not this can be written: an entry left pending expires as spent.
    settle(gateway, pending, outcome).await.ok();
    Outgoing::own(&reply)
}

/// An outcome that is unknown may only be repeated where that is harmless.
pub(super) fn unknown(call: &Call, reason: &str) -> Reply {
    if call.api.reads() {
        Reply::try_again(&format!("no usable answer from WeCom; this API only reads, so repeat it: {reason}"))
    } else {
        Reply::outcome_unknown(reason)
    }
}

/// Puts an outcome on disk. If that fails the pending entry is left to expire as spent.
pub(super) async fn settle(gateway: &Gateway, pending: Seq, outcome: Outcome) -> Result<(), LedgerError> {
    settle_taught(gateway, pending, outcome, None).await
}

async fn settle_taught(
    gateway: &Gateway,
    pending: Seq,
    outcome: Outcome,
    taught: Option<Vec<Size>>,
) -> Result<(), LedgerError> {
    match gateway.ledger.decide(Command::SettleTaught { pending, outcome, taught }).await {
        Ok(LedgerReply::Rejected(rejected)) => {
            tracing::warn!(pending, %rejected, "an outcome came too late for its entry");
            Err(LedgerError::Unavailable(rejected.to_string()))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            gateway.ledger.abandon(pending);
            Err(error)
        }
    }
}

/// The credential that an answer says has ended, and how it says so.
fn outdated(call: &Call, admitted: &Admitted, read: &Read) -> Option<(Seq, i64)> {
    let kind = call.api.api().map_or(Credential::AccessToken, |api| api.credential);
    let errcode = read.errcode().filter(|&errcode| errcodes::refreshes_credential(errcode, kind))?;
    Some((admitted.credential?, errcode))
}

/// Writes the first attempt's answer down and rotates its credential, for a second attempt.
async fn rotate(
    gateway: &Gateway,
    call: &Call,
    admitted: &Admitted,
    read: &Read,
    credential: Seq,
    errcode: i64,
) -> Result<Rejected, Outgoing> {
    let attempt = Some(admitted.pending);
    let recorded = settle(gateway, admitted.pending, read.outcome(Unsent::default())).await;
    recorded.map_err(|error| relay::not_recorded(call, &error))?;
    let invalidate = Command::Invalidate { credential, app: call.identity.app, errcode, call: attempt };
    match gateway.ledger.decide(invalidate).await {
        // The token stands although it was rejected: one more try with it.
        Ok(LedgerReply::Kept) => Ok(Rejected { credential: None, attempt }),
        Ok(_) => Ok(Rejected { credential: Some(credential), attempt }),
        Err(error) => Err(ledger_failed(&error)),
    }
}
