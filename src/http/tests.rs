//! The doors of the REST interface, and what lies behind each.

use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;

use super::*;
use crate::datadir::{self, create_api_key, done};
use crate::ledger::command::{ApiKeyChange, ApiKeyTerms, FetchOutcome, FetchReason};
use crate::ledger::committer::Registration;
use crate::ledger::entry::{Plain, Scope};
use crate::ledger::{Command, Reply, Seq};

/// A service over a data directory of its own, with two corps, an app each, and keys.
pub(super) struct World {
    pub(super) state: HttpState,
    pub(super) admin: String,
    _dir: tempfile::TempDir,
}

pub(super) const APPS: [&str; 2] = ["corp1/1000002", "corp2/1000002"];

impl World {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let admin = datadir::init(dir.path()).await.unwrap().api_key.expose_secret().to_owned();
        let (instance, egress_ip) = ("test".to_owned(), "default".to_owned());
        let registration = Registration { instance, egress_ip, learn_caps_after: None, webhook: false };
        let opened = datadir::open(dir.path(), Some(registration)).await.unwrap();
        let messages = Messages { failed_count: true, invalid_recipients_count: true };
        let admission = Admission::new(opened.ledger.clone());
        let world = Self { state: HttpState::new(&opened, admission, messages), admin, _dir: dir };
        for label in APPS {
            let (corp_id, agent_id) = label.split_once('/').unwrap();
            world.act(Command::PutCorp { corp_id: corp_id.to_owned(), account_cap: 100 }).await;
            let secret = SecretString::from(format!("secret of {label}"));
            world
                .act(Command::PutApp {
                    corp_id: corp_id.to_owned(),
                    agent_id: agent_id.to_owned(),
                    fingerprint: opened.vault.fingerprint(datadir::APP_SECRET, secret.expose_secret()),
                    secret: Plain(Arc::new(secret)),
                })
                .await;
        }
        world
    }

    pub(super) async fn act(&self, command: Command) -> Seq {
        done(self.state.ledger.decide(command).await.unwrap()).unwrap().0
    }

    pub(super) async fn cap(&self, corp_id: &str, limit: &str, cap: u64) {
        let (corp_id, limit) = (corp_id.to_owned(), limit.to_owned());
        self.act(Command::PutCap { corp_id, limit, cap: Some(cap) }).await;
    }

    pub(super) async fn key(&self, scopes: &[Scope], apps: &[&str]) -> (Seq, String) {
        let apps = apps.iter().map(|app| (*app).to_owned()).collect();
        let (HttpState { ledger, vault, .. }, scopes) = (&self.state, scopes.to_vec());
        let terms = ApiKeyTerms { name: "test".to_owned(), scopes, apps, ..ApiKeyTerms::default() };
        let key = create_api_key(ledger, vault, terms).await.unwrap();
        (key.id, key.api_key.expose_secret().to_owned())
    }

    /// The committer is busy until what this answers is dropped.
    pub(super) async fn busy_committer(&self) -> std::sync::mpsc::Sender<()> {
        let (release, released) = std::sync::mpsc::channel();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let ledger = self.state.ledger.clone();
        let read = move |_: &_, _| {
            begin.send(()).unwrap();
            released.recv().is_ok()
        };
        tokio::spawn(async move { ledger.read(read).await });
        // Who is asked before it has begun is served before it.
        begun.await.unwrap();
        release
    }

    pub(super) async fn raw(&self, request: TestRequest) -> Answer {
        let app = App::new().app_data(web::Data::new(self.state.clone())).configure(configure);
        let app = init_service(app).await;
        let response = call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, body }
    }

    pub(super) async fn send(&self, request: TestRequest, key: &str) -> Answer {
        self.raw(request.insert_header(("authorization", format!("Bearer {key}")))).await
    }

    pub(super) async fn get(&self, path: &str, key: &str) -> Answer {
        self.send(TestRequest::get().uri(path), key).await
    }

    pub(super) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(TestRequest::post().uri(path).set_payload(body.to_string()), key).await
    }

    /// Reserves a call and answers its number.
    pub(super) async fn reserve(&self, key: &str, app: &str) -> Seq {
        let answer = self
            .post("/v1/calls", key, &json!({"app": app, "api": "message/send", "cost": {"person_times": 1}}))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.body["call_id"].as_u64().unwrap()
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the form of a problem and answers its slug.
    pub(super) fn problem(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(self.body["status"], self.status);
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        (self.status, self.body["type"].as_str().unwrap().strip_prefix("/problems/").unwrap())
    }

    fn seqs(&self) -> Vec<Seq> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_process_that_can_write_is_alive_and_ready_without_a_key() {
    let world = World::new().await;
    assert_eq!(world.raw(TestRequest::get().uri("/healthz")).await.body, json!({"status": "ok"}));
    let ready = world.raw(TestRequest::get().uri("/readyz")).await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.body, json!({"status": "ready", "ledger": world.state.ledger.head(), "warnings": []}));
    world.state.drain();
    let draining = world.raw(TestRequest::get().uri("/readyz")).await;
    assert_eq!((draining.status, &draining.body["status"]), (503, &json!("unavailable")));
}

#[tokio::test]
async fn an_app_whose_secret_is_rejected_is_a_warning_and_not_an_outage() {
    let world = World::new().await;
    let app = world.state.ledger.directory().app("corp1", "1000002").unwrap().0;
    let begin = Command::BeginFetch { app, why: FetchReason::Demand, timeout_ms: 1000 };
    let Reply::Fetch { pending, .. } = world.state.ledger.decide(begin).await.unwrap() else { panic!() };
    let refused = FetchOutcome::Refused {
        errcode: 40001,
        errmsg: "invalid credential".to_owned(),
        hint: None,
        from_ip: None,
        http_status: 200,
        latency_us: 1,
    };
    world.state.ledger.decide(Command::EndFetch { pending, outcome: refused }).await.unwrap();
    let ready = world.raw(TestRequest::get().uri("/readyz")).await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("ready_with_warnings")));
    let warning = &ready.body["warnings"][0];
    assert_eq!((&warning["app"], &warning["errcode"]), (&json!("corp1/1000002"), &json!(40001)));
    assert_eq!(warning["warning"], "secret_rejected");
}

#[tokio::test]
async fn blocks_and_limits_that_are_used_up_are_warnings() {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 1).await;
    world.cap("corp2", "corp-api-minute", 2).await;
    world.reserve(&world.admin, APPS[0]).await;
    let call = world.reserve(&world.admin, APPS[1]).await;
    let answer = json!({"errcode": 45009, "errmsg": "api freq out of limit"});
    world.post(&format!("/v1/calls/{call}/post"), &world.admin, &answer).await;
    let ready = world.raw(TestRequest::get().uri("/readyz")).await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("ready_with_warnings")));
    let warnings = ready.body["warnings"].as_array().unwrap();
    let told: Vec<_> =
        warnings.iter().map(|it| (it["warning"].as_str().unwrap(), it["advice"].as_str().unwrap())).collect();
    let [(block, held), (used_up, full)] = told[..] else { panic!("{told:?}") };
    assert_eq!((block, used_up), ("blocked_by_wecom", "limit_used_up"));
    assert!(held.contains("message/send of corp2/1000002 is held back until 20"), "{held}");
    assert!(full.contains("corp-api-minute of corp1 message/send is used up, 1 of 1; empty at 20"), "{full}");
}

#[tokio::test]
async fn every_scope_opens_its_own_doors_only() {
    let world = World::new().await;
    let doors =
        [("/v1/entries", Scope::Audit), ("/v1/entries/1", Scope::Audit), ("/v1/usage", Scope::Report)];
    for &(_, scope) in Scope::NAMES {
        let (_, key) = world.key(&[scope], &[]).await;
        for (path, needed) in doors {
            let answer = world.get(path, &key).await;
            if scope == needed || scope == Scope::Admin {
                assert_eq!(answer.status, 200, "{scope:?} {path}");
            } else {
                assert_eq!(answer.problem(), (403, "missing-scope"), "{scope:?} {path}");
                assert!(Scope::NAMES.contains(&(answer.body["scope"].as_str().unwrap(), needed)));
            }
        }
        let answer = world.post("/v1/calls", &key, &json!({"app": APPS[0], "api": "user/get"})).await;
        assert_eq!(answer.status == 201, matches!(scope, Scope::Call | Scope::Admin), "{scope:?}");
    }
}

#[tokio::test]
async fn without_a_valid_key_nothing_of_v1_answers() {
    let world = World::new().await;
    let (id, key) = world.key(&[Scope::Admin], &[]).await;
    for header in [None, Some("Bearer"), Some("Bearer "), Some("Basic abc"), Some("Bearer wlk_wrong")] {
        let mut request = TestRequest::get().uri("/v1/usage");
        if let Some(header) = header {
            request = request.insert_header(("authorization", header));
        }
        let answer = world.raw(request).await;
        assert_eq!(answer.problem(), (401, "unauthorized"), "{header:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let change = |change| Command::SetApiKey { api_key: id, change };
    assert_eq!(world.get("/v1/usage", &key).await.status, 200);
    world.act(change(ApiKeyChange::Pause)).await;
    assert!(world.get("/v1/usage", &key).await.body["detail"].as_str().unwrap().contains("paused"));
    world.act(change(ApiKeyChange::Resume)).await;
    assert_eq!(world.get("/v1/usage", &key).await.status, 200);
    world.act(change(ApiKeyChange::Revoke)).await;
    assert_eq!(world.get("/v1/usage", &key).await.problem(), (401, "unauthorized"));
}

#[tokio::test]
async fn pages_put_together_are_the_whole_ledger_in_its_canonical_form() {
    let world = World::new().await;
    let head = world.state.ledger.head();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let answer = world.get(&format!("/v1/entries?after={after}&limit=3"), &world.admin).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        for seq in answer.seqs() {
            let one = world.get(&format!("/v1/entries/{seq}"), &world.admin).await;
            assert!(answer.text.contains(&one.text), "the same bytes");
            seen.push(seq);
        }
        match answer.body["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen, (1..=head).collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_find_what_they_name_and_nothing_else() {
    let world = World::new().await;
    let (id, key) = world.key(&[Scope::Call], &[]).await;
    let first = world.reserve(&key, APPS[0]).await;
    let second = world.reserve(&key, APPS[1]).await;
    world.post(&format!("/v1/calls/{first}/post"), &key, &json!({"errcode": 60011})).await;
    let head = world.state.ledger.head();
    let find = async |query: &str| world.get(&format!("/v1/entries?{query}"), &world.admin).await.seqs();
    assert_eq!(find("kind=call.pending").await, [first, second]);
    assert_eq!(find("errcode=60011").await, [head]);
    assert_eq!(find(&format!("key={id}&corp=corp2")).await, [second]);
    assert_eq!(find("app=corp1/1000002&api=message/send").await, [first, head]);
    assert_eq!(find("kind=ledger.created&to=2020-01-01T00:00:00Z").await, [0; 0]);
    assert_eq!(find("kind=ledger.created&from=2020-01-01T08:00:00+08:00").await, [1]);
    assert_eq!(find("api=user/get").await, [0; 0], "an API that nobody has called yet");
}

#[tokio::test]
async fn a_query_that_does_not_fit_is_a_problem_that_names_the_parameter() {
    let world = World::new().await;
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=-1", "after"),
        ("kind=call.gone", "call.pending"),
        ("app=corp1", "CORP_ID/AGENT_ID"),
        ("errcode=x", "errcode"),
        ("from=yesterday", "from"),
        ("colour=red", "colour"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from is later than to"),
        ("corp=nobody", "corp `nobody` is unknown"),
        ("app=corp1/1", "app `corp1/1` is unknown"),
        ("api=message/sent", "api `message/sent` is unknown"),
        ("key=99999", "key `99999` is unknown"),
    ] {
        let answer = world.get(&format!("/v1/entries?{query}"), &world.admin).await;
        assert_eq!(answer.problem(), (400, "invalid-query"), "{query}");
        assert!(answer.body["detail"].as_str().unwrap().contains(named), "{query}: {}", answer.text);
    }
    assert_eq!(world.get("/v1/usage?key=1", &world.admin).await.problem(), (400, "invalid-query"));
}

#[tokio::test]
async fn a_key_limited_to_an_app_sees_only_that_app() {
    let world = World::new().await;
    let (_, key) = world.key(&[Scope::Call, Scope::Audit, Scope::Report], &APPS[..1]).await;
    let own = world.reserve(&key, APPS[0]).await;
    let foreign = world.reserve(&world.admin, APPS[1]).await;
    let app = world.state.ledger.directory().app("corp1", "1000002").unwrap().0;
    assert_eq!(world.get("/v1/entries", &key).await.seqs(), [app, own]);
    assert_eq!(world.get(&format!("/v1/entries/{foreign}"), &key).await.problem(), (404, "not-found"));
    assert_eq!(world.get("/v1/entries/1", &key).await.problem(), (404, "not-found"));
    assert_eq!(world.get("/v1/entries?app=corp2/1000002", &key).await.problem(), (403, "not-allowed"));
    let usage = world.get("/v1/usage", &key).await;
    let rows = usage.body["usage"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["corp_id"] == "corp1"), "{}", usage.text);
    let all = world.get("/v1/usage", &world.admin).await;
    assert!(all.body["usage"].as_array().unwrap().iter().any(|row| row["egress_ip"] == "default"));
}

#[tokio::test]
async fn usage_shows_each_limit_with_its_names_and_numbers() {
    let world = World::new().await;
    let call = world.reserve(&world.admin, APPS[0]).await;
    world.post(&format!("/v1/calls/{call}/post"), &world.admin, &json!({"errcode": 0})).await;
    world.reserve(&world.admin, APPS[0]).await;
    let usage = world.get("/v1/usage?corp=corp1&api=message/send&limit=corp-api-minute", &world.admin).await;
    let row = &usage.body["usage"][0];
    let shown = json!({
        "limit": "corp-api-minute", "corp_id": "corp1", "agent_id": null, "api": "message/send", "egress_ip": null,
        "api_key_id": null, "chat": null, "members": null, "unit": "calls", "window": "60s", "mode": "enforce", "rule": "limit", "used": 2, "in_flight": 1,
        "cap": 1000, "remaining": 998, "resets_at": row["resets_at"],
    });
    assert_eq!(*row, shown);
    assert!(chrono::DateTime::parse_from_rfc3339(row["resets_at"].as_str().unwrap()).is_ok());
    assert_eq!(usage.body["usage"].as_array().unwrap().len(), 1);
    for query in ["corp=nobody", "app=corp1/1", "api=message/sent", "limit=corp-api-second"] {
        let answer = world.get(&format!("/v1/usage?{query}"), &world.admin).await;
        assert_eq!(answer.problem(), (400, "invalid-query"), "{query}");
        assert!(answer.text.contains("is unknown"), "{}", answer.text);
    }
    let of_app = world.get("/v1/usage?app=corp1/1000002", &world.admin).await;
    let limits: Vec<&str> =
        of_app.body["usage"].as_array().unwrap().iter().map(|row| row["limit"].as_str().unwrap()).collect();
    assert_eq!(limits, ["corp-api-hour", "corp-api-minute", "messages-corp-day"]);
}
