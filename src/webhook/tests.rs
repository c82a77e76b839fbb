use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::datadir;
use crate::ledger::committer::Registration;
use crate::ledger::directory::Directory;
use crate::ledger::entry::{AlertRaised, Body, CapLearned, ClockStepped, Drift, Entry, Refs};

use super::*;
use crate::quota::Unit;

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

fn waits(pace: &mut Pace, seq: Seq, failure: &Failure) -> u64 {
    match pace.failed(seq, failure.clone()) {
        Next::Wait(wait) => wait.as_secs(),
        Next::GiveUp(reason) => panic!("{reason}"),
    }
}

#[test]
fn the_pause_doubles_up_to_five_minutes_and_begins_anew_once_something_is_taken() {
    let mut pace = Pace::new(Duration::from_secs(1));
    let down = Failure::Later("down".to_owned());
    let pauses: Vec<u64> = (0..11).map(|_| waits(&mut pace, 7, &down)).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300], "and it is never given up");
    pace.delivered();
    assert_eq!(waits(&mut pace, 8, &down), 1);
}

#[test]
fn an_alert_that_is_refused_again_and_again_is_given_up_and_no_other() {
    let mut pace = Pace::new(Duration::from_secs(1));
    let refused = Failure::Refused("HTTP 400".to_owned());
    for _ in 0..7 {
        waits(&mut pace, 7, &refused);
    }
    assert_eq!(pace.failed(7, refused.clone()), Next::GiveUp("HTTP 400".to_owned()));
    pace.delivered();
    assert_eq!(waits(&mut pace, 8, &refused), 1, "the next one begins anew");
}

#[test]
fn only_what_is_about_the_message_is_a_refusal_of_it() {
    let status = |code: u16| by_status(StatusCode::from_u16(code).unwrap());
    for code in [400, 413, 415, 422] {
        assert!(matches!(status(code), Err(Failure::Refused(_))), "{code}");
    }
    for code in [302, 401, 403, 404, 408, 429, 500, 503] {
        assert!(matches!(status(code), Err(Failure::Later(_))), "{code}");
    }
    assert_eq!((status(200), status(204)), (Ok(()), Ok(())));
    let robot = |errcode: i64| by_answer(format!("{{\"errcode\":{errcode},\"errmsg\":\"\"}}").as_bytes());
    assert_eq!(robot(0), Ok(()));
    for errcode in [45_002, 40_058] {
        assert!(matches!(robot(errcode), Err(Failure::Refused(_))), "{errcode}");
    }
    // Too many, busy, a wrong key.
    for errcode in [45_009, -1, 93_000] {
        assert!(matches!(robot(errcode), Err(Failure::Later(_))), "{errcode}");
    }
}

/// Takes whatever is posted to it.
async fn receiver() -> SecretString {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            // The body is one JSON object.
            while !seen.ends_with(b"}") && stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 13\r\n\r\n{\"errcode\":0}";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    SecretString::from(url)
}

#[tokio::test]
async fn a_group_robot_is_told_of_one_alert_at_a_time_and_others_of_all_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    datadir::init(dir.path()).await.unwrap();
    let (instance, egress_ip) = ("test".to_owned(), "default".to_owned());
    let registration = Registration { instance, egress_ip, learn_caps_after: None, webhook: true };
    let opened = datadir::open(dir.path(), Some(registration)).await.unwrap();
    let ledger = opened.ledger.clone();
    ledger.decide(Command::PutCorp { corp_id: "corp".to_owned(), account_cap: 10 }).await.unwrap();
    let declare = |amount| Command::Declare {
        corp_id: "corp".to_owned(),
        agent_id: None,
        api: None,
        unit: Unit::Apps,
        amount,
        note: String::new(),
        article: 0,
    };
    // The cap is 30: three thresholds, one after the other.
    for amount in [24, 3, 3] {
        ledger.decide(declare(amount)).await.unwrap();
    }
    let waiting = async || ledger.read(|state, _| state.alerts.queue().count()).await.unwrap();
    assert_eq!(waiting().await, 3);
    let url = receiver().await;
    for (format, left) in [(Format::WecomRobot, 2), (Format::WecomRobot, 1), (Format::Json, 0)] {
        let lock_file = dir.path().join("lock").join(format!("webhook-{left}"));
        let settings = Settings { url: url.clone(), format, secret: None, lock_file };
        let (reader, clock) = (opened.reader.clone(), Arc::clone(&opened.clock));
        let webhook = Webhook { ledger: ledger.clone(), reader, clock, settings };
        let mut pace = Pace::new(format.every());
        let wait = webhook.round(&client().unwrap(), &mut None, &mut pace).await.unwrap();
        assert_eq!((waiting().await, wait), (left, format.every()));
    }
    ledger.stop().await;
}

#[test]
fn a_group_robot_is_sent_no_more_than_it_takes_in_a_minute_and_no_longer_text() {
    assert!(Duration::from_mins(1).as_millis() / Format::WecomRobot.every().as_millis() < 20);
    let limit = "限".repeat(1_000);
    let long = row(Body::CapLearned(CapLearned { limit, cap: 1, before: 2, drifts: vec![] }));
    let body = message::body(Format::WecomRobot, &long, &Directory::default());
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let bytes = json["text"]["content"].as_str().unwrap().len();
    assert!((2_046..=2_048).contains(&bytes), "{bytes}");
}
