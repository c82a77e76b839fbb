//! A naive model of the meters for tests: a list of all calls ever, recounted at each step.

use proptest::prelude::*;

use super::*;

pub(super) const ACCOUNT_CAP: u64 = 7;

/// Wall time that goes with ledger time.
pub(super) fn at(tick: i64) -> Moment {
    Moment { tick, at: tick }
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Wait(i64),
    Call {
        corp: u64,
        api: u64,
        ip: u64,
        persons: u64,
    },
    /// `which` of the calls in flight; `spared` person-times turn out not to be spent.
    Post {
        which: usize,
        spared: u64,
    },
    /// Settles later than now.
    Expire {
        which: usize,
        margin: i64,
    },
    Void {
        which: usize,
    },
    Prune,
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..12_i64).prop_map(Op::Wait),
        1 => (0..1_500_i64).prop_map(Op::Wait),
        8 => (1..3_u64, 1..3_u64, 1..3_u64, 0..4_u64)
            .prop_map(|(corp, api, ip, persons)| Op::Call { corp, api, ip, persons }),
        5 => (0..64_usize, 0..3_u64).prop_map(|(which, spared)| Op::Post { which, spared }),
        1 => (0..64_usize, 0..400_i64).prop_map(|(which, margin)| Op::Expire { which, margin }),
        1 => (0..64_usize).prop_map(|which| Op::Void { which }),
        1 => Just(Op::Prune),
        1 => Just(Op::Reload),
    ]
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..250)
}

pub(super) fn profile() -> impl Strategy<Value = Profile> {
    (10..1_500_i64, 500..5_000_i64, 1..6_u64, 4..20_u64).prop_map(|(short, long, few, many)| {
        let corp_api = Scope::of(&[Dimension::Corp, Dimension::Api]);
        let ip_api = Scope::of(&[Dimension::EgressIp, Dimension::Api]);
        let limit = |name: &str, apis, scope, unit, ms, cap| Limit {
            name: name.into(),
            apis,
            except: Apis::default(),
            free_if_ok: Apis::default(),
            scope,
            unit,
            window: Window::Sliding { ms },
            cap,
            mode: Mode::Enforce,
            operator: None,
            source: "made up".to_owned(),
            note: None,
        };
        let to_all = Scope::of(&[]);
        let send = || Apis::listed(["api1"]);
        let limits = vec![
            limit("short", Apis::all(), corp_api, Unit::Calls, short, Cap::Fixed(few)),
            limit("long", Apis::all(), corp_api, Unit::Calls, long, Cap::Fixed(many)),
            limit("ip", Apis::listed(["api*"]), ip_api, Unit::Calls, short, Cap::Fixed(few + 2)),
            limit(
                "persons",
                send(),
                Scope::of(&[Dimension::Corp]),
                Unit::PersonTimes,
                long,
                Cap::PerAccount(2),
            ),
            limit("everything", Apis::all(), to_all, Unit::Calls, long, Cap::Fixed(2 * many)),
        ];
        Profile { name: "model".to_owned(), zone_offset_minutes: 480, limits }
    })
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) corp: u64,
    pub(super) api: u64,
    pub(super) ip: u64,
    pub(super) cost: Cost,
    pub(super) pending: i64,
    pub(super) settled: Option<i64>,
}

pub(super) const NAMES: [&str; 3] = ["api0", "api1", "api2"];

impl Call {
    pub(super) fn facets(&self) -> Facets<'static> {
        let api_name = NAMES[self.api as usize];
        Facets {
            corp: self.corp,
            app: 1,
            api: self.api,
            api_name,
            egress_ip: self.ip,
            api_key: 1,
            ..Facets::default()
        }
    }

    pub(super) fn shares_key(&self, limit: &Limit, other: &Self) -> bool {
        limit.apis.matches(NAMES[self.api as usize])
            && limit.apis.matches(NAMES[other.api as usize])
            && (!limit.scope.has(Dimension::Corp) || self.corp == other.corp)
            && (!limit.scope.has(Dimension::Api) || self.api == other.api)
            && (!limit.scope.has(Dimension::EgressIp) || self.ip == other.ip)
    }
}

pub(super) struct World {
    pub(super) meters: Meters,
    pub(super) now: i64,
    pub(super) calls: Vec<Call>,
    pub(super) judgements: Vec<Judgement>,
}

impl World {
    pub(super) fn new(profile: &Profile) -> Self {
        let meters = Meters::new(profile).unwrap();
        Self { meters, now: 1_000_003, calls: Vec::new(), judgements: Vec::new() }
    }

    pub(super) fn run(profile: &Profile, ops: &[Op]) -> Self {
        let mut world = Self::new(profile);
        for op in ops {
            world.step(op);
        }
        world
    }

    pub(super) fn step(&mut self, op: &Op) {
        match *op {
            Op::Wait(ms) => self.now += ms,
            Op::Call { corp, api, ip, persons } => self.call(corp, api, ip, persons),
            Op::Post { which, spared } => self.settle(which, spared, 0),
            Op::Expire { which, margin } => self.settle(which, 0, margin),
            Op::Void { which } => {
                if let Some(at) = self.in_flight(which) {
                    let call = self.calls.remove(at);
                    self.meters.give_back(&call.facets(), &call.cost);
                }
            }
            Op::Prune => self.meters.prune(at(self.now)),
            Op::Reload => {
                let bytes = postcard::to_stdvec(&self.meters).unwrap();
                let reloaded: Meters = postcard::from_bytes(&bytes).unwrap();
                assert_eq!(reloaded, self.meters);
                self.meters = reloaded;
            }
        }
    }

    fn call(&mut self, corp: u64, api: u64, ip: u64, persons: u64) {
        let cost = Cost { person_times: persons, ..Cost::CALL };
        let call = Call { corp, api, ip, cost, pending: self.now, settled: None };
        let judgement = self.meters.judge(&call.facets(), &cost, ACCOUNT_CAP, at(self.now));
        if judgement.is_admitted() {
            self.meters.take(&call.facets(), &cost, at(self.now));
            self.calls.push(call);
        }
        self.judgements.push(judgement);
    }

    fn in_flight(&self, which: usize) -> Option<usize> {
        let open: Vec<usize> = (0..self.calls.len()).filter(|i| self.calls[*i].settled.is_none()).collect();
        (!open.is_empty()).then(|| open[which % open.len()])
    }

    fn settle(&mut self, which: usize, spared: u64, margin: i64) {
        let Some(found) = self.in_flight(which) else { return };
        let call = &mut self.calls[found];
        let reserved = call.cost;
        call.cost.person_times = reserved.person_times.saturating_sub(spared);
        call.settled = Some(self.now + margin);
        self.meters.settle(&call.facets(), &reserved, &call.cost, at(self.now + margin), true);
    }

    /// Recounts; `occupies` tells whether a call that settled at a tick still counts.
    pub(super) fn count(&self, limit: &Limit, like: &Call, occupies: impl Fn(i64) -> bool) -> u64 {
        let counts = |call: &&Call| call.shares_key(limit, like) && call.settled.is_none_or(&occupies);
        self.calls.iter().filter(counts).map(|call| call.cost.of(limit.unit)).sum()
    }

    /// By the rule of the buckets: until one window after the end of the bucket of the settlement.
    pub(super) fn bucketed(&self, limit: &Limit, like: &Call) -> u64 {
        let window = limit.window.longest_ms().unwrap();
        let width = (window / 100).max(1);
        self.count(limit, like, |settled| self.now < settled - settled % width + width + window)
    }
}

/// A call of every possible key, as something to compare with.
pub(super) fn every_key() -> impl Iterator<Item = Call> {
    let cost = Cost { person_times: 1, ..Cost::CALL };
    let key = move |i: u64| Call {
        corp: 1 + i % 2,
        api: 1 + i / 2 % 2,
        ip: 1 + i / 4 % 2,
        cost,
        pending: 0,
        settled: None,
    };
    (0..8).map(key)
}
