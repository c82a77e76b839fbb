use super::*;
use crate::wecom::client::tests::{TOKEN, answering, hanging, refusing};

const WAIT: Duration = Duration::from_millis(500);

async fn ask(answer: &'static str) -> FetchOutcome {
    let (upstream, _server) = answering(answer).await;
    upstream.gettoken("ww1", &SecretString::from(TOKEN), WAIT).await
}

/// An answer with its true length.
fn http(status: &str, body: &str) -> &'static str {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    Box::leak(answer.into_boxed_str())
}

fn assert_unknown(outcome: &FetchOutcome) {
    assert!(matches!(outcome, FetchOutcome::Unknown { .. }), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains(TOKEN), "{outcome:?}");
}

#[tokio::test]
async fn a_token_is_issued_with_or_without_errcode() {
    for body in [
        r#"{"errcode":0,"errmsg":"ok","access_token":"abc","expires_in":7200}"#,
        r#"{"access_token":"abc","expires_in":"7200"}"#,
    ] {
        let outcome = ask(http("200 OK", body)).await;
        let FetchOutcome::Issued { token, expires_in } = &outcome else { panic!("{outcome:?}") };
        assert_eq!((token.expose_secret(), *expires_in), ("abc", 7200));
        assert!(!format!("{outcome:?}").contains("abc"));
    }
}

#[tokio::test]
async fn the_secret_is_sent_percent_encoded_in_the_query() {
    let (upstream, server) = answering(http("200 OK", "{}")).await;
    upstream.gettoken("ww 1", &SecretString::from("a+/b"), WAIT).await;
    let asked = server.await.unwrap();
    assert!(asked.starts_with("GET /cgi-bin/gettoken?corpid=ww%201&corpsecret=a%2B%2Fb HTTP/1.1"), "{asked}");
}

#[tokio::test]
async fn a_refusal_carries_its_code_and_its_facts_whatever_the_status() {
    let body = r#"{"errcode":40001,"errmsg":"invalid credential, hint: [1576065934_28_e0fa], from ip: 1.2.3.4, more"}"#;
    for status in ["200 OK", "500 Internal Server Error"] {
        let outcome = ask(http(status, body)).await;
        let FetchOutcome::Refused { errcode, message, http_status } = outcome else { panic!("{outcome:?}") };
        assert_eq!(errcode, 40_001);
        assert_eq!(message.from_ip.as_deref(), Some("1.2.3.4"));
        assert_eq!(message.hint.as_deref(), Some("1576065934_28_e0fa"));
        assert!(status.starts_with(&http_status.to_string()));
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_unknown() {
    let long = format!(r#"{{"access_token":"{}","expires_in":7200}}"#, "a".repeat(513));
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"errcode":0}"#,
        r#"{"access_token":"","expires_in":7200}"#,
        r#"{"access_token":"a b","expires_in":7200}"#,
        r#"{"access_token":"长","expires_in":7200}"#,
        r#"{"access_token":["abc"],"expires_in":7200}"#,
        r#"{"access_token":"abc"}"#,
        r#"{"access_token":"abc","expires_in":0}"#,
        r#"{"access_token":"abc","expires_in":-7200}"#,
        r#"{"access_token":"abc","expires_in":7200.5}"#,
        r#"{"ticket":"abc","expires_in":7200}"#,
        &long,
    ] {
        assert_unknown(&ask(http("200 OK", body)).await);
    }
    let good = r#"{"access_token":"abc","expires_in":7200}"#;
    for status in ["302 Found", "502 Bad Gateway"] {
        assert_unknown(&ask(http(status, good)).await);
    }
}

#[tokio::test]
async fn an_endless_life_is_cut_to_a_day() {
    let outcome = ask(http("200 OK", r#"{"access_token":"abc","expires_in":999999999}"#)).await;
    assert!(matches!(outcome, FetchOutcome::Issued { expires_in: MAX_EXPIRES_IN, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_broken_connection_is_unknown_and_a_refused_one_was_not_sent() {
    assert_unknown(&ask("").await);
    assert_unknown(&ask("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access_token\":\"abc\"").await);
    let secret = SecretString::from(TOKEN);
    let (upstream, _server) = hanging().await;
    let outcome = upstream.gettoken("ww1", &secret, WAIT).await;
    assert!(matches!(outcome, FetchOutcome::Unknown { timed_out: true, .. }), "{outcome:?}");
    let outcome = refusing().await.gettoken("ww1", &secret, WAIT).await;
    let FetchOutcome::NotSent { reason } = &outcome else { panic!("{outcome:?}") };
    assert!(!reason.contains(TOKEN) && !reason.contains("gettoken"), "{reason}");
}

/// A request of each kind, something that it must send, and the field that answers it.
fn kinds() -> [(CredentialRequest, &'static str, &'static str); 5] {
    let s = |text: &str| SecretString::from(text);
    [
        (
            CredentialRequest::JsapiTicket { access_token: s("t") },
            "get_jsapi_ticket?access_token=t ",
            "ticket",
        ),
        (
            CredentialRequest::AgentTicket { access_token: s("t") },
            "access_token=t&type=agent_config ",
            "ticket",
        ),
        (
            CredentialRequest::SuiteToken {
                suite_id: "s".into(),
                suite_secret: s("x"),
                suite_ticket: s("y"),
            },
            r#"{"suite_id":"s","suite_secret":"x","suite_ticket":"y"}"#,
            "suite_access_token",
        ),
        (
            CredentialRequest::ProviderToken { corp_id: "ww1".into(), provider_secret: s("x") },
            r#"{"corpid":"ww1","provider_secret":"x"}"#,
            "provider_access_token",
        ),
        (
            CredentialRequest::CorpToken {
                suite_access_token: s("t"),
                auth_corp_id: "ww2".into(),
                permanent_code: s("p"),
            },
            r#"{"auth_corpid":"ww2","permanent_code":"p"}"#,
            "access_token",
        ),
    ]
}

#[tokio::test]
async fn every_kind_of_credential_has_its_request_and_its_field() {
    for (request, expected, field) in kinds() {
        let (upstream, server) =
            answering(http("200 OK", &format!(r#"{{"{field}":"abc","expires_in":7200}}"#))).await;
        let source: &dyn TokenSource = &upstream;
        let outcome = source.fetch(&request, WAIT).await;
        assert!(matches!(outcome, FetchOutcome::Issued { .. }), "{outcome:?}");
        let asked = server.await.unwrap();
        assert!(asked.contains(expected), "{asked}");
        assert!(asked.contains(request.api()), "{asked}");
        let api = crate::wecom::catalogue::lookup(request.api()).unwrap();
        assert!(asked.starts_with(api.method) && api.issues.is_some());
    }
}
