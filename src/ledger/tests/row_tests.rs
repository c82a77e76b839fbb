//! Entries as rows and as canonical lines.

use proptest::prelude::*;
use serde_json::Value;

use crate::ledger::apply::apply;
use crate::ledger::canonical::{Names, line};
use crate::ledger::committer::{decode_snapshot, encode_snapshot};
use crate::ledger::entry::*;
use crate::ledger::{Kind, Row, State};
use crate::quota::{Cost, Day, Operator, Rule, Unit};

use super::config;

/// The fields that every line has, then those that may follow, in this order.
const COMMON: &[&str] = &[
    "seq",
    "at",
    "kind",
    "corp_id",
    "agent_id",
    "api",
    "api_key_id",
    "pending_seq",
    "cost",
    "errcode",
    "tick",
];
const OTHERS: &[&str] = &[
    "process",
    "method",
    "credential_seq",
    "timeout_ms",
    "http_status",
    "latency_us",
    "request_bytes",
    "response_bytes",
    "request_sha256",
];

struct NoNames;

impl Names for NoNames {
    fn corp_id(&self, _: Seq) -> Option<&str> {
        Some("c\"orp")
    }

    fn agent_id(&self, _: Seq) -> Option<&str> {
        None
    }

    fn api(&self, _: Seq) -> Option<&str> {
        Some("message/send")
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{0,12}", Just("\"},{\"seq\":1,\u{1}\n\u{0}\u{2028}😀\\".to_owned())]
}

fn seq() -> impl Strategy<Value = Seq> {
    1..(i64::MAX as u64)
}

fn rule() -> impl Strategy<Value = Rule> {
    proptest::sample::select(&[Rule::Limit, Rule::Share, Rule::Own, Rule::Reserve, Rule::Learned])
}

fn rules() -> impl Strategy<Value = Vec<OwnRule>> {
    let numbers = (proptest::option::of(any::<u64>()), proptest::option::of(any::<u8>()));
    let rule = (text(), numbers).prop_map(|(limit, (cap, max_share_percent))| OwnRule {
        limit,
        cap,
        max_share_percent,
    });
    proptest::collection::vec(rule, 0..3)
}

fn introducing() -> impl Strategy<Value = Body> {
    let scopes = proptest::sample::subsequence(Scope::NAMES.to_vec(), 0..6)
        .prop_map(|names| names.into_iter().map(|(_, scope)| scope).collect::<Vec<_>>());
    let texts = proptest::collection::vec(text(), 0..3);
    let priority = || proptest::sample::select(Priority::NAMES).prop_map(|(_, priority)| priority);
    let apps = proptest::collection::vec(seq(), 0..3);
    let key = (text(), scopes, apps, texts, any::<[u8; 32]>(), priority(), rules());
    let own = (proptest::option::of(seq()), text(), any::<u64>())
        .prop_map(|(corp, limit, cap)| CapOverride { corp, limit, cap });
    prop_oneof![
        (text(), text()).prop_map(|(ledger_id, version)| {
            Body::LedgerCreated(LedgerCreated { ledger_id, version, key_check: [7; 32] })
        }),
        (text(), any::<i64>())
            .prop_map(|(boot_id, offset_ms)| Body::ClockBooted(ClockBooted { boot_id, offset_ms })),
        any::<i64>().prop_map(|step_ms| Body::ClockStepped(ClockStepped { step_ms })),
        (text(), any::<u32>(), text(), text(), proptest::option::of(any::<u8>()), any::<bool>()).prop_map(
            |(instance, pid, egress_ip, version, learn_caps_after, webhook)| {
                Body::ProcessStarted(ProcessStarted {
                    instance,
                    pid,
                    egress_ip,
                    version,
                    learn_caps_after,
                    webhook,
                })
            }
        ),
        (seq(), text()).prop_map(|(ended, how)| Body::ProcessEnded(ProcessEnded { ended, how })),
        text().prop_map(|reason| Body::StoreRecovered(StoreRecovered { reason })),
        (text(), any::<bool>()).prop_map(|(name, known)| Body::ApiNamed(ApiNamed { name, known })),
        (text(), any::<u64>()).prop_map(|(id, account_cap)| Body::CorpPut(CorpPut { id, account_cap })),
        (text(), any::<[u8; 32]>())
            .prop_map(|(id, secret_fingerprint)| Body::AppPut(AppPut { id, secret_fingerprint })),
        key.prop_map(|(name, scopes, apps, apis, fingerprint, priority, own)| {
            Body::ApiKeyCreated(ApiKeyCreated { name, scopes, apps, apis, fingerprint, priority, own })
        }),
        (proptest::option::of(priority()), rules())
            .prop_map(|(priority, own)| Body::ApiKeySet(ApiKeySet { priority, own })),
        (text(), any::<bool>(), proptest::collection::vec(own, 0..3)).prop_map(
            |(profile, one, overrides)| {
                let operator = if one { Operator::Corp } else { Operator::Provider };
                Body::LimitsPut(LimitsPut {
                    profile,
                    operator,
                    overrides,
                    alert_at: vec![80],
                    own_profile: None,
                    reserves: Vec::new(),
                })
            }
        ),
        proptest::sample::select(vec![
            Body::CorpRemoved,
            Body::AppReset,
            Body::AppRemoved,
            Body::ApiKeyRevoked,
            Body::ApiKeyPaused,
            Body::ApiKeyResumed,
        ]),
    ]
}

fn cost() -> impl Strategy<Value = Cost> {
    let more = proptest::option::of((any::<u64>(), any::<u64>(), 0..3_u64, 0..3_u64, 0..3_u64));
    (any::<u64>(), more).prop_map(|(calls, more)| {
        let (person_times, accounts, apps, domains, reads) = more.unwrap_or_default();
        Cost { calls, person_times, accounts, apps, domains, reads }
    })
}

fn target() -> impl Strategy<Value = Target> {
    let groups = || proptest::collection::vec(any::<(u64, u64)>(), 0..3);
    let people = (any::<u64>(), groups(), groups(), 0..2_u64);
    let people =
        people.prop_map(|(users, parties, tags, unreadable)| People { users, parties, tags, unreadable });
    let members = proptest::collection::vec(any::<u64>(), 0..4);
    let unread = proptest::option::of(text());
    let some = (members, any::<bool>(), any::<u64>(), proptest::option::of(people), unread);
    proptest::option::of(some).prop_map(|some| {
        let (members, broadcast, chat, people, unread) = some.unwrap_or_default();
        Target { members, broadcast, chat, people, unread }
    })
}

fn posted() -> impl Strategy<Value = CallPosted> {
    let note = || proptest::option::of(text());
    let answer = (note(), note(), note(), note())
        .prop_map(|(hint, from_ip, errmsg, incomplete)| AnswerNotes { hint, from_ip, errmsg, incomplete });
    let numbers = (cost(), any::<u16>(), any::<u64>(), any::<u64>());
    (seq(), proptest::option::of(any::<i64>()), numbers, answer).prop_map(
        |(pending, errcode, (cost, http_status, latency_us, response_bytes), answer)| CallPosted {
            pending,
            cost,
            unreached: cost.person_times / 2,
            errcode,
            http_status,
            latency_us,
            response_bytes,
            answer,
        },
    )
}

fn call() -> impl Strategy<Value = Body> {
    let maybe = || proptest::option::of(seq());
    let digest = proptest::option::of(any::<[u8; 32]>());
    let costs = (cost(), target());
    let pending = (text(), costs, maybe(), any::<u32>(), any::<u64>(), digest, maybe(), any::<bool>())
        .prop_map(
            |(
                method,
                (cost, target),
                credential,
                timeout_ms,
                request_bytes,
                request_sha256,
                retry_of,
                reserved,
            )| {
                Body::CallPending(CallPending {
                    method,
                    cost,
                    target,
                    shadowed: if reserved { vec!["a-limit".to_owned()] } else { Vec::new() },
                    credential,
                    timeout_ms,
                    request_bytes,
                    request_sha256,
                    reserved,
                    retry_of,
                    told: reserved.then(|| Told { limit: "a".to_owned(), used: 1, cap: 2, remaining: 1 }),
                    once: reserved.then_some(Once { key: [1; 16], request: [2; 16], part: 3 }),
                })
            },
        );
    let ended = || (seq(), text()).prop_map(|(pending, reason)| CallEnded { pending, reason });
    prop_oneof![
        pending,
        posted().prop_map(Body::CallPosted),
        posted().prop_map(Body::CallLate),
        ended().prop_map(Body::CallVoided),
        ended().prop_map(Body::CallExpired),
        ended().prop_map(Body::CredentialExpired),
        (text(), rule(), any::<i64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
            |(limit, rule, errcode, used, cap, count)| {
                Body::CallRefused(CallRefused { limit, rule, errcode, used, cap, count })
            }
        ),
    ]
}

fn credential() -> impl Strategy<Value = Body> {
    let token = (any::<[u8; 32]>(), any::<i64>(), any::<i64>(), any::<bool>()).prop_map(
        |(fingerprint, expires_tick, refresh_tick, same)| Fetched::Token {
            fingerprint,
            expires_tick,
            refresh_tick,
            same,
        },
    );
    let fetched = prop_oneof![token, text().prop_map(|errmsg| Fetched::Error { errmsg })];
    let posted = (seq(), proptest::option::of(any::<i64>()), any::<u16>(), any::<u64>(), fetched);
    prop_oneof![
        (text(), any::<u32>()).prop_map(|(credential, timeout_ms)| {
            Body::CredentialPending(CredentialPending { credential, timeout_ms })
        }),
        posted.prop_map(|(pending, errcode, http_status, latency_us, fetched)| {
            Body::CredentialPosted(CredentialPosted { pending, errcode, http_status, latency_us, fetched })
        }),
        (seq(), any::<i64>(), proptest::option::of(seq())).prop_map(|(credential, errcode, call)| {
            Body::CredentialInvalidated(CredentialInvalidated { credential, errcode, call })
        }),
        seq().prop_map(|credential| Body::CredentialIssued(CredentialIssued { credential })),
    ]
}

fn metered() -> impl Strategy<Value = Body> {
    use crate::ledger::entry::{
        Blocks, Compared, Counted, Failed, PenaltyLevel, PenaltyStarted, Reconciled, UsageDeclared,
        UsageReconciled,
    };
    let note = || proptest::option::of(text());
    let counted = (text(), any::<u64>(), any::<u64>(), any::<u64>(), rule())
        .prop_map(|(limit, used, cap, in_flight, rule)| Counted { limit, used, cap, in_flight, rule });
    let levels = vec![PenaltyLevel::Concurrent, PenaltyLevel::Minute, PenaltyLevel::Day];
    let level = proptest::sample::select(levels);
    let blocks = proptest::sample::select(&[Blocks::Corp, Blocks::App, Blocks::EgressIp]);
    let words = (note(), note(), note(), proptest::collection::vec(counted, 0..3));
    let started = (level, blocks, seq(), any::<i64>(), any::<i64>(), seq(), words).prop_map(
        |(level, blocks, whose, until_tick, errcode, call_seq, (hint, from_ip, limit, counted))| {
            PenaltyStarted {
                level,
                blocks,
                whose,
                until_tick,
                errcode,
                call_seq,
                told: call_seq.is_multiple_of(2),
                hint,
                from_ip,
                limit,
                counted,
            }
        },
    );
    let unit = proptest::sample::select(&[Unit::PersonTimes, Unit::Accounts]);
    let counts =
        (any::<u64>(), any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()), any::<bool>());
    let compared = counts.prop_map(|(wecom, counted, at_least, at_most, so_far)| {
        Reconciled::Compared(Compared::new(wecom, counted, at_least, at_most, so_far))
    });
    let failed = (text(), any::<u32>(), any::<i64>())
        .prop_map(|(failed, tries, again_tick)| Reconciled::Failed(Failed { failed, tries, again_tick }));
    let outcome = prop_oneof![compared, failed];
    let reconciled = (0..4_102_444_800_000_i64, outcome)
        .prop_map(|(at, outcome)| Body::UsageReconciled(UsageReconciled { day: Day::of(at, 480), outcome }));
    let alert = (text(), 0..=100_u8, any::<i64>(), any::<bool>(), any::<u64>(), any::<u64>()).prop_map(
        |(limit, percent, again_tick, shadow, egress_ip, chat)| {
            let (used, cap) = (chat, egress_ip);
            Body::AlertRaised(AlertRaised { limit, percent, used, cap, again_tick, shadow, egress_ip, chat })
        },
    );
    prop_oneof![
        reconciled,
        alert,
        started.prop_map(Body::PenaltyStarted),
        (unit, any::<i64>(), text(), any::<u64>()).prop_map(|(unit, amount, note, article)| {
            Body::UsageDeclared(UsageDeclared { unit, amount, note, article })
        }),
    ]
}

fn learning() -> impl Strategy<Value = Body> {
    use crate::ledger::entry::PenaltyEnded;
    let drift = || {
        (seq(), text(), any::<u64>(), any::<u64>()).prop_map(|(incident, limit, cap, accepted)| Drift {
            incident,
            limit,
            cap,
            accepted,
        })
    };
    let ended = || {
        (seq(), text(), proptest::option::of(drift())).prop_map(|(started, reason, drift)| PenaltyEnded {
            started,
            reason,
            drift,
        })
    };
    let learned = (text(), any::<u64>(), any::<u64>(), proptest::collection::vec(drift(), 0..3))
        .prop_map(|(limit, cap, before, drifts)| CapLearned { limit, cap, before, drifts });
    prop_oneof![
        ended().prop_map(Body::PenaltyEnded),
        ended().prop_map(Body::PenaltyCleared),
        learned.prop_map(Body::CapLearned),
        seq().prop_map(|learned| Body::CapRestored(CapRestored { learned })),
    ]
}

pub(super) fn entry() -> impl Strategy<Value = Entry> {
    let maybe = || proptest::option::of(seq());
    let refs = (maybe(), maybe(), maybe(), maybe()).prop_map(|(corp, app, api, api_key)| Refs {
        corp,
        app,
        api,
        api_key,
    });
    // Boxed: the generators of so many kinds in one another are more than a test's stack holds.
    let body = prop_oneof![
        introducing().boxed(),
        call().boxed(),
        credential().boxed(),
        metered().boxed(),
        learning().boxed(),
    ];
    (seq(), any::<i64>(), 0..4_102_444_800_000_i64, maybe(), refs, body).prop_map(
        |(seq, tick, at, process, refs, body)| Entry { seq, tick, at, process, actor: None, refs, body },
    )
}

/// The keys of a JSON object in their order, found without a JSON library.
fn keys(line: &str) -> Vec<String> {
    let (mut keys, mut depth, mut string, mut expects_key) = (Vec::new(), 0, None::<String>, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (&mut string, c) {
            (Some(text), '\\') => text.extend([c].into_iter().chain(chars.next())),
            (Some(_), '"') => {
                let text = string.take().unwrap();
                if depth == 1 && expects_key {
                    keys.push(text);
                    expects_key = false;
                }
            }
            (Some(text), c) => text.push(c),
            (None, '"') => string = Some(String::new()),
            (None, '{' | '[') => {
                depth += 1;
                expects_key = depth == 1;
            }
            (None, '}' | ']') => depth -= 1,
            (None, ',') if depth == 1 => expects_key = true,
            _ => {}
        }
    }
    keys
}

pub(super) fn check_line(line: &str, row: &Row) {
    let value: Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["kind"], row.kind.name());
    assert!(!line.contains('\n') && line.len() == line.trim().len());
    let keys = keys(line);
    assert_eq!(keys.len(), value.as_object().unwrap().len(), "a key stands twice: {line}");
    assert_eq!(keys[..COMMON.len()], *COMMON);
    let rest = &keys[COMMON.len()..];
    let known: Vec<usize> =
        rest.iter().map_while(|key| OTHERS.iter().position(|other| other == key)).collect();
    assert!(known.is_sorted(), "{keys:?}");
    assert!(rest[known.len()..].iter().all(|key| !OTHERS.contains(&key.as_str())), "{keys:?}");
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn every_entry_comes_back_from_its_row(entry in entry()) {
        let row = Row::of(&entry);
        prop_assert_eq!(row.entry().unwrap(), entry);
        check_line(&line(&row, &NoNames), &row);
    }

    #[test]
    fn a_snapshot_after_any_entry_can_be_read(entry in entry()) {
        let entry = Entry { seq: 1, tick: 1_000, at: 1_000, ..entry };
        let mut state = State::default();
        apply(&mut state, &entry);
        let bytes = encode_snapshot(&state, &Row::of(&entry)).unwrap();
        let read = decode_snapshot(&bytes).map(|(_, read)| read);
        prop_assert!(read.as_ref() == Some(&state), "{read:?}");
    }
}

#[test]
fn a_row_without_what_its_kind_needs_is_damaged() {
    let entry =
        |body| Entry { seq: 3, tick: 1, at: 1, process: None, actor: None, refs: Refs::default(), body };
    let body = Body::CredentialInvalidated(CredentialInvalidated { credential: 1, errcode: 2, call: None });
    let mut row = Row::of(&entry(body));
    row.credential_seq = None;
    assert!(row.entry().unwrap_err().to_string().starts_with("entry 3 (credential.invalidated) is damaged"));
    for &kind in Kind::ALL {
        row.kind = kind;
        row.detail = Some("[".to_owned());
        let simple = row.entry();
        assert!(simple.is_err() || simple.unwrap().body.kind() == kind);
    }
}
