//! What a message costs: reserved before it is sent, posted with what its answer shows.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::raw::{self, Message, Upstream};
use crate::support::{AGENT, CORP, Entry, Ledger, Sandbox, Server, until};

/// The account cap of the test's corp.
const CAP: u64 = 500;

fn message(to: &Value) -> Value {
    let agent: u32 = AGENT.parse().unwrap();
    let mut body = json!({"msgtype": "text", "agentid": agent, "text": {"content": "服务器磁盘将满"}});
    body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
    body
}

/// Person-times of the message that was sent last: reserved and posted.
async fn last(ledger: &Ledger, server: &Server) -> (u64, u64) {
    let entries = ledger.entries(server).await;
    let pending = entries.iter().rfind(|entry| entry["kind"] == "call.pending").unwrap();
    (person_times(pending), posted(&entries, pending))
}

fn person_times(entry: &Entry) -> u64 {
    entry["person_times"].as_u64().unwrap_or(0)
}

fn posted(entries: &[Entry], pending: &Entry) -> u64 {
    let ends = |entry: &&Entry| entry["kind"] == "call.posted" && entry["pending_seq"] == pending["seq"];
    person_times(entries.iter().find(ends).unwrap())
}

async fn send(ledger: &Ledger, server: &Server, to: Value) -> (u64, u64) {
    server.post("message/send", message(&to)).await;
    last(ledger, server).await
}

/// Lets an answer pass through, and waits until what it teaches is written down.
async fn learn(ledger: &Ledger, server: &Server, api: &str, query: &str) -> Value {
    let learned = async || {
        let entries = ledger.entries(server).await;
        entries.iter().filter(|entry| entry["kind"] == "size.learned").count()
    };
    let before = learned().await;
    let answer = server.get(api, query).await;
    assert_eq!(answer["errcode"], 0, "{answer}");
    until("a size is learned", async || learned().await > before).await;
    answer
}

fn serve_free(ledger: &Ledger, setting: &str) -> Server {
    let mut command = ledger.serve_command(&[]);
    command.env(setting, "free");
    ledger.serve_from(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_understood_leaves_no_size_of_what_it_may_have_made_larger() {
    let upstream = Upstream::start(|request: Message, mut stream| async move {
        // That it went well stands in a header that nobody documents, and nowhere else.
        let (header, answer) = match request.target() {
            it if it.contains("addtagusers") => ("error-code: 0\r\n", r#"{"errmsg":"ok"}"#),
            _ => ("", r#"{"errcode":0,"errmsg":"ok","userlist":[{"userid":"a"}],"partylist":[]}"#),
        };
        let headers = format!("content-type: application/json\r\n{header}");
        raw::reply(&mut stream, &headers, answer.as_bytes()).await;
    })
    .await;
    let ledger = Ledger::new(&upstream.url);
    let server = ledger.serve();
    learn(&ledger, &server, "tag/get", "tagid=7").await;
    assert_eq!(send(&ledger, &server, json!({"totag": "7"})).await.0, 1);
    server.post("tag/addtagusers", json!({"tagid": 7, "userlist": ["b", "c"]})).await;
    let entries = ledger.entries(&server).await;
    assert_eq!(entries.iter().rfind(|entry| entry["kind"] == "call.posted").unwrap()["errcode"], 0);
    assert_eq!(send(&ledger, &server, json!({"totag": "7"})).await.0, CAP);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_counts_once_and_invalid_ones_count_unless_they_are_free() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let to = json!({"touser": "zhangsan|LiSi|no-such-member|ZHANGSAN"});
    let server = ledger.serve();
    assert_eq!(send(&ledger, &server, to.clone()).await, (3, 3));
    drop(server);
    let server = serve_free(&ledger, "WECOM_LEDGER_MESSAGES_INVALID_RECIPIENTS");
    assert_eq!(send(&ledger, &server, to).await, (3, 2));
    // A call that failed as a whole is another question, and its answer names nobody.
    assert_eq!(send(&ledger, &server, json!({"touser": "no-such-member"})).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_refused_counts_unless_it_is_free() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let to = json!({"touser": "no-such-member|nor-this-one"});
    let server = ledger.serve();
    assert_eq!(send(&ledger, &server, to.clone()).await, (2, 2));
    drop(server);
    let server = serve_free(&ledger, "WECOM_LEDGER_MESSAGES_FAILED");
    assert_eq!(send(&ledger, &server, to.clone()).await, (2, 0));
    // WeCom is busy: nobody knows whether it went out.
    sandbox.fault(json!({"path": "message/send", "kind": "errcode", "errcode": -1, "times": 1})).await;
    assert_eq!(send(&ledger, &server, to).await, (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_counts_as_the_whole_corp_until_its_size_is_learned() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    assert_eq!(send(&ledger, &server, json!({"toparty": "3|4"})).await, (2 * CAP, 2 * CAP));
    learn(&ledger, &server, "department/simplelist", "").await;
    let backend = learn(&ledger, &server, "user/simplelist", "department_id=3").await;
    let operations = learn(&ledger, &server, "user/simplelist", "department_id=4").await;
    let [backend, operations] =
        [backend, operations].map(|list| list["userlist"].as_array().unwrap().len() as u64);
    assert!(backend > 0 && operations > 0 && backend + operations < CAP);
    let both = backend + operations;
    assert_eq!(send(&ledger, &server, json!({"toparty": "3|4"})).await, (both, both));
    // 2 has 3 below it, but how many are in 2 itself is not known.
    assert_eq!(send(&ledger, &server, json!({"toparty": 2})).await, (CAP, CAP));
    learn(&ledger, &server, "user/simplelist", "department_id=2").await;
    assert_eq!(send(&ledger, &server, json!({"toparty": 2})).await, (backend, backend));
    // The same answer again teaches nothing.
    let count =
        async || ledger.entries(&server).await.iter().filter(|it| it["kind"] == "size.learned").count();
    let before = count().await;
    server.get("user/simplelist", "department_id=2").await;
    // Written in order, so what it would have taught stands before what the next one teaches.
    learn(&ledger, &server, "tag/get", "tagid=1").await;
    assert_eq!(count().await, before + 1);
    drop(server);
    // What was learned outlives the process.
    let server = ledger.serve();
    assert_eq!(send(&ledger, &server, json!({"toparty": "2"})).await, (backend, backend));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_on_request_makes_departments_tags_and_all_count_as_they_are() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    assert_eq!(send(&ledger, &server, json!({"touser": "@all", "toparty": "1"})).await, (CAP, CAP));
    assert_eq!(send(&ledger, &server, json!({"totag": "2"})).await, (CAP, CAP));
    let app = format!("{CORP}/{AGENT}");
    let learn = || {
        let mut command = ledger.command(&["members", "learn", &app, "--json"]);
        let output = command.env("WECOM_LEDGER_UPSTREAM", sandbox.url()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let learned = learn();
    assert_eq!(learned["stopped"], Value::Null, "{learned}");
    assert_eq!((&learned["departments_known"], &learned["tags_known"]), (&json!(5), &json!(2)));
    let list = server.get("user/simplelist", "department_id=1&fetch_child=1").await;
    let all = list["userlist"].as_array().unwrap_or_else(|| panic!("{list}")).len() as u64;
    let list = server.get("user/simplelist", "department_id=4").await;
    let on_call = list["userlist"].as_array().unwrap().len() as u64;
    assert_eq!(send(&ledger, &server, json!({"touser": "@all"})).await, (all, all));
    assert_eq!(send(&ledger, &server, json!({"totag": "1|2"})).await, (2 + on_call, 2 + on_call));
    // All is known now: only what tells that is asked for again.
    assert_eq!(learn()["calls"], 3);
    // Its calls are entries like those of a client.
    let entries = ledger.entries(&server).await;
    let asked = entries.iter().filter(|it| it["kind"] == "call.pending" && it["api"] == "tag/get");
    assert!(asked.clone().all(|it| it["process"].is_u64() && it["api_key_id"].is_null()));
    assert_eq!(asked.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_on_request_stops_where_it_is_refused_and_goes_on_there() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let app = format!("{CORP}/{AGENT}");
    let learn = || {
        let mut command = ledger.command(&["members", "learn", &app, "--json"]);
        let output = command.env("WECOM_LEDGER_UPSTREAM", sandbox.url()).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "3"]);
    let learned = learn();
    assert_eq!((&learned["departments"], &learned["departments_known"]), (&json!(5), &json!(3)), "{learned}");
    assert!(learned["stopped"].as_str().unwrap().contains("45009"), "{learned}");
    assert_eq!(sandbox.calls("user/simplelist").await, 3);
    ledger.ok(&["limits", "unset", CORP, "corp-api-minute"]);
    assert_eq!(learn()["stopped"], Value::Null);
    assert_eq!(sandbox.calls("user/simplelist").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_read_whatever_the_content_type_and_what_cant_be_read_is_everyone() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let post = async |content_type: &str, body: String| {
        let url = format!("{}/cgi-bin/message/send", server.url());
        let request = server.http.post(url).bearer_auth(&server.app_key).header("content-type", content_type);
        let _: Value = request.body(body).send().await.unwrap().json().await.unwrap();
        last(&ledger, &server).await.0
    };
    let to = message(&json!({"touser": "张三|李四|zhangsan"})).to_string();
    assert_eq!(post("application/x-www-form-urlencoded", to.clone()).await, 3);
    assert_eq!(post("text/plain", to.clone()).await, 3);
    assert_eq!(post("application/json", format!("{to}}}")).await, CAP);
    let entries = ledger.entries(&server).await;
    let pending = entries.iter().rfind(|entry| entry["kind"] == "call.pending").unwrap();
    assert_eq!(pending["unread"], "not_json");
    // One that is kept in a file meanwhile.
    let mut long = message(&json!({"touser": "zhangsan|lisi"}));
    long["text"]["content"] = "长".repeat(50_000).into();
    assert_eq!(post("application/json", long.to_string()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_attempt_reserves_the_same_and_the_first_has_sent_nothing() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let to = json!({"touser": "zhangsan|lisi|wangwu"});
    send(&ledger, &server, to.clone()).await;
    sandbox.revoke(40014).await;
    assert_eq!(send(&ledger, &server, to).await, (3, 3));
    let entries = ledger.entries(&server).await;
    let retry = entries.iter().rfind(|entry| entry["kind"] == "call.pending").unwrap();
    let first = entries.iter().find(|entry| entry["seq"] == retry["retry_of"]).unwrap();
    assert_eq!((person_times(first), posted(&entries, first)), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_declares_counts_and_can_be_seen() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let app = format!("{CORP}/{AGENT}");
    ledger.ok(&["members", "declare", CORP, "department", "3", "40"]);
    ledger.ok(&["members", "declare", CORP, "tag", "1", "7"]);
    ledger.ok(&["members", "declare", &app, "everyone", "60"]);
    let server = ledger.serve();
    assert_eq!(send(&ledger, &server, json!({"toparty": "3", "totag": "1"})).await, (47, 47));
    assert_eq!(send(&ledger, &server, json!({"touser": "@all"})).await, (60, 60));
    let declare = async |key: &str, body: Value| {
        let request = server.http.post(format!("{}/v1/members", server.url())).bearer_auth(key).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let body = json!({"corp_id": CORP, "agent_id": AGENT, "of": "department", "id": 3, "members": 30});
    assert_eq!(declare(&ledger.app_key, body.clone()).await, 403);
    assert_eq!(declare(&ledger.admin_key, body).await, 201);
    assert_eq!(declare(&ledger.admin_key, json!({"corp_id": CORP, "of": "tag", "members": 30})).await, 400);
    let nowhere = json!({"corp_id": "ww-nowhere", "of": "everyone", "members": 30});
    assert_eq!(declare(&ledger.admin_key, nowhere).await, 404);
    // The app's own before the corp's.
    assert_eq!(send(&ledger, &server, json!({"toparty": "3"})).await, (30, 30));
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.rest(&ledger.admin_key, &format!("/v1/members?limit=1{after}")).await;
        rows.extend(page["members"].as_array().unwrap_or_else(|| panic!("{page}")).clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let shown: Vec<_> =
        rows.iter().map(|row| (&row["agent_id"], &row["of"], &row["id"], &row["members"])).collect();
    let (none, agent) = (Value::Null, json!(AGENT));
    let [department, tag, everyone] = ["department", "tag", "everyone"].map(Value::from);
    let expected = [
        (&none, &department, &json!(3), &json!(40)),
        (&none, &tag, &json!(1), &json!(7)),
        (&agent, &everyone, &none, &json!(60)),
        (&agent, &department, &json!(3), &json!(30)),
    ];
    assert_eq!(shown, expected);
    let listed = ledger.json(&["members", "list"]);
    assert_eq!(listed["members"], Value::from(rows));
}

fn must_not_be_in(dir: &Path, names: &[&str]) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            must_not_be_in(&path, names);
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).to_lowercase();
        for name in names {
            assert!(!text.contains(name), "{name} is in {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_named_in_the_data_directory() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    send(&ledger, &server, json!({"touser": "ZhangSan|wangwu|no-such-member"})).await;
    learn(&ledger, &server, "department/list", "").await;
    learn(&ledger, &server, "user/list", "department_id=3&fetch_child=1").await;
    learn(&ledger, &server, "tag/get", "tagid=1").await;
    server
        .post("appchat/send", json!({"chatid": "our-only-chat", "msgtype": "text", "text": {"content": "x"}}))
        .await;
    server.get("webhook/send", "key=our-only-robot").await;
    let chat = ledger.entries(&server).await;
    assert!(chat.iter().any(|it| it["api"] == "appchat/send" && it["chat"].is_string()), "{chat:?}");
    drop(server);
    let names = ["zhangsan", "wangwu", "no-such-member", "our-only-chat", "our-only-robot"];
    must_not_be_in(&ledger.data_dir(), &names);
}
