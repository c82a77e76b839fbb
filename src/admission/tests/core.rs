//! The real decisions on the real state, in memory and in virtual time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admission::{Admission, Decider};
use crate::ledger::apply::apply;
use crate::ledger::command::{ApiKeyChange, ApiKeyTerms, Command, NotSent, Now, Outcome, Reply};
use crate::ledger::decide::{Decision, decide};
use crate::ledger::directory::Directory;
use crate::ledger::entry::{AnswerNotes, Body, Entry, Plain, Priority, Scope, Seq};
use crate::ledger::room::gives_room;
use crate::ledger::{LedgerError, State};

pub(super) const LIMIT: &str = "corp-api-minute";

/// How long it takes until an answer is on disk.
const COMMIT: Duration = Duration::from_millis(2);

pub(super) struct Inside {
    pub(super) state: State,
    pub(super) entries: Vec<Entry>,
    /// Refusals that were only counted.
    pub(super) repeats: usize,
    /// How often an admission was asked for.
    pub(super) asks: usize,
}

pub(super) struct Core {
    inside: Mutex<Inside>,
    room: watch::Sender<u64>,
    begun: Instant,
    pub(super) app: Seq,
}

impl Core {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(super) fn act(&self, command: Command) -> Reply {
        let tick = self.tick();
        let mut inside = self.inside();
        inside.asks += usize::from(matches!(command, Command::Admit(_)));
        let now = Now { tick, at: 1_790_000_000_000 + tick };
        let Decision { drafts, repeat, reply, .. } = decide(&inside.state, command, now, None);
        inside.repeats += usize::from(repeat.is_some());
        let mut room = false;
        for draft in drafts {
            let (seq, refs, body) = (inside.state.head + 1, draft.refs, draft.body);
            let entry = Entry { seq, tick, at: now.at, process: None, actor: None, refs, body };
            room |= gives_room(&inside.state, &entry.body);
            apply(&mut inside.state, &entry);
            inside.entries.push(entry);
        }
        drop(inside);
        if room {
            self.room.send_modify(|given| *given += 1);
        }
        reply
    }

    fn done(&self, command: Command) -> Seq {
        match self.act(command) {
            Reply::Done { seq, changed: true } => seq,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn set_cap(&self, cap: u64) {
        let (corp_id, limit) = ("corp".to_owned(), LIMIT.to_owned());
        self.done(Command::PutCap { corp_id, limit, cap: Some(cap) });
    }

    pub(super) fn key(&self, number: u8, priority: Priority) -> Seq {
        let (name, scopes, fingerprint) = (format!("key {number}"), vec![Scope::Call], [number; 32]);
        let terms = ApiKeyTerms { name, scopes, priority, ..ApiKeyTerms::default() };
        self.done(Command::CreateApiKey { terms, fingerprint })
    }

    pub(super) fn change(&self, api_key: Seq, change: ApiKeyChange) {
        self.done(Command::SetApiKey { api_key, change });
    }

    pub(super) fn posted(&self, pending: Seq) {
        self.answered(pending, 0);
    }

    /// What WeCom said.
    pub(super) fn answered(&self, pending: Seq, errcode: i64) {
        let outcome = Outcome::Posted {
            not_sent: NotSent::default(),
            unreached: NotSent::default(),
            errcode: Some(errcode),
            http_status: 200,
            latency_us: 1,
            response_bytes: 1,
            answer: AnswerNotes::default(),
        };
        self.act(Command::Settle { pending, outcome, caller: None });
    }

    pub(super) fn voided(&self, pending: Seq) {
        let outcome = Outcome::Voided { reason: "not sent".to_owned() };
        self.act(Command::Settle { pending, outcome, caller: None });
    }

    /// The block that WeCom's last 45009 began.
    pub(super) fn penalty(&self) -> Seq {
        let inside = self.inside();
        let mut entries = inside.entries.iter().rev();
        entries.find(|entry| matches!(entry.body, Body::PenaltyStarted(_))).unwrap().seq
    }

    /// The calls that were admitted, as (tick, API key, id), in order.
    pub(super) fn admitted(&self) -> Vec<(i64, Seq, u64)> {
        let inside = self.inside();
        let calls = inside.entries.iter().filter_map(|entry| match &entry.body {
            Body::CallPending(x) => Some((entry.tick, entry.refs.api_key.unwrap(), x.request_bytes)),
            _ => None,
        });
        calls.collect()
    }

    /// How many refusals are on record.
    pub(super) fn refusals(&self) -> usize {
        let inside = self.inside();
        let on_record = inside.entries.iter().filter(|entry| matches!(entry.body, Body::CallRefused(_)));
        on_record.count() + inside.repeats
    }
}

impl Decider for Arc<Core> {
    async fn decide(&self, command: Command) -> Result<Reply, LedgerError> {
        let reply = self.act(command);
        tokio::time::sleep(COMMIT).await;
        Ok(reply)
    }

    fn tick(&self) -> i64 {
        Core::tick(self)
    }

    fn room(&self) -> watch::Receiver<u64> {
        self.room.subscribe()
    }

    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.inside().state.directory)
    }

    fn abandon(&self, pending: Seq) {
        panic!("nobody waits for call {pending}");
    }
}

impl Core {
    fn tick(&self) -> i64 {
        self.begun.elapsed().as_millis() as i64
    }
}

/// A corp with one app, and so many calls a minute.
pub(super) fn core(cap: u64) -> (Arc<Core>, Arc<Admission<Arc<Core>>>) {
    let inside = Inside { state: State::default(), entries: vec![], repeats: 0, asks: 0 };
    let (inside, room) = (Mutex::new(inside), watch::Sender::new(0));
    let mut core = Core { inside, room, begun: Instant::now(), app: 0 };
    let (ledger_id, version) = ("test".to_owned(), "1".to_owned());
    core.done(Command::CreateLedger { ledger_id, version, key_check: [1; 32] });
    let (corp_id, agent_id) = ("corp".to_owned(), "1".to_owned());
    core.done(Command::PutCorp { corp_id: corp_id.clone(), account_cap: 100 });
    let secret = Plain(Arc::new(SecretString::from("secret".to_owned())));
    core.app = core.done(Command::PutApp { corp_id, agent_id, secret, fingerprint: [2; 32] });
    core.set_cap(cap);
    let core = Arc::new(core);
    let admission = Admission::new(Arc::clone(&core));
    (core, admission)
}
