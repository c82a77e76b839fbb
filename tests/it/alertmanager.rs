//! Prometheus' Alertmanager reads WeCom's errors from a field that WeCom does not have: straight at WeCom it takes
//! every answer for a success. Behind the gateway that does no harm.

use serde_json::json;

use crate::support::{Alertmanager, Attempt, Ledger, SECRET, Sandbox, Server, attempts};

const ALERTS: [&str; 5] =
    ["first-try-fails", "all-is-well", "token-ended-a", "token-ended-b", "token-ended-c"];

/// The first message meets `errcode`, then one gets through, then the token ends before the other three.
async fn fire_all(alertmanager: &Alertmanager, sandbox: &Sandbox, errcode: i64) {
    sandbox.fault(json!({"path": "message/send", "kind": "errcode", "errcode": errcode, "times": 1})).await;
    alertmanager.fire(&ALERTS[..1]).await;
    alertmanager.until_successes(1).await;
    alertmanager.fire(&ALERTS[1..2]).await;
    alertmanager.until_successes(2).await;
    sandbox.revoke(errcode).await;
    alertmanager.fire(&ALERTS[2..]).await;
    alertmanager.until_successes(5).await;
    alertmanager.until_flushed_again(&ALERTS).await;
    assert_eq!(alertmanager.successes(), 5, "each alert was sent once, as far as Alertmanager knows");
    assert_eq!(alertmanager.failures().await, [0, 0]);
}

/// The texts of the messages that were delivered, sorted.
async fn arrived(sandbox: &Sandbox) -> Vec<String> {
    let messages = sandbox.get("messages").await;
    let messages = messages["messages"].as_array().unwrap();
    assert!(messages.iter().all(|message| message["to"] == json!(["zhangsan"])));
    let mut texts: Vec<_> =
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect();
    texts.sort();
    texts
}

/// The ledger's attempts to send, which must be those that the sandbox has seen.
async fn sends(ledger: &Ledger, server: &Server, sandbox: &Sandbox) -> Vec<Attempt> {
    let all = attempts(&ledger.entries(server).await);
    let sends: Vec<_> = all.into_iter().filter(|attempt| attempt.api == "message/send").collect();
    let mut known: Vec<_> = sends.iter().map(|send| send.errcode).collect();
    let requests = sandbox.requests().await;
    let sent = requests.iter().filter(|request| request["api"] == "message/send");
    let mut seen: Vec<_> = sent.map(|request| request["errcode"].as_i64()).collect();
    known.sort();
    seen.sort();
    assert_eq!(known, seen, "the ledger and the sandbox disagree on what was sent");
    sends
}

#[tokio::test]
async fn through_the_gateway_every_alert_arrives_once_and_each_attempt_is_on_record() {
    // Fetched again, a token that has not ended is another one or the same: WeCom promises neither.
    for (errcode, flags) in [(42001, &["--same-token"][..]), (40014, &[])] {
        let sandbox = Sandbox::with(flags, None);
        let ledger = Ledger::new(sandbox.url());
        let server = ledger.serve();
        let alertmanager = Alertmanager::start(server.url(), &ledger.app_key).await;
        fire_all(&alertmanager, &sandbox, errcode).await;
        assert_eq!(arrived(&sandbox).await, sorted(&ALERTS), "{errcode}");

        let sends = sends(&ledger, &server, &sandbox).await;
        assert!(sends.iter().all(|send| send.end == "call.posted"), "{sends:?}");
        let failed: Vec<_> = sends.iter().filter(|send| send.errcode != Some(0)).collect();
        // One of the three that follow the token's end may already have waited for the new one.
        assert!((2..=4).contains(&failed.len()), "{sends:?}");
        for first in failed {
            assert_eq!((first.errcode, first.retry_of), (Some(errcode), None));
            let retries: Vec<_> = sends.iter().filter(|send| send.retry_of == Some(first.seq)).collect();
            assert_eq!(retries.len(), 1, "{sends:?}");
            assert_eq!(retries[0].errcode, Some(0));
            assert_ne!(retries[0].credential, first.credential);
        }
        // One token to begin with, one after each of the two ends.
        assert_eq!(sandbox.calls("gettoken").await, 3);
    }
}

#[tokio::test]
async fn straight_at_wecom_alertmanager_loses_the_same_alerts_and_believes_they_were_sent() {
    for errcode in [42001, 40014] {
        let sandbox = Sandbox::start();
        let alertmanager = Alertmanager::start(sandbox.url(), SECRET).await;
        fire_all(&alertmanager, &sandbox, errcode).await;
        assert_eq!(arrived(&sandbox).await, ["all-is-well"], "{errcode}");
        assert_eq!(sandbox.calls("message/send").await, 5);
    }
}

#[tokio::test]
async fn a_message_that_wecom_does_not_answer_is_on_record_as_unknown_and_not_sent_again() {
    for when in ["before", "after"] {
        let sandbox = Sandbox::start();
        let ledger = Ledger::new(sandbox.url());
        let settings = ledger.data_dir().join("wecom-ledger.toml");
        std::fs::write(settings, "[call]\nhead_timeout_secs = 1\n").unwrap();
        let server = ledger.serve();
        let alertmanager = Alertmanager::start(server.url(), &ledger.app_key).await;
        sandbox.fault(json!({"path": "message/send", "kind": "hang", "when": when, "times": 1})).await;
        alertmanager.fire(&["no-answer"]).await;
        alertmanager.until_successes(1).await;
        alertmanager.fire(&["answered"]).await;
        alertmanager.until_successes(2).await;
        alertmanager.until_flushed_again(&["no-answer", "answered"]).await;

        let took_effect = when == "after";
        let expected: &[_] = if took_effect { &["answered", "no-answer"] } else { &["answered"] };
        assert_eq!(arrived(&sandbox).await, expected);
        // Whether it took effect or not: the ledger can't know, and says so.
        let sends = sends(&ledger, &server, &sandbox).await;
        let shown: Vec<_> = sends.iter().map(|send| (send.end.as_str(), send.errcode)).collect();
        assert_eq!(shown, [("call.expired", None), ("call.posted", Some(0))]);
        assert!(sends[0].reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{sends:?}");
        // What Alertmanager was told is no code on which anybody repeats a call.
        let log = alertmanager.log();
        let answer =
            log.lines().find(|line| line.contains("response=") && line.contains("no-answer")).unwrap();
        assert!(answer.contains(r#"\"errcode\":-9001,"#), "{answer}");
    }
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    names.sort();
    names
}
