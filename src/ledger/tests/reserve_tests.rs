//! What is reserved for critical calls is there for them, and nobody else gets it.

use proptest::prelude::*;

use crate::ledger::command::{
    Admit, ApiKeyTerms, Ask, Caller, Command, InLine, NotSent, Outcome, Refusal, Reply,
};
use crate::ledger::entry::{AnswerNotes, Priority, Scope, Seq};
use crate::quota::Rule;

use super::config;
use super::ops::Fate;
use super::rule_tests::{act, world};
use super::world::World;

const LIMIT: &str = "corp-api-minute";
const API: &str = "message/send";
const PRIORITIES: [Priority; 3] = [Priority::Critical, Priority::Normal, Priority::Batch];

#[derive(Debug, Clone)]
enum Op {
    /// Of the key with this priority.
    Admit(usize),
    Settle(usize, u8),
    Wait(i64),
    Reserve(u8),
    Cap(u64),
    Kill,
    Start,
    /// Notices dead processes.
    Bury,
}

#[derive(Debug, Clone)]
struct Step {
    who: usize,
    op: Op,
    fate: Fate,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = prop_oneof![
        20 => (0..3_usize).prop_map(Op::Admit),
        9 => (0..64_usize, 0..4_u8).prop_map(|(which, how)| Op::Settle(which, how)),
        5 => (0..25_000_i64).prop_map(Op::Wait),
        1 => (55_000..65_000_i64).prop_map(Op::Wait),
        2 => prop_oneof![Just(0_u8), 1..=90_u8].prop_map(Op::Reserve),
        2 => (0..14_u64).prop_map(Op::Cap),
        1 => Just(Op::Kill),
        2 => Just(Op::Start),
        1 => Just(Op::Bury),
    ];
    let fate = prop_oneof![12 => Just(Fate::Acknowledged), 1 => Just(Fate::Lost), 1 => Just(Fate::Unknown)];
    let step = (0..2_usize, op, fate).prop_map(|(who, op, fate)| Step { who, op, fate });
    proptest::collection::vec(step, 1..200)
}

/// The ledger, and what the model knows besides the calls.
struct Shop {
    world: World,
    app: Seq,
    keys: [Seq; 3],
    percent: u8,
}

impl Shop {
    fn new() -> Self {
        let (mut world, [app, _]) = world();
        world.start(1, Fate::Acknowledged);
        let keys = PRIORITIES.map(|priority| {
            let (name, fingerprint) = ("key".to_owned(), [priority as u8 + 1; 32]);
            let (scopes, apps, apis) = (vec![Scope::Call], vec![], vec![]);
            let terms = ApiKeyTerms { name, scopes, apps, apis, priority, own: vec![] };
            let create = Command::CreateApiKey { terms, fingerprint };
            match act(&mut world, create) {
                Reply::Done { seq, .. } => seq,
                other => panic!("{other:?}"),
            }
        });
        let mut shop = Self { world, app, keys, percent: 0 };
        for op in [Op::Cap(8), Op::Reserve(25)] {
            shop.step(&Step { who: 0, op, fate: Fate::Acknowledged });
        }
        shop
    }

    fn step(&mut self, Step { who, op, fate }: &Step) {
        let (who, fate) = (*who, *fate);
        match *op {
            Op::Wait(ms) => self.world.machine.real += ms,
            Op::Kill => self.world.processes[who].alive = false,
            Op::Start => self.world.start(who, fate),
            _ if !self.world.processes[who].alive => {}
            Op::Bury => self.world.bury(who, fate),
            Op::Cap(cap) => {
                let (corp_id, limit) = ("corp".to_owned(), LIMIT.to_owned());
                self.world.command(who, Command::PutCap { corp_id, limit, cap: Some(cap) }, fate);
            }
            Op::Reserve(percent) => {
                let reserve = Command::PutReserve { limit: Some(LIMIT.to_owned()), percent };
                self.world.command(who, reserve, fate);
                if fate != Fate::Lost {
                    self.percent = percent;
                }
            }
            Op::Settle(which, how) => self.settle(who, which, how, fate),
            Op::Admit(by) => self.admit(who, by, fate),
        }
    }

    fn settle(&mut self, who: usize, which: usize, how: u8, fate: Fate) {
        let pendings: Vec<Seq> = self.world.naive.pendings().map(|call| call.seq).collect();
        let Some(&pending) = pendings.get(which % pendings.len().max(1)) else { return };
        let outcome = match how {
            0 => Outcome::Voided { reason: "not sent".to_owned() },
            1 => Outcome::Expired { reason: "broken".to_owned() },
            _ => Outcome::Posted {
                not_sent: NotSent::default(),
                unreached: NotSent::default(),
                errcode: Some(0),
                http_status: 200,
                latency_us: 1,
                response_bytes: 1,
                answer: AnswerNotes::default(),
            },
        };
        self.world.command(who, Command::Settle { pending, outcome, caller: None }, fate);
    }

    fn admit(&mut self, who: usize, by: usize, fate: Fate) {
        let admit = Command::Admit(Admit {
            caller: Caller::Key(self.keys[by]),
            app: self.app,
            api: API.to_owned(),
            method: "POST".to_owned(),
            ask: Ask::default(),
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: 30_000,
            request_bytes: 1,
            request_sha256: None,
            once: None,
            line: InLine::default(),
        });
        if let Some(reply) = self.world.command(who, admit, fate) {
            self.expected(who, PRIORITIES[by], &reply);
        }
    }

    /// The model has seen the call already, if it was admitted.
    fn expected(&self, who: usize, priority: Priority, reply: &Reply) {
        let state = &self.world.processes[who].state;
        let tick = crate::ledger::decide::now(state, &self.world.machine.reading()).tick;
        let api = state.directory.api(API).unwrap();
        let corp = state.directory.corp_by_id["corp"];
        let (used, cap) = self.world.naive.usage(corp, api, None, LIMIT, Rule::Limit, tick).unwrap();
        // Rounded up: a reserve of one percent is one call. But less than all leaves one for others.
        let reserved = (cap * u64::from(self.percent)).div_ceil(100);
        let reserved = if self.percent < 100 { reserved.min(cap.saturating_sub(1)) } else { reserved };
        let allowed = if priority == Priority::Critical { cap } else { cap - reserved };
        match reply {
            Reply::Admitted { .. } => assert!(used <= allowed, "{priority:?}: {used} of {allowed} of {cap}"),
            Reply::Refused(Refusal::Limit { reading, .. }) => {
                assert!(used + 1 > allowed, "{priority:?} refused at {used} of {allowed} of {cap}");
                assert!(reading.rule == Rule::Limit || priority != Priority::Critical, "{reading:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn no_critical_call_is_refused_while_its_reserve_is_free_and_no_other_call_takes_it(steps in steps()) {
        let mut shop = Shop::new();
        for step in &steps {
            shop.step(step);
        }
        shop.world.everybody_agrees();
    }
}
