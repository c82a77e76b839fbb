use crate::ledger::directory::Directory;
use crate::ledger::entry::{AlertRaised, Body, CapLearned, ClockStepped, Drift, Entry, Refs};

use super::*;

fn row(body: Body) -> Row {
    let at = 1_790_000_000_000;
    Row::of(&Entry { seq: 7, tick: 5, at, process: None, actor: None, refs: Refs::default(), body })
}

fn alert() -> Row {
    let limit = "corp-api-hour".to_owned();
    row(Body::AlertRaised(AlertRaised {
        limit,
        percent: 80,
        used: 24_000,
        cap: 30_000,
        again_tick: 9,
        shadow: false,
        egress_ip: 0,
        chat: 0,
    }))
}

#[test]
fn an_alert_is_a_sentence_with_its_entry() {
    let body = message::body(Format::Json, &alert(), &Directory::default());
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["kind"], "alert.raised");
    assert_eq!(json["entry"]["used"], 24_000);
    let text = json["text"].as_str().unwrap();
    assert!(text.contains("limit corp-api-hour has reached 80 %: 24000 of 30000 used (entry 7)"), "{text}");
}

#[test]
fn a_learned_cap_is_a_sentence_too() {
    let limit = "corp-api-minute".to_owned();
    let drift = Drift { incident: 3, limit: limit.clone(), cap: 1000, accepted: 400 };
    let learned = CapLearned { limit, cap: 400, before: 1000, drifts: vec![drift.clone(), drift] };
    let text = message::sentence(&row(Body::CapLearned(learned)), &Directory::default());
    let expected = "WeCom was full early 2 times, so the cap of corp-api-minute is 400 now instead of 1000";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_group_robot_gets_a_text_message() {
    let stepped = row(Body::ClockStepped(ClockStepped { step_ms: -90_000 }));
    let body = message::body(Format::WecomRobot, &stepped, &Directory::default());
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["msgtype"], "text");
    assert!(json["text"]["content"].as_str().unwrap().contains("the wall clock was set by -90 s"));
}

/// Computed with OpenSSL: `printf '1790000000.{}' | openssl dgst -sha256 -hmac secret`.
#[test]
fn the_signature_is_one_that_a_receiver_can_compute() {
    let secret = SecretString::from("secret".to_owned());
    let expected = "d0cadd434460d4af55e7ab90d79c1802591d7001a77c9e06471d0e3ec8cc85ae";
    assert_eq!(signature(&secret, 1_790_000_000, "{}"), format!("t=1790000000,v1={expected}"));
}
