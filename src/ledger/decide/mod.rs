//! `decide`: which entries a command leads to. Pure: no I/O, no clock, nothing changed.

mod admin;
mod alert;
mod ask;
mod by_key;
mod call;
mod credential;
mod declare;
mod doubt;
mod keys;
mod learned;
mod penalty;
mod reconcile;
mod settle;
mod time;

use std::collections::BTreeSet;

pub use call::BLOCKED;
pub use keys::OWN_RULES_MAX;
pub use penalty::until_midnight;
pub(super) use time::STEP_MS;
pub use time::{ClockReading, decide_time, now};

use super::command::{Command, EndedHow, Now, RefusalKey, Rejected, Reply};
use super::entry::{
    ApiNamed, Body, CallEnded, Draft, LedgerCreated, ProcessEnded, ProcessStarted, Refs, Seq, StoreRecovered,
    UsageDeclared, WebhookDelivered,
};
use super::state::{OTHER_API, PendingWhat, State, UNKNOWN_APIS_MAX};

/// What a command leads to: entries to append (often none), secrets to erase with them, and the answer.
#[derive(Debug)]
pub struct Decision {
    pub drafts: Vec<Draft>,
    /// Sealed secrets that nothing can need any more.
    pub erase: Vec<Seq>,
    /// The refusal gets no entry of its own: to be counted, and written down when its second is over.
    pub repeat: Option<Repeat>,
    pub reply: Reply,
}

/// A refusal of which this second has an entry already.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeat {
    pub key: RefusalKey,
    pub errcode: i64,
    pub used: u64,
    pub cap: u64,
}

impl Decision {
    pub(crate) fn reply(reply: Reply) -> Self {
        Self { drafts: Vec::new(), erase: Vec::new(), repeat: None, reply }
    }

    fn rejected(rejected: Rejected) -> Self {
        Self::reply(Reply::Rejected(rejected))
    }

    fn invalid(what: impl Into<String>) -> Self {
        Self::rejected(Rejected::Invalid(what.into()))
    }

    fn not_found(what: impl Into<String>) -> Self {
        Self::rejected(Rejected::NotFound(what.into()))
    }

    fn one(refs: Refs, body: Body, reply: Reply) -> Self {
        Self { drafts: vec![draft(refs, body)], ..Self::reply(reply) }
    }
}

/// It is so already; `seq` says so.
fn unchanged(seq: Seq) -> Decision {
    Decision::reply(Reply::Done { seq, changed: false })
}

fn draft(refs: Refs, body: Body) -> Draft {
    Draft { refs, body, secret: None }
}

/// Decides one command. `process` is the process that asks, if it is a registered one.
pub fn decide(state: &State, command: Command, now: Now, process: Option<Seq>) -> Decision {
    let next = state.head + 1;
    let done = Reply::Done { seq: next, changed: true };
    match command {
        Command::CreateLedger { ledger_id, version, key_check } => {
            if state.head > 0 {
                return Decision::rejected(Rejected::Conflict("this ledger exists already".to_owned()));
            }
            Decision::one(
                Refs::default(),
                Body::LedgerCreated(LedgerCreated { ledger_id, version, key_check }),
                done,
            )
        }
        Command::StartProcess { instance, pid, egress_ip, version, learn_caps_after, webhook } => {
            let started = ProcessStarted { instance, pid, egress_ip, version, learn_caps_after, webhook };
            let body = Body::ProcessStarted(started);
            Decision::one(Refs::default(), body, done)
        }
        Command::EndProcess { process, how } => end_process(state, process, how, now.tick),
        Command::Recovered { reason } => {
            Decision::one(Refs::default(), Body::StoreRecovered(StoreRecovered { reason }), done)
        }
        Command::ByKey { api_key, act } => by_key::by_key(state, api_key, *act, now, process),
        Command::Admit(admit) => call::admit(state, admit, now, process, false),
        Command::Reserve(admit) => call::reserve(state, admit, now, process),
        Command::Check(admit) => call::check(state, admit, now, process),
        // Each changes what the next one sees, so whoever applies decides them one by one.
        Command::Together(_) => Decision::invalid("these commands are decided one by one"),
        Command::Settle { pending, outcome, caller } => {
            settle::settle(state, pending, &outcome, caller, None, now, process)
        }
        Command::SettleTaught { pending, outcome, taught } => {
            settle::settle(state, pending, &outcome, None, taught, now, process)
        }
        Command::Learn { app, size, call } => declare::learn(state, app, size, call, now),
        Command::DeclareSize { corp_id, agent_id, size, by } => {
            declare::size(state, &corp_id, agent_id.as_deref(), size, by)
        }
        Command::Declare { corp_id, agent_id, api, unit, amount, note, article } => {
            let used = UsageDeclared { unit, amount, note, article };
            declare::usage(state, (&corp_id, agent_id.as_deref()), api.as_deref(), used, now)
        }
        Command::Reconcile(reconcile) => reconcile::reconcile(state, &reconcile, now),
        Command::WebhookDelivered { through, refused } => {
            let body = Body::WebhookDelivered(WebhookDelivered { through, refused });
            Decision::one(Refs::default(), body, done)
        }
        Command::ClearPenalty { started } => declare::clear_penalty(state, started),
        Command::RestoreCap { learned } => learned::restore(state, learned),
        Command::FlushRefusals { refusal, count, errcode, used, cap } => {
            call::flush_refusals(refusal, count, errcode, used, cap)
        }
        Command::BeginFetch { app, why, timeout_ms } => {
            credential::begin_fetch(state, app, why, timeout_ms, now, process)
        }
        Command::EndFetch { pending, outcome } => {
            credential::end_fetch(state, pending, outcome, now, process)
        }
        Command::Invalidate { credential, app, errcode, call } => {
            credential::invalidate(state, app, credential, errcode, call, now)
        }
        Command::Issue { app, caller } => credential::issue(state, app, caller, now),
        admin => admin::decide(state, admin),
    }
}

/// Ends a process and, at most a batch at a time, what it left pending; the end itself comes last.
fn end_process(state: &State, ended: Seq, how: EndedHow, tick: i64) -> Decision {
    if !state.processes.contains_key(&ended) {
        return Decision::reply(Reply::Done { seq: ended, changed: false });
    }
    let left: Vec<Seq> = state
        .pendings
        .iter()
        // A reservation is its client's, who may still make the call: it ends by its own deadline.
        .filter(|(_, pending)| pending.process == Some(ended) && pending.what != PendingWhat::Reserved)
        .map(|(&seq, _)| seq)
        .take(EXPIRE_BATCH)
        .collect();
    let complete = left.len() < EXPIRE_BATCH;
    let mut drafts = expire(state, left, super::apply::PROCESS_DIED, tick);
    if complete {
        let how = match how {
            EndedHow::Drained => "drained",
            EndedHow::Died => "died",
        };
        let body = Body::ProcessEnded(ProcessEnded { ended, how: how.to_owned() });
        drafts.push(draft(Refs::default(), body));
    }
    Decision { drafts, ..Decision::reply(Reply::Done { seq: ended, changed: complete }) }
}

/// How many pendings one decision expires at most.
pub const EXPIRE_BATCH: usize = 200;

/// The entries by which pending calls and fetches expire, and those that say what is not certain any more then.
fn expire(state: &State, pendings: impl IntoIterator<Item = Seq>, reason: &str, tick: i64) -> Vec<Draft> {
    let pendings = pendings.into_iter();
    let mut drafts = Vec::with_capacity(pendings.size_hint().0);
    let mut doubts = Vec::new();
    for pending in pendings {
        let Some(found) = state.pendings.get(&pending) else { continue };
        let ended = CallEnded { pending, reason: reason.to_owned() };
        let body = match found.what {
            PendingWhat::Call | PendingWhat::Reserved => Body::CallExpired(ended),
            PendingWhat::Fetch => Body::CredentialExpired(ended),
        };
        drafts.push(draft(refs_of(found), body));
        for doubt in doubt::of(state, found) {
            // Once for all of them: each would forget the same.
            let said = doubts.iter().any(|(corp, known)| (*corp, known) == (found.corp, &doubt));
            if said && doubt::forgets(&doubt) {
                continue;
            }
            drafts.extend(doubt::drafts(state, pending, found, doubt.clone(), tick));
            doubts.push((found.corp, doubt));
        }
    }
    drafts
}

fn refs_of(pending: &super::state::Pending) -> Refs {
    Refs {
        corp: Some(pending.corp),
        app: Some(pending.app),
        api: Some(pending.api),
        api_key: pending.api_key,
    }
}

/// Expires what is overdue, a bounded number at a time.
pub fn decide_overdue(state: &State, tick: i64) -> Vec<Draft> {
    let overdue = state
        .deadlines
        .iter()
        .take_while(|&&(deadline, _)| deadline <= tick)
        .take(EXPIRE_BATCH)
        .map(|&(_, seq)| seq);
    expire(state, overdue, "timeout", tick)
}

/// Expires pendings of this process that nobody answers for any more: their outcome could not be written.
pub fn decide_abandoned(state: &State, abandoned: &BTreeSet<Seq>, tick: i64) -> Vec<Draft> {
    let each: BTreeSet<Seq> = abandoned.iter().take(EXPIRE_BATCH).copied().collect();
    // Whoever may send a request again will learn then what became of it, and may still make the call.
    let comes_again = |seq: &Seq| state.pendings.get(seq).is_some_and(|pending| pending.once.is_some());
    expire(state, each.into_iter().filter(|seq| !comes_again(seq)), "outcome_not_written", tick)
}

/// The reference of an API name, and the entry that introduces it if it is new.
fn api_ref(state: &State, name: &str) -> (Seq, Option<Draft>) {
    let directory = &state.directory;
    if let Some(seq) = directory.api(name) {
        return (seq, None);
    }
    let known = crate::wecom::catalogue::lookup(name).is_some();
    let full = state.unknown_apis >= UNKNOWN_APIS_MAX;
    let name = if full && !known { OTHER_API } else { name };
    if let Some(seq) = directory.api(name) {
        return (seq, None);
    }
    let next = state.head + 1;
    let refs = Refs { api: Some(next), ..Refs::default() };
    (next, Some(draft(refs, Body::ApiNamed(ApiNamed { name: name.to_owned(), known }))))
}
