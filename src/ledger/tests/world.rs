//! Several processes on one log, without threads: each decides on its own state after it has caught up.

use std::collections::BTreeSet;

use crate::ledger::apply::apply;
use crate::ledger::command::{Command, EndedHow, Now, Refusal, Reply, Unauthorized};
use crate::ledger::committer::{decode_snapshot, encode_snapshot};
use crate::ledger::decide::{self, Decision, decide};
use crate::ledger::entry::{Body, Draft, Entry, Seq};
use crate::ledger::{Kind, Row, State};

use super::fold;
use super::machine::Machine;
use super::naive::Naive;
use super::ops::Fate;

#[derive(Default)]
pub(super) struct Process {
    pub(super) state: State,
    pub(super) seq: Option<Seq>,
    pub(super) alive: bool,
    /// Pendings that it knows to answer for.
    answered: BTreeSet<Seq>,
}

pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    pub(super) sealed: BTreeSet<Seq>,
    pub(super) processes: [Process; 3],
    pub(super) naive: Naive,
    snapshot: Option<Vec<u8>>,
    /// The boot in which the last entry was written.
    pub(super) noted_boot: u32,
}

/// Entries while they are put together.
struct Work {
    state: State,
    now: Now,
    process: Option<Seq>,
    entries: Vec<Entry>,
    sealed: Vec<Seq>,
    erased: Vec<Seq>,
}

impl Work {
    fn append(&mut self, drafts: impl IntoIterator<Item = Draft>) {
        for Draft { refs, body, secret } in drafts {
            let (seq, Now { tick, at }) = (self.state.head + 1, self.now);
            let entry = Entry { seq, tick, at, process: self.process, actor: None, refs, body };
            apply(&mut self.state, &entry);
            self.sealed.extend(secret.map(|_| seq));
            self.entries.push(entry);
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            machine: Machine::new(),
            rows: Vec::new(),
            sealed: BTreeSet::new(),
            processes: Default::default(),
            naive: Naive::default(),
            snapshot: None,
            noted_boot: 0,
        };
        world.processes[2].alive = true;
        let create = Command::CreateLedger {
            ledger_id: "model".to_owned(),
            version: "1".to_owned(),
            key_check: [1; 32],
        };
        world.command(2, create, Fate::Acknowledged);
        world
    }

    /// Decides a command as process `who`. No reply: it was not acknowledged.
    pub(super) fn command(&mut self, who: usize, command: Command, fate: Fate) -> Option<Reply> {
        let (mut work, reading) = self.catch_up(who);
        if !self.rows.is_empty() {
            work.append(decide::decide_time(&work.state, &reading));
        }
        let unanswered: Vec<Seq> = work
            .state
            .pendings
            .iter()
            .filter(|(seq, pending)| {
                work.process.is_some()
                    && pending.process == work.process
                    && !self.processes[who].answered.contains(seq)
            })
            .map(|(&seq, _)| seq)
            .collect();
        work.append(decide::decide_abandoned(&work.state, &unanswered.into_iter().collect(), work.now.tick));
        work.append(decide::decide_overdue(&work.state, work.now.tick));
        self.publish(&mut work, Fate::Acknowledged);
        let waits = matches!(&command, Command::Admit(admit) if admit.line.waits);
        let before = work.state.clone();
        let Decision { drafts, erase, reply, .. } = decide(&work.state, command, work.now, work.process);
        work.append(drafts);
        work.erased = erase;
        nothing_changed(&before, &work, &reply);
        if waits && reply != Reply::Refused(Refusal::Unauthorized(Unauthorized::NotAllowed)) {
            assert!(!work.entries.iter().any(|entry| matches!(entry.body, Body::CallRefused(_))));
        }
        self.publish(&mut work, fate);
        if fate != Fate::Acknowledged {
            self.processes[who].state = fold(&self.rows);
            return None;
        }
        if let Reply::Admitted { pending, .. } | Reply::Fetch { pending, .. } = &reply {
            self.processes[who].answered.insert(*pending);
        }
        self.processes[who].state = work.state;
        Some(reply)
    }

    fn catch_up(&mut self, who: usize) -> (Work, decide::ClockReading) {
        let process = &mut self.processes[who];
        assert!(process.alive);
        let mut state = process.state.clone();
        for row in &self.rows[state.head as usize..] {
            apply(&mut state, &row.entry().unwrap());
        }
        let reading = self.machine.reading();
        let now = decide::now(&state, &reading);
        let process = process.seq;
        (Work { state, now, process, entries: vec![], sealed: vec![], erased: vec![] }, reading)
    }

    /// Makes the entries durable, or not.
    fn publish(&mut self, work: &mut Work, fate: Fate) {
        let entries = std::mem::take(&mut work.entries);
        if fate == Fate::Lost {
            return;
        }
        if !entries.is_empty() {
            self.noted_boot = self.machine.boot;
        }
        for entry in entries {
            let row = Row::of(&entry);
            assert_eq!(row.entry().unwrap(), entry);
            self.naive.observe(&entry, self.machine.real);
            self.rows.push(row);
        }
        self.sealed.extend(work.sealed.drain(..));
        for seq in work.erased.drain(..) {
            self.sealed.remove(&seq);
        }
        let allowed = self.naive.tokens.may_be_sealed();
        assert!(self.sealed.is_subset(&allowed), "left behind: {:?}, {allowed:?}", self.sealed);
        for app in self.naive.tokens.apps.values().filter(|app| !app.removed) {
            let needed = app.tokens.last().map(|token| token.seq).into_iter().chain([app.secret]);
            assert!(needed.clone().all(|seq| self.sealed.contains(&seq)), "{app:?} lacks a secret");
        }
    }

    /// A process begins; what it was before is forgotten.
    pub(super) fn start(&mut self, who: usize, fate: Fate) {
        self.processes[who] = Process { alive: true, ..Process::default() };
        let start = Command::StartProcess {
            instance: format!("process-{who}-{}", self.rows.len()),
            pid: 1,
            egress_ip: format!("192.0.2.{who}"),
            version: "1".to_owned(),
            learn_caps_after: Some(2),
            webhook: true,
        };
        let reply = self.command(who, start, fate);
        match reply {
            Some(Reply::Done { seq, .. }) => self.processes[who].seq = Some(seq),
            _ => self.processes[who].alive = false,
        }
    }

    /// Notices every process that has died.
    pub(super) fn bury(&mut self, who: usize, fate: Fate) {
        let living: Vec<Seq> = self.processes.iter().filter(|p| p.alive).filter_map(|p| p.seq).collect();
        let dead: Vec<Seq> = fold(&self.rows).processes.into_keys().filter(|p| !living.contains(p)).collect();
        for process in dead {
            self.command(who, Command::EndProcess { process, how: EndedHow::Died }, fate);
        }
    }

    pub(super) fn take_snapshot(&mut self, who: usize) {
        let state = &self.processes[who].state;
        if let Some(last) = state.head.checked_sub(1).and_then(|at| self.rows.get(at as usize)) {
            let bytes = encode_snapshot(state, last).unwrap();
            assert_eq!(decode_snapshot(&bytes).expect("every snapshot can be read").1, *state);
            self.snapshot = Some(bytes);
        }
    }

    /// Goes on from the snapshot.
    pub(super) fn restore(&mut self, who: usize) {
        if let Some(bytes) = &self.snapshot {
            self.processes[who].state = decode_snapshot(bytes).expect("every snapshot can be read").1;
        }
    }

    /// I6: whoever has caught up has the state that all entries fold to, and the model agrees.
    pub(super) fn everybody_agrees(&mut self) {
        let all = fold(&self.rows);
        for who in (0..3).filter(|&who| self.processes[who].alive).collect::<Vec<_>>() {
            assert_eq!(self.catch_up(who).0.state, all);
        }
        let pendings: Vec<Seq> = self.naive.pendings().map(|call| call.seq).collect();
        assert_eq!(all.pendings.keys().copied().collect::<Vec<_>>(), pendings);
        assert_eq!(all.deadlines.len(), pendings.len());
        self.naive.no_window_is_exceeded(self.machine.real);
    }
}

/// I9: what is refused leaves nothing behind but a refusal, and the name of an API that was new.
fn nothing_changed(before: &State, work: &Work, reply: &Reply) {
    let kinds: Vec<Kind> = work.entries.iter().map(|entry| entry.body.kind()).collect();
    match reply {
        Reply::Refused(Refusal::Limit { .. } | Refusal::Blocked { .. } | Refusal::Unauthorized(_)) => {
            assert!(kinds.iter().all(|kind| matches!(kind, Kind::CallRefused | Kind::ApiNamed)), "{kinds:?}");
        }
        Reply::Refused(_) | Reply::Rejected(_) | Reply::Have { .. } | Reply::Wait => {
            assert!(kinds.is_empty(), "{kinds:?} after {reply:?}");
        }
        Reply::Done { changed, .. } => assert_eq!(*changed, !kinds.is_empty(), "{kinds:?} after {reply:?}"),
        _ => return,
    }
    if !matches!(reply, Reply::Done { .. }) {
        let (a, b) = (before, &work.state);
        assert_eq!((&a.pendings, &a.limits, &a.processes), (&b.pendings, &b.limits, &b.processes));
        assert_eq!((&a.directory.apps, &a.directory.api_keys), (&b.directory.apps, &b.directory.api_keys));
    }
}
