use serde_json::{Value, json};

use super::Sandbox;
use crate::sandbox::faults::{Faults, Lateness};
use crate::sandbox::random::Random;

fn faults(spec: Value) -> (Faults, Random) {
    let (mut faults, mut random) = (Faults::default(), Random::new(Some(1)).unwrap());
    faults.add(serde_json::from_value(spec).unwrap(), &mut random).unwrap();
    (faults, random)
}

#[test]
fn a_seed_decides_how_late_each_call_is() {
    let series = |seed: u32| {
        let spec = json!({"kind": "late", "before_ms": 200, "after_ms": 100, "seed": seed});
        let (mut faults, mut random) = faults(spec);
        (0..50).map(|_| faults.lateness("user/get", &mut random).unwrap()).collect::<Vec<Lateness>>()
    };
    assert_eq!(series(7), series(7));
    assert_ne!(series(7), series(8));
    assert!(series(7).iter().all(|late| late.before_ms <= 200 && late.after_ms <= 100));
    let spread = |of: fn(&Lateness) -> u64| series(7).iter().map(of).max().unwrap();
    assert!(spread(|late| late.before_ms) > 150 && spread(|late| late.after_ms) > 75);
}

#[test]
fn only_the_apis_that_it_is_for_are_late_and_other_faults_strike_all_the_same() {
    let (mut faults, mut random) = faults(json!({"kind": "late", "path": "user/*", "before_ms": 5}));
    assert!(faults.any_late());
    assert!(faults.lateness("message/send", &mut random).is_none());
    assert!(faults.lateness("user/get", &mut random).is_some());
    assert!(faults.choose("user/get", &mut random).is_none(), "being late is no strike");
    faults.add(serde_json::from_value(json!({"kind": "close"})).unwrap(), &mut random).unwrap();
    assert!(faults.choose("user/get", &mut random).is_some());
}

/// A seed whose first call waits at least so long before it is counted, and as long before its answer.
fn seed_over(least: u64, most: u64) -> u32 {
    let slow = |seed: &u32| {
        let spec = json!({"kind": "late", "before_ms": most, "after_ms": most, "seed": seed});
        let (mut faults, mut random) = faults(spec);
        let first = faults.lateness("user/get", &mut random).unwrap();
        first.before_ms.min(first.after_ms) >= least
    };
    (0..10_000).find(slow).unwrap()
}

#[tokio::test]
async fn a_late_call_is_counted_late_even_if_its_caller_has_gone() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let late = json!({"path": "user/*", "kind": "late", "before_ms": 250, "seed": seed_over(200, 250)});
    sandbox.control("faults", &late).await;
    let begun = sandbox.now().await;
    let url = sandbox.url("/cgi-bin/user/get");
    let request = sandbox.http.get(url).query(&[("access_token", token.as_str()), ("userid", "lisi")]);
    let call = tokio::spawn(request.send());
    sandbox.until("faults", |shown| shown["faults"][0]["hits"] == 1).await;
    call.abort();
    sandbox.until("stats", |stats| stats["calls"]["user/get"] == 1).await;
    let requests = sandbox.show("requests?after=1").await;
    let counted = requests["requests"][0]["arrived_at_ms"].as_i64().unwrap();
    assert!(counted - begun >= 200, "{requests}");
}

#[tokio::test]
async fn a_late_answer_comes_after_the_call_was_counted() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    sandbox.control("faults", &json!({"kind": "late", "after_ms": 250, "seed": seed_over(200, 250)})).await;
    assert_eq!(sandbox.read(&token).await, 0);
    let answered = sandbox.now().await;
    let requests = sandbox.show("requests?after=1").await;
    let counted = requests["requests"][0]["arrived_at_ms"].as_i64().unwrap();
    assert!(answered - counted >= 200, "{requests}");
}

#[tokio::test]
async fn a_seed_that_was_not_asked_for_is_shown_so_that_a_test_can_be_repeated() {
    let sandbox = Sandbox::unlimited();
    sandbox.control("faults", &json!({"kind": "late", "before_ms": 1})).await;
    assert!(sandbox.show("faults").await["faults"][0]["seed"].is_u64());
    assert_eq!(sandbox.control("faults", &json!({"kind": "close"})).await["id"], 2);
    let unknown = json!({"kind": "late", "before_ms": 3_600_001});
    let refused = sandbox.http.post(sandbox.url("/sandbox/faults")).json(&unknown).send().await.unwrap();
    assert_eq!(refused.status(), 400);
}
