//! A ledger's core alone: decides and applies, in memory, at the moment that a test says.
//!
//! `World` looks closer (it recounts after every entry) and is a hundred times too slow for a million calls.

use crate::ledger::State;
use crate::ledger::apply::apply;
use crate::ledger::command::{Admit, Caller, Command, InLine, NotSent, Now, Outcome, Refusal, Reply};
use crate::ledger::decide::{Decision, decide};
use crate::ledger::entry::{
    AnswerNotes, Body, CallPending, CallPosted, CallRefused, Entry, Refs, Seq, Size, Target,
};
use crate::quota::{Cost, Facets, Filter, Judgement, Operator, Usage};

use super::super::plain;
use super::drive::Load;

/// Ten minutes past midnight in Shanghai, on the first day of March 2024.
const BEGUN: Now = Now { tick: 5_000_000, at: 1_709_222_400_000 + 600_000 };

/// The accounts of each corp, where a row is a factor of them: every cap can be reached with whole messages.
pub(super) const ACCOUNTS: u64 = 100;
/// More than a group chat can have.
const ACCOUNTS_OF_LARGE_CORP: u64 = 3_000;

pub(super) const CHAT: u64 = 9;
pub(super) const CHAT_OF_TWO: u64 = 10;

pub(super) struct Core {
    pub(super) state: State,
    pub(super) now: Now,
    process: Seq,
    /// Those of the first corp, or the only one of each corp.
    pub(super) apps: Vec<Seq>,
}

/// A refusal by a limit.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) limit: String,
    pub(super) used: u64,
    pub(super) cap: u64,
    pub(super) retry_at: Option<i64>,
}

impl Core {
    pub(super) fn new(profile: &str, operator: Operator, corps: u8, apps: u8) -> Self {
        let mut core = Self { state: State::default(), now: BEGUN, process: 0, apps: vec![] };
        let (ledger_id, version) = ("rows".to_owned(), "1".to_owned());
        core.done(Command::CreateLedger { ledger_id, version: version.clone(), key_check: [1; 32] });
        let (instance, egress_ip) = ("one".to_owned(), "192.0.2.1".to_owned());
        core.process = core.done(Command::StartProcess {
            instance,
            pid: 1,
            egress_ip,
            version,
            learn_caps_after: None,
            webhook: false,
        });
        let profile = profile.to_owned();
        core.done(Command::PutLimits { profile, operator, own: None });
        for corp in 0..corps {
            let corp_id = format!("corp{corp}");
            core.done(Command::PutCorp { corp_id: corp_id.clone(), account_cap: ACCOUNTS });
            for app in 0..apps {
                let (agent_id, secret, fingerprint) = (format!("{app}"), plain("s"), [corp + 1; 32]);
                let put = Command::PutApp { corp_id: corp_id.clone(), agent_id, secret, fingerprint };
                let app = core.done(put);
                core.apps.push(app);
                let size = Size::Chat { chat: CHAT_OF_TWO, members: 2, hashes: vec![1, 2] };
                core.done(Command::Learn { app, size, call: 1 });
            }
        }
        core
    }

    /// Messages to a group of unknown size cost what the largest group would.
    pub(super) fn grow(&mut self) {
        let corp_id = "corp0".to_owned();
        self.done(Command::PutCorp { corp_id, account_cap: ACCOUNTS_OF_LARGE_CORP });
    }

    pub(super) fn advance_to(&mut self, tick: i64) {
        self.now.at += tick - self.now.tick;
        self.now.tick = tick;
    }

    /// Decides and applies; answers what it led to.
    fn act(&mut self, command: Command) -> (Reply, Vec<Body>) {
        let Decision { drafts, reply, .. } = decide(&self.state, command, self.now, Some(self.process));
        let bodies = drafts.into_iter().map(|draft| self.append(draft.refs, draft.body)).collect();
        (reply, bodies)
    }

    fn append(&mut self, refs: Refs, body: Body) -> Body {
        let (seq, Now { tick, at }) = (self.state.head + 1, self.now);
        let entry = Entry { seq, tick, at, process: Some(self.process), actor: None, refs, body };
        apply(&mut self.state, &entry);
        entry.body
    }

    fn done(&mut self, command: Command) -> Seq {
        match self.act(command).0 {
            Reply::Done { seq, .. } => seq,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for one call, as an app does; its pending, or the limit that refuses it, on record.
    pub(super) fn attempt(&mut self, app: Seq, load: &Load) -> Result<Seq, Refused> {
        let admit = Admit {
            caller: Caller::Secret(self.state.directory.apps[&app].secret),
            app,
            api: load.api.to_owned(),
            method: "POST".to_owned(),
            ask: load.ask.clone(),
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: 10_000,
            request_bytes: 0,
            request_sha256: None,
            once: None,
            line: InLine::default(),
        };
        let (reply, bodies) = self.act(Command::Admit(admit));
        match reply {
            Reply::Admitted { pending, .. } => Ok(pending),
            Reply::Refused(Refusal::Limit { reading, retry_at, recorded, .. }) => {
                let limit = reading.limit.to_string();
                let named = |body: &Body| matches!(body, Body::CallRefused(CallRefused { limit: by, .. }) if *by == limit);
                assert!(recorded || bodies.iter().any(named), "{bodies:?}");
                Err(Refused { limit, used: reading.used, cap: reading.cap, retry_at })
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn settle(&mut self, pending: Seq, errcode: i64) {
        let outcome = Outcome::Posted {
            not_sent: NotSent::default(),
            unreached: NotSent::default(),
            errcode: Some(errcode),
            http_status: 200,
            latency_us: 1,
            response_bytes: 2,
            answer: AnswerNotes::default(),
        };
        let settled = self.act(Command::Settle { pending, outcome, caller: None }).0;
        assert!(matches!(settled, Reply::Settled { .. }), "{settled:?}");
    }

    /// Limits in shadow mode that would have refused the call.
    pub(super) fn shadowed(&self, app: Seq, load: &Load) -> Vec<(String, u64, u64, Option<i64>)> {
        match self.judge(app, load, 1) {
            Judgement::Admitted { shadowed, .. } => {
                let each = shadowed.into_iter();
                each.map(|it| (it.reading.limit.to_string(), it.reading.used, it.reading.cap, it.retry_at))
                    .collect()
            }
            Judgement::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn judge(&self, app: Seq, load: &Load, calls: u64) -> Judgement {
        let corp = self.state.directory.apps[&app].corp;
        let facets = Facets {
            corp,
            app,
            api: self.state.directory.api(load.api).unwrap(),
            api_name: load.api,
            egress_ip: self.state.egress_ip_of(Some(self.process)),
            ..Facets::default()
        };
        self.state.meters.judge(&facets, &Cost { calls, ..Cost::CALL }, ACCOUNTS, self.now)
    }

    /// Many calls at once, by entries that say so: judged by the same meters, but not decided one by one. That is what
    /// makes a cap of a million quick to reach.
    pub(super) fn attempt_many(&mut self, app: Seq, load: &Load, calls: u64) -> Result<(), Refused> {
        if let Judgement::Refused(refusal) = self.judge(app, load, calls) {
            let (reading, retry_at) = (refusal.reading, refusal.retry_at);
            let limit = reading.limit.to_string();
            return Err(Refused { limit, used: reading.used, cap: reading.cap, retry_at });
        }
        let cost = Cost { calls, ..Cost::CALL };
        let refs = Refs {
            corp: Some(self.state.directory.apps[&app].corp),
            app: Some(app),
            api: self.state.directory.api(load.api),
            api_key: None,
        };
        let pending = CallPending {
            method: "POST".to_owned(),
            cost,
            target: Target::default(),
            shadowed: vec![],
            credential: None,
            timeout_ms: 10_000,
            request_bytes: 0,
            request_sha256: None,
            reserved: false,
            retry_of: None,
            once: None,
            told: None,
        };
        self.append(refs, Body::CallPending(pending));
        let posted = CallPosted {
            pending: self.state.head,
            cost,
            unreached: 0,
            errcode: Some(0),
            http_status: 200,
            latency_us: 1,
            response_bytes: 2,
            answer: AnswerNotes::default(),
        };
        self.append(refs, Body::CallPosted(posted));
        Ok(())
    }

    /// What an operator says of the first corp; `article`: whose readings they are.
    pub(super) fn declare(&mut self, unit: &str, amount: i64, article: u64) {
        let unit = serde_json::from_value(unit.into()).unwrap();
        let (corp_id, note) = ("corp0".to_owned(), String::new());
        self.done(Command::Declare { corp_id, agent_id: None, api: None, unit, amount, note, article });
    }

    /// What is used of a limit, if anything is.
    pub(super) fn usage(&self, limit: &str) -> Option<Usage> {
        let filter = Filter { limit: Some(limit), ..Filter::default() };
        let mut usage = self.state.meters.usage(self.now, &filter, |_| ACCOUNTS, |_| "");
        assert!(usage.len() <= 1, "{usage:?}");
        usage.pop()
    }
}
