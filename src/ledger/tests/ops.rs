//! Random steps of the model.

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Wait(i64),
    WallStep(i64),
    /// Everything dies, the machine is off for a while, and its wall clock was set meanwhile.
    Reboot {
        off: i64,
        ahead: i64,
    },
    Kill,
    Start,
    /// Notices dead processes.
    Bury,
    Drain,
    PutCorp(usize, u64),
    RemoveCorp(usize),
    PutApp(usize, u8),
    ResetApp(usize),
    RemoveApp(usize),
    CreateKey {
        limited_to: Option<usize>,
    },
    SetKey(usize, u8),
    Cap(usize, bool, Option<u64>),
    /// What an API key may use of a limit: a cap, or a share.
    Own(usize, bool, Option<u64>, bool),
    /// Takes a learned cap back.
    RestoreCap(usize),
    Operator(bool),
    Admit {
        by: usize,
        app: usize,
        api: usize,
        needs_credential: bool,
        timeout_ms: u32,
    },
    /// Any call ever made: pending, expired (then the answer is late) or settled already.
    Settle(usize, u8),
    SettleForeign(usize, usize),
    BeginFetch(usize, bool),
    /// A fetch from beginning to end.
    Fetch(usize, u8),
    EndFetch(usize, u8),
    /// The newest row of an app, or one before it.
    Invalidate(usize, usize),
    Issue {
        by: usize,
        app: usize,
    },
    Flush,
    Refold,
    Snapshot,
    Restore,
}

/// What becomes of the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Acknowledged,
    /// Nothing was written.
    Lost,
    /// It was written, but the writer did not learn it.
    Unknown,
}

#[derive(Clone)]
pub(super) struct Step {
    /// Two processes and the command line.
    pub(super) who: usize,
    pub(super) op: Op,
    pub(super) fate: Fate,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} ({:?})", self.who, self.op, self.fate)
    }
}

fn time() -> impl Strategy<Value = Op> {
    let ahead = prop_oneof![-4_000_000..4_000_000_i64, Just(0), Just(i64::MAX / 4)];
    prop_oneof![
        12 => (0..400_i64).prop_map(Op::Wait),
        6 => (0..20_000_i64).prop_map(Op::Wait),
        2 => (50_000..70_000_i64).prop_map(Op::Wait),
        1 => (0..4_000_000_i64).prop_map(Op::Wait),
        2 => (-4_000_000..4_000_000_i64).prop_map(Op::WallStep),
        1 => (0..4_000_000_i64, ahead).prop_map(|(off, ahead)| Op::Reboot { off, ahead }),
    ]
}

fn admin() -> impl Strategy<Value = Op> {
    let app = 0..4_usize;
    prop_oneof![
        1 => (0..2_usize, 0..3_u64).prop_map(|(corp, accounts)| Op::PutCorp(corp, accounts)),
        1 => (0..2_usize).prop_map(Op::RemoveCorp),
        4 => (app.clone(), 0..3_u8).prop_map(|(app, secret)| Op::PutApp(app, secret)),
        2 => app.clone().prop_map(Op::ResetApp),
        1 => app.clone().prop_map(Op::RemoveApp),
        2 => proptest::option::of(app).prop_map(|limited_to| Op::CreateKey { limited_to }),
        1 => (0..8_usize, 0..6_u8).prop_map(|(key, change)| Op::SetKey(key, change)),
        4 => (0..2_usize, any::<bool>(), proptest::option::of(0..9_u64))
            .prop_map(|(corp, hour, cap)| Op::Cap(corp, hour, cap)),
        1 => any::<bool>().prop_map(Op::Operator),
        3 => (0..8_usize, any::<bool>(), proptest::option::of(1..6_u64), any::<bool>())
            .prop_map(|(key, hour, number, share)| Op::Own(key, hour, number, share)),
        1 => (0..4_usize).prop_map(Op::RestoreCap),
    ]
}

fn process() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Kill),
        Just(Op::Start),
        Just(Op::Start),
        Just(Op::Bury),
        Just(Op::Drain),
        Just(Op::Refold),
        Just(Op::Snapshot),
        Just(Op::Restore),
    ]
}

fn traffic() -> impl Strategy<Value = Op> {
    let which = 0..64_usize;
    let admit = (0..8_usize, 0..4_usize, 0..3_usize, any::<bool>(), 1..40_000_u32).prop_map(
        |(by, app, api, needs, timeout_ms)| {
            let needs_credential = needs && api != 2;
            Op::Admit { by, app, api, needs_credential, timeout_ms }
        },
    );
    prop_oneof![
        12 => admit,
        8 => (which.clone(), 0..8_u8).prop_map(|(which, how)| Op::Settle(which, how)),
        1 => (which, 0..8_usize).prop_map(|(which, by)| Op::SettleForeign(which, by)),
        5 => (0..4_usize, any::<bool>()).prop_map(|(app, refresh)| Op::BeginFetch(app, refresh)),
        6 => (0..8_usize, 0..10_u8).prop_map(|(which, how)| Op::EndFetch(which, how)),
        4 => (0..4_usize, 0..10_u8).prop_map(|(app, how)| Op::Fetch(app, how)),
        5 => (0..4_usize, 0..3_usize).prop_map(|(app, back)| Op::Invalidate(app, back)),
        3 => (0..8_usize, 0..4_usize).prop_map(|(by, app)| Op::Issue { by, app }),
        1 => Just(Op::Flush),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = prop_oneof![5 => time(), 2 => admin(), 1 => process(), 10 => traffic()];
    let fate = prop_oneof![12 => Just(Fate::Acknowledged), 1 => Just(Fate::Lost), 1 => Just(Fate::Unknown)];
    let step = (prop_oneof![4 => 0..2_usize, 1 => Just(2_usize)], op, fate)
        .prop_map(|(who, op, fate)| Step { who, op, fate });
    proptest::collection::vec(step, 1..260)
}
