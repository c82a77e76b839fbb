//! The way back: an answer of up to 1 MiB is posted before any of it is passed on; of a longer one the last piece is
//! held until the outcome is on disk.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use crate::ledger::LedgerError;
use crate::ledger::command::Outcome;
use crate::ledger::entry::AnswerNotes;
use crate::wecom::answer::{self, Answer as Meaning, Kind};
use crate::wecom::client::{BodyError, Response, ResponseBody};

use super::Gateway;
use super::call::{Admitted, Answer, Call, settle, unknown};
use super::cost::Unsent;
use super::outgoing::{Body, Interrupted, Outgoing};

/// How much of an answer is read before any of it is passed on.
const HELD_MAX: usize = 1024 * 1024;
/// Pieces between WeCom and the client, at most: a slow client slows WeCom down.
const PIECES_MAX: usize = 8;
const ERRMSG_OK: &str = "ok";

/// An answer as far as it was read.
pub(super) struct Read {
    status: u16,
    headers: HeaderMap,
    meaning: Meaning,
    held: Bytes,
    rest: Rest,
    begun: Instant,
}

enum Rest {
    Complete,
    More(ResponseBody),
    Broken(String),
}

/// Reads up to [`HELD_MAX`] bytes.
pub(super) async fn read(gateway: &Gateway, mut response: Response, begun: Instant) -> Read {
    let deadline = tokio::time::Instant::from_std(begun + gateway.settings.total_timeout);
    let mut held = BytesMut::new();
    let complete = loop {
        match timeout_at(deadline, response.body.chunk()).await {
            Ok(Ok(Some(chunk))) => held.extend_from_slice(&chunk),
            Ok(Ok(None)) => break Ok(true),
            Ok(Err(error)) => break Err(error.to_string()),
            Err(_) => break Err("the answer took longer than a call may".to_owned()),
        }
        if held.len() >= HELD_MAX {
            break Ok(false);
        }
    };
    let held = held.freeze();
    let meaning = answer::inspect(&response.head(), &held, complete == Ok(true));
    let Response { status, headers, body } = response;
    let rest = match complete {
        Ok(true) => Rest::Complete,
        Ok(false) => Rest::More(body),
        Err(reason) => Rest::Broken(reason),
    };
    Read { status: status.as_u16(), headers, meaning, held, rest, begun }
}

impl Read {
    /// WeCom's word on the call, where the whole answer is there.
    pub(super) fn errcode(&self) -> Option<i64> {
        self.meaning.errcode.filter(|_| matches!(self.rest, Rest::Complete))
    }

    /// Whether there is more than is held.
    pub(super) fn is_long(&self) -> bool {
        matches!(self.rest, Rest::More(_))
    }

    /// Neither WeCom's word nor a file: nobody can tell from it what became of the call.
    fn is_meaningless(&self) -> bool {
        // These answer conditional and ranged requests, which only read, and have no body to speak of.
        let bare = matches!(self.status, 304 | 416);
        let failed = self.meaning.errcode.is_none() && self.status >= 500;
        !bare && (self.meaning.kind == Kind::Garbage || failed)
    }

    /// The whole answer, if it is WeCom's own word and no file.
    pub(super) fn said(&self) -> Option<&Bytes> {
        let whole = matches!(self.rest, Rest::Complete) && self.status == 200;
        let own = self.meaning.kind == Kind::Json && !self.headers.contains_key("content-disposition");
        (whole && own).then_some(&self.held)
    }

    /// What the ledger keeps of an answer that needs no further reading.
    pub(super) fn outcome(&self, unsent: Unsent) -> Outcome {
        let incomplete = match &self.rest {
            Rest::Broken(_) => Some("truncated"),
            Rest::Complete if self.is_meaningless() => Some("garbage"),
            Rest::Complete | Rest::More(_) => None,
        };
        self.posted(self.held.len() as u64, incomplete, unsent)
    }

    fn posted(&self, response_bytes: u64, incomplete: Option<&str>, unsent: Unsent) -> Outcome {
        let Meaning { errcode, errmsg, hint, from_ip, .. } = &self.meaning;
        // Half an answer says nothing for sure, whatever stands at its beginning.
        let errcode = errcode.filter(|_| incomplete != Some("truncated"));
        let failed = errcode.is_some_and(|errcode| errcode != 0);
        let worth_keeping = !errmsg.is_empty() && (failed || errmsg != ERRMSG_OK);
        Outcome::Posted {
            not_sent: unsent.free,
            unreached: unsent.named,
            errcode,
            http_status: self.status,
            latency_us: self.begun.elapsed().as_micros() as u64,
            response_bytes,
            answer: AnswerNotes {
                hint: hint.clone(),
                from_ip: from_ip.clone(),
                errmsg: worth_keeping.then(|| errmsg.clone()),
                incomplete: incomplete.map(str::to_owned),
            },
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    fn content_length(&self) -> Option<u64> {
        self.headers.get("content-length")?.to_str().ok()?.parse().ok()
    }
}

/// A short answer, once its outcome is on disk.
pub(super) fn whole(call: &Call, read: &Read) -> Outgoing {
    match &read.rest {
        Rest::Broken(reason) => Outgoing::own(&unknown(call, reason)),
        _ if read.is_meaningless() => {
            let reason = format!("HTTP {} with an answer that is neither JSON nor a file", read.status);
            Outgoing::own(&unknown(call, &reason))
        }
        _ => Outgoing::relayed(read.status, read.headers(), Body::Whole(read.held.clone())),
    }
}

/// The call was made, but its outcome could not be written: the client must not take it for a success.
pub(super) fn not_recorded(call: &Call, error: &LedgerError) -> Outgoing {
    Outgoing::own(&unknown(call, &format!("WeCom answered, but the outcome could not be recorded: {error}")))
}

/// Passes a long answer on, one piece behind.
pub(super) async fn stream(gateway: &Gateway, admitted: &Admitted, mut read: Read, answer: Answer) {
    let rest = std::mem::replace(&mut read.rest, Rest::Complete);
    let Rest::More(mut body) = rest else { return };
    let (pieces, receiver) = mpsc::channel(PIECES_MAX);
    let relayed = Body::Stream { len: read.content_length(), pieces: receiver };
    let outgoing = Outgoing::relayed(read.status, read.headers(), relayed)
        .rate_limit(admitted.reading.as_ref(), gateway.ledger.tick())
        .waited(admitted.wait);
    let _ = answer.send(outgoing);
    let mut held = read.held.clone();
    let mut passed = held.len() as u64;
    let deadline = tokio::time::Instant::from_std(read.begun + gateway.settings.total_timeout);
    let incomplete = loop {
        match timeout_at(deadline, body.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                passed += chunk.len() as u64;
                let sent = timeout_at(deadline, pieces.send(Ok(std::mem::replace(&mut held, chunk)))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break Some("client_gone");
                }
            }
            Ok(Ok(None)) => break None,
            Ok(Err(BodyError::TimedOut(_) | BodyError::Broken(_) | BodyError::TooLong(_))) | Err(_) => {
                break Some("truncated");
            }
        }
    };
    let settled = settle(gateway, admitted.pending, read.posted(passed, incomplete, Unsent::default())).await;
    let last = match (settled, incomplete) {
        (Ok(()), None) => Ok(held),
        (Ok(()), Some(what)) => Err(Interrupted(format!("WeCom's answer did not arrive as a whole: {what}"))),
        (Err(error), _) => Err(Interrupted(format!("the outcome could not be recorded: {error}"))),
    };
    // A client that takes nothing any more must not hold the rest for ever.
    let _ = timeout_at(deadline, pieces.send(last)).await;
}
