//! Many calls reserved by one request: each judged on its own, in their order, all on disk with one commit.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::entry::{Once, ShortDigest};
use crate::ledger::{Command, Reply};

use super::calls::{Created, reserved};
use super::order::NewCall;
use super::params::{invalid_body, json};
use super::problem::{self, Problem};
use super::{Client, HttpState, once};

/// Calls of one request.
const CALLS_MAX: usize = 1_000;
/// Such requests at the same time: the ledger's queue is counted in commands, and these are long ones.
pub(super) const AT_ONCE: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List<'a> {
    #[serde(borrow)]
    calls: Vec<NewCall<'a>>,
}

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Reserved {
        status: u16,
        #[serde(flatten)]
        created: Created,
    },
    Problem {
        status: u16,
        problem: Value,
    },
}

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        Self::Problem { status: problem.of.status, problem: problem.to_value() }
    }
}

pub(super) fn is_list(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        calls: Option<IgnoredAny>,
    }
    serde_json::from_slice(body).is_ok_and(|peek: Peek| peek.calls.is_some())
}

pub(super) async fn reserve(
    state: web::Data<HttpState>,
    client: Client,
    key: Option<ShortDigest>,
    body: &[u8],
) -> Result<HttpResponse, Problem> {
    let List { calls } = json(body)?;
    if !(1..=CALLS_MAX).contains(&calls.len()) {
        return Err(invalid_body(format!("calls must be 1 to {CALLS_MAX}, not {}", calls.len())));
    }
    let busy = |_| Problem::new(&problem::BUSY, "other requests reserve many calls already").retry_after(1);
    let place = Arc::clone(&state.many).try_acquire_owned().map_err(busy)?;
    let once = key.map(|key| once::of(key, body, 0));
    let admits: Vec<_> = calls
        .into_iter()
        .zip(0..)
        .map(|(call, part)| call.admit(&state, &client, once.clone().map(|once| Once { part, ..once })))
        .map(|admit| admit.map(|admit| state.admission.behind_others(admit)))
        .collect();
    drop(client);
    let commands = admits.iter().flatten().cloned().map(Command::Reserve).collect();
    let together = state.ledger.decide_in_place(Command::Together(commands), place).await?;
    let Reply::Together(replies) = together else {
        return Err(Problem::internal(&"the ledger did not answer for each call"));
    };
    // What was told before is read entry by entry.
    let reads = replies.iter().any(|reply| matches!(reply, Reply::Remembered { ended: None, .. }));
    let _place = if reads { Some(state.slow().await?) } else { None };
    let (mut replies, mut results, mut replayed) = (replies.into_iter(), Vec::new(), false);
    for admit in admits {
        results.push(match admit {
            Err(problem) => problem.into(),
            Ok(admit) => {
                let reply = replies.next().ok_or_else(|| Problem::internal(&"an answer is missing"))?;
                // The key is the request's, so it fits all calls or none.
                if let Reply::Rejected(rejected) = reply {
                    return Err(Problem::new(&problem::KEY_REUSED, rejected.to_string()));
                }
                match reserved(&state, reply, admit.timeout_ms / 1000).await {
                    Ok(reserved) => {
                        replayed |= reserved.replayed;
                        Outcome::Reserved { status: 201, created: reserved.created }
                    }
                    Err(problem) => problem.into(),
                }
            }
        });
    }
    let mut response = HttpResponse::Ok();
    if replayed {
        response.insert_header((once::REPLAYED, "true"));
    }
    Ok(response.json(Results { results }))
}
