//! WeCom counts what an app's messages reached, and so does the ledger: once a day the two are compared.

// Days pass here.
#![cfg(feature = "test-clock")]

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::raw::{Message, Upstream};
use crate::support::{AGENT, CORP, Entry, Ledger, SECRET, Sandbox, Server, TestClock, client, until};

const API: &str = "message/get_statistics";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A sandbox and a ledger whose clocks show noon in China, of a day that began after the app was added.
struct World {
    clock: TestClock,
    sandbox: Sandbox,
    ledger: Ledger,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::new();
        let sandbox = Sandbox::with(&[], Some(&clock));
        let ledger = Ledger::new(sandbox.url());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        // Some minutes later, because about midnight a day may be either one.
        let of_day = (now + 8 * HOUR_MS + 5 * 60_000).rem_euclid(DAY_MS) - 5 * 60_000;
        clock.advance_ms(DAY_MS - of_day + 12 * HOUR_MS);
        Self { clock, sandbox, ledger }
    }

    /// Also compares every day, from three o'clock on.
    fn daily(&self) -> Command {
        let mut command = self.ledger.serve_command(&[]);
        command.env("WECOM_LEDGER_RECONCILE_MESSAGES", "true").env("WECOM_LEDGER_RECONCILE_AT", "03:00");
        self.clock.give_to(&mut command);
        command
    }

    fn serve(&self) -> Server {
        self.ledger.serve_from(self.daily())
    }

    /// From noon to four in the night.
    fn night(&self) {
        self.clock.advance_ms(16 * HOUR_MS);
    }

    async fn reconciled(&self, server: &Server) -> Vec<Entry> {
        let mut entries = self.ledger.entries(server).await;
        entries.retain(|entry| entry["kind"] == "usage.reconciled");
        entries
    }

    async fn until_reconciled(&self, server: &Server, times: usize) -> Vec<Entry> {
        let what = format!("a day was compared: {times}");
        until(&what, async || self.reconciled(server).await.len() >= times).await;
        self.reconciled(server).await
    }

    /// The command line, at the time of the test.
    fn run(&self, arguments: &[&str]) -> (Value, String) {
        let output = |json: bool| {
            let mut command = self.ledger.command(arguments);
            command.env("WECOM_LEDGER_UPSTREAM", self.sandbox.url());
            command.args(json.then_some("--json"));
            self.clock.give_to(&mut command);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        (serde_json::from_str(&output(true)).unwrap(), output(false))
    }

    /// Another program that has the app's secret, and knows nothing of the ledger.
    async fn send_past_the_ledger(&self, to: &str) {
        let (http, url) = (client(), self.sandbox.url());
        let token = format!("{url}/cgi-bin/gettoken?corpid={CORP}&corpsecret={SECRET}");
        let token: Value = http.get(token).send().await.unwrap().json().await.unwrap();
        let token = token["access_token"].as_str().unwrap();
        let agent: u32 = AGENT.parse().unwrap();
        let body = json!({"touser": to, "msgtype": "text", "agentid": agent, "text": {"content": "x"}});
        let send = format!("{url}/cgi-bin/message/send?access_token={token}");
        let sent: Value = http.post(send).json(&body).send().await.unwrap().json().await.unwrap();
        assert_eq!(sent["errcode"], 0, "{sent}");
    }
}

fn counts(entry: &Value) -> [&Value; 6] {
    ["wecom", "counted", "at_least", "at_most", "difference", "unexplained"].map(|name| &entry[name])
}

#[tokio::test]
async fn equal_counts_are_an_entry_a_day_and_nothing_is_asked_twice_after_a_kill() {
    let world = World::new();
    let mut server = world.serve();
    assert_eq!(server.send_message("zhangsan|lisi|no-such-member", "x").await["errcode"], 0);
    assert_eq!(server.send_message("wangwu", "x").await["errcode"], 0);
    world.night();
    let first = world.until_reconciled(&server, 1).await.remove(0);
    // Who does not exist counts in the limits, but not here.
    assert_eq!(counts(&first), [3, 3, 3, 3, 0, 0].map(Value::from).each_ref());
    assert_eq!((&first["corp_id"], &first["agent_id"]), (&json!(CORP), &json!(AGENT)));
    server.process.kill();

    let server = world.serve();
    world.clock.advance_ms(DAY_MS);
    let both = world.until_reconciled(&server, 2).await;
    assert_eq!(counts(&both[1]), [0; 6].map(Value::from).each_ref());
    assert_ne!(both[0]["day"], both[1]["day"]);
    assert_eq!(world.sandbox.calls(API).await, 2, "once for each day");
    // They are calls like others.
    let entries = world.ledger.entries(&server).await;
    let asked = entries.iter().filter(|it| it["kind"] == "call.pending" && it["api"] == API);
    assert!(asked.clone().all(|it| it["cost"] == 1 && it["process"].is_u64()));
    assert_eq!(asked.count(), 2);
    let (json, text) = world.run(&["usage", "reconciled"]);
    assert_eq!(json["reconciled"][1]["day"], first["day"]);
    assert!(!text.contains("sent past"), "{text}");
}

#[tokio::test]
async fn what_somebody_sends_past_the_ledger_is_an_alert_and_is_shown_with_who_it_may_be() {
    let world = World::new();
    let receiver = Upstream::start(|_: Message, mut stream: TcpStream| async move {
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
    })
    .await;
    let hook = world.ledger.data_dir().join("hook");
    std::fs::write(&hook, &receiver.url).unwrap();
    let mut command = world.daily();
    command.env("WECOM_LEDGER_WEBHOOK_URL_FILE", &hook);
    let server = world.ledger.serve_from(command);
    assert_eq!(server.send_message("zhangsan", "x").await["errcode"], 0);
    world.send_past_the_ledger("lisi|wangwu").await;
    world.night();
    let entry = world.until_reconciled(&server, 1).await.remove(0);
    assert_eq!(counts(&entry), [3, 1, 1, 1, 2, 2].map(Value::from).each_ref());
    until("the webhook was told", async || !receiver.requests().is_empty()).await;
    let told = receiver.requests().remove(0).json();
    assert_eq!((&told["kind"], &told["entry"]["seq"]), (&json!("usage.reconciled"), &entry["seq"]));
    assert!(told["text"].as_str().unwrap().contains("at least 2 were sent past this service"), "{told}");
    let (json, text) = world.run(&["usage", "reconciled", "--app", &format!("{CORP}/{AGENT}")]);
    assert_eq!(counts(&json["reconciled"][0]), counts(&entry));
    assert!(text.contains("at least 2 were sent past this service") && text.contains("管理后台"), "{text}");
    let rest = server.rest(&world.ledger.admin_key, "/v1/usage/reconciled").await;
    assert_eq!(rest, json);
}

#[tokio::test]
async fn of_two_processes_one_asks() {
    let world = World::new();
    let servers = [world.serve(), world.serve()];
    // Slow, so that the other one sees meanwhile that the day is still to be compared.
    world.sandbox.fault(json!({"path": API, "kind": "delay", "delay_ms": 3_000})).await;
    world.night();
    world.until_reconciled(&servers[0], 1).await;
    assert_eq!(world.sandbox.calls(API).await, 1);
    // Whoever is left goes on.
    let [first, second] = servers;
    drop(first);
    world.clock.advance_ms(DAY_MS);
    let both = world.until_reconciled(&second, 2).await;
    assert_ne!(both[0]["day"], both[1]["day"]);
    assert_eq!(world.sandbox.calls(API).await, 2);
}

#[tokio::test]
async fn a_failure_is_shown_harms_nobody_and_is_tried_again() {
    let world = World::new();
    let server = world.serve();
    let fault = json!({"path": API, "kind": "errcode", "errcode": 48002, "times": 1});
    world.sandbox.fault(fault).await;
    world.night();
    let failed = world.until_reconciled(&server, 1).await.remove(0);
    assert!(failed["failed"].as_str().unwrap().contains("errcode 48002"), "{failed}");
    assert_eq!(server.send_message("zhangsan", "x").await["errcode"], 0);
    let (json, text) = world.run(&["usage", "reconciled"]);
    let row = &json["reconciled"][0];
    assert!(row["wecom"].is_null() && row["again_at"].is_string(), "{row}");
    assert!(text.contains("could not be had") && text.contains("48002"), "{text}");
    world.clock.advance_ms(61_000);
    let again = world.until_reconciled(&server, 2).await;
    assert_eq!((&again[1]["day"], &again[1]["wecom"]), (&failed["day"], &json!(0)));
    assert_eq!(world.sandbox.calls(API).await, 2);
}

#[tokio::test]
async fn an_operator_asks_at_any_time_and_a_key_of_one_app_only_for_it() {
    let world = World::new();
    let agents = [AGENT, "1000002"];
    world.ledger.put_app(agents[1], "sandbox-secret-1000002");
    let key = world.ledger.create_key("one", "admin,report", &[AGENT]);
    // Not by itself.
    let server = world.ledger.serve_with(&[], Some(&world.clock));
    assert_eq!(server.send_message("zhangsan|lisi", "x").await["errcode"], 0);
    world.send_past_the_ledger("wangwu").await;
    let (json, text) =
        world.run(&["usage", "reconcile", "--day", "today", "--app", &format!("{CORP}/{AGENT}")]);
    assert_eq!(counts(&json["reconciled"][0]), [3, 2, 0, 2, 1, 1].map(Value::from).each_ref());
    assert!(json["reconciled"][0]["so_far"] == true && text.contains("sent past this service"), "{text}");

    let post = async |key: &str, body: Value| {
        let url = format!("{}/v1/usage/reconcile", server.url());
        let answer = server.http.post(url).bearer_auth(key).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, report) = post(&key, json!({})).await;
    let rows = report["reconciled"].as_array().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((status, rows.len(), &rows[0]["agent_id"]), (200, 1, &json!(AGENT)), "{report}");
    assert_eq!((&rows[0]["so_far"], &rows[0]["wecom"]), (&json!(false), &json!(0)), "yesterday");
    assert_eq!(post(&key, json!({"corp_id": CORP, "agent_id": agents[1]})).await.1["reconciled"], json!([]));
    let (status, _) = post(&world.ledger.app_key, json!({})).await;
    assert_eq!(status, 403);
    assert_eq!(post(&world.ledger.admin_key, json!({"corp_id": "ww-nowhere"})).await.0, 404);
    assert_eq!(post(&world.ledger.admin_key, json!({"day": "2026-01-31"})).await.0, 400);
    let (_, report) = post(&world.ledger.admin_key, json!({"corp_id": CORP, "day": "today"})).await;
    assert_eq!(report["reconciled"].as_array().unwrap().len(), 2, "{report}");

    // A page of those that the key may see.
    let page = server.rest(&key, "/v1/usage/reconciled?limit=2").await;
    let rows = page["reconciled"].as_array().unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["agent_id"] == AGENT), "{page}");
    let rest = server.rest(&key, &format!("/v1/usage/reconciled?before={}", page["next"])).await;
    assert!(rest["next"].is_null() && !rest["reconciled"].as_array().unwrap().is_empty(), "{rest}");
    // A failure is told to whoever asked.
    world.sandbox.fault(json!({"path": API, "kind": "errcode", "errcode": -1, "times": 1})).await;
    let (_, report) = post(&key, json!({})).await;
    assert_eq!(report["reconciled"], json!([]));
    assert!(report["failed"][0]["reason"].as_str().unwrap().contains("errcode -1"), "{report}");
}
