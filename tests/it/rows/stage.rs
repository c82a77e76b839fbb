//! The stage on which a row is played.

use chrono::{Datelike as _, Duration, Timelike as _, Utc};
use futures_util::{StreamExt as _, future, stream};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::Row;
use crate::support::{AGENT, CORP, Ledger, Sandbox, Server, TestClock, until};

/// Calls at the same time.
const CALLERS: usize = 32;
/// Longer than a minute's window and the part of it by which calls are forgotten late.
const MINUTE_MS: i64 = 61_000;

/// A WeCom of one era, and a gateway in front of it that judges by the same.
pub(super) struct Stage {
    pub(super) limit: String,
    row: Row,
    clock: TestClock,
    pub(super) sandbox: Sandbox,
    ledger: Ledger,
    server: Server,
    /// May be given tickets, for all apps.
    key: String,
}

impl Stage {
    pub(super) async fn new(era: &str, provider: bool, limit: String, row: Row) -> Self {
        let clock = TestClock::new();
        // No day and no month ends meanwhile.
        clock.advance_ms(until_noon_in_mid_month());
        let (apps, accounts) = (agents(row.apps), row.accounts.to_string());
        let named: Vec<_> = apps.iter().map(|agent| format!("{agent}=sandbox-secret-{agent}")).collect();
        let mut flags = vec!["--limits", era, "--accounts", &accounts, "--app"];
        flags.extend(named.iter().map(String::as_str));
        let sandbox = Sandbox::with(&flags, Some(&clock));
        if provider {
            sandbox.post("settings", json!({"preset": era, "operator": "provider"})).await;
        }
        let ledger = Ledger::new(sandbox.url());
        ledger.ok(&["corp", "add", CORP, "--accounts", &accounts]);
        let mut choose = vec!["limits", "use", era];
        choose.extend(provider.then_some("--provider"));
        ledger.ok(&choose);
        if row.lowered {
            let corp = if limit.starts_with("ip-") { "*" } else { CORP };
            ledger.ok(&["limits", "set", corp, &limit, &row.calls.to_string()]);
        }
        for agent in &apps[1..] {
            ledger.put_app(agent, &format!("sandbox-secret-{agent}"));
        }
        let agents: Vec<_> = apps.iter().map(String::as_str).collect();
        let key = ledger.create_key("rows", "call,reveal", &agents);
        let server = ledger.serve_with(&[], Some(&clock));
        let stage = Self { limit, row, clock, sandbox, ledger, server, key };
        stage.prepare().await;
        stage
    }

    async fn prepare(&self) {
        let room = json!({"chatid": "room", "name": "n", "userlist": ["zhangsan", "lisi"]});
        match (self.row.api, self.limit.as_str()) {
            // Past the gateway, which then does not know how large it is.
            ("appchat/send", "appchat-send-minute" | "appchat-send-hour") => {
                let (http, url) = (&self.server.http, self.sandbox.url());
                let secret = format!("sandbox-secret-{AGENT}");
                let query = format!("corpid={CORP}&corpsecret={secret}");
                let token: Value = answer(http.get(format!("{url}/cgi-bin/gettoken?{query}"))).await;
                let token = token["access_token"].as_str().unwrap();
                let create = format!("{url}/cgi-bin/appchat/create?access_token={token}");
                assert_eq!(answer(http.post(create).json(&room)).await["errcode"], 0);
            }
            ("appchat/send" | "appchat/update", _) => {
                assert_eq!(self.post("appchat/create", &room).await["errcode"], 0);
                until("its members are known", async || {
                    let entries = self.ledger.entries(&self.server).await;
                    entries.iter().any(|entry| entry["kind"] == "size.learned")
                })
                .await;
            }
            ("user/getuserid", _) => {
                let fault = json!({"path": "user/getuserid", "kind": "errcode", "errcode": self.expected()});
                self.sandbox.fault(fault).await;
            }
            ("externalcontact/mark_tag", _) => {
                let fault = json!({"path": self.row.api, "kind": "delay", "delay_ms": 2_000});
                self.sandbox.fault(fault).await;
            }
            _ => {}
        }
    }

    /// Only wrong answers count against `getuserid-wrong-day`.
    fn expected(&self) -> i64 {
        if self.row.api == "user/getuserid" { 60_111 } else { 0 }
    }

    pub(super) async fn by_calls(&self) {
        let mut made = 0;
        while made < self.row.calls {
            if made > 0 {
                self.clock.advance_ms(MINUTE_MS);
            }
            let wave = self.row.wave.min(self.row.calls - made);
            let callers = if self.row.api == "user/create" { 1 } else { CALLERS };
            let calls = stream::iter((made..made + wave).map(|n| self.call(n))).buffer_unordered(callers);
            let answers: Vec<Value> = calls.collect().await;
            let passed = answers.iter().filter(|answer| answer["errcode"] == self.expected()).count();
            assert_eq!(passed, wave, "after {made}: {:?}", answers.last());
            made += wave;
        }
        let reached = self.reached().await;
        assert_eq!(reached, self.row.calls as u64, "{}", self.row.api);
        let over = self.call(made).await;
        assert_eq!(over["errcode"], 45009, "{over}");
        self.refused_by_us(&over).await;
        assert_eq!(self.reached().await, reached, "one over reached WeCom");
    }

    /// How many calls of the row's API WeCom has seen.
    async fn reached(&self) -> u64 {
        self.sandbox.get("stats").await["calls"][self.row.api].as_u64().unwrap_or(0)
    }

    /// The refusal names the row, and the row is full to the last.
    async fn refused_by_us(&self, answer: &Value) {
        let errmsg = answer["errmsg"].as_str().unwrap();
        assert!(errmsg.contains("from wecom-ledger") && errmsg.contains(&self.limit), "{errmsg}");
        let entries = self.ledger.entries(&self.server).await;
        let refused: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "call.refused").collect();
        let [refused] = refused[..] else { panic!("{refused:?}") };
        assert_eq!((&refused["limit"], &refused["used"]), (&json!(self.limit), &refused["cap"]), "{refused}");
        assert_eq!(refused["count"], 1);
    }

    pub(super) async fn at_the_same_time(&self) {
        let under_way = future::join_all((0..self.row.calls).map(|n| self.call(n)));
        let over = async {
            until("all are under way", async || self.reached().await == self.row.calls as u64).await;
            let over = self.call(self.row.calls).await;
            assert_eq!(over["errcode"], 45009, "{over}");
            self.refused_by_us(&over).await;
        };
        let (answers, ()) = tokio::join!(under_way, over);
        assert!(answers.iter().all(|answer| answer["errcode"] == 0), "{answers:?}");
        assert_eq!(self.reached().await, self.row.calls as u64);
        assert_eq!(self.call(0).await["errcode"], 0, "the others have ended");
    }

    /// It refuses nothing, and says in the entry what it would have refused.
    pub(super) async fn in_shadow(&self) {
        let calls = stream::iter((0..self.row.calls).map(|n| self.call(n))).buffer_unordered(CALLERS);
        let answers: Vec<Value> = calls.collect().await;
        assert!(answers.iter().all(|answer| answer["errcode"] == 0), "{answers:?}");
        assert_eq!(self.call(self.row.calls).await["errcode"], 0);
        let entries = self.ledger.entries(&self.server).await;
        let pendings: Vec<_> =
            entries.iter().filter(|it| it["api"] == self.row.api && it["kind"] == "call.pending").collect();
        let (last, before) = pendings.split_last().unwrap();
        assert_eq!(last["shadowed"], json!([self.limit]), "{last}");
        assert!(before.iter().all(|pending| pending["shadowed"].is_null()));
    }

    /// By the command line: there is no call that could be refused.
    pub(super) fn declare(&self) {
        let unit = if self.limit == "article-reads" { "reads" } else { "apps" };
        let declare = |amount: usize| {
            let amount = amount.to_string();
            let mut arguments = vec!["usage", "declare", CORP, unit, &amount];
            if unit == "reads" {
                arguments.extend(["--article", "the one of May"]);
            }
            self.ledger.ok(&arguments);
        };
        let usage = || self.ledger.json(&["usage", "--limit", &self.limit])["usage"][0].clone();
        declare(self.row.calls);
        let full = usage();
        let cap = json!(self.row.calls);
        assert_eq!((&full["used"], &full["cap"], &full["remaining"]), (&cap, &cap, &json!(0)), "{full}");
        assert_eq!(full["chat"].is_string(), unit == "reads", "{full}");
        declare(1);
        assert_eq!(usage()["used"], json!(self.row.calls + 1), "what was declared is a fact");
    }

    /// The `n`th call of the row.
    async fn call(&self, n: usize) -> Value {
        let agent: u32 = AGENT.parse().unwrap();
        let text = json!({"msgtype": "text", "text": {"content": "x"}});
        let with = |more: Value| {
            let mut body = text.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let api = self.row.api;
        match api {
            "message/send" => self.post(api, &with(json!({"touser": "zhangsan", "agentid": agent}))).await,
            "appchat/send" => self.post(api, &with(json!({"chatid": "room"}))).await,
            "appchat/update" => self.post(api, &json!({"chatid": "room", "name": format!("n{n}")})).await,
            "appchat/create" => self.post(api, &json!({"name": "n", "userlist": ["zhangsan", "lisi"]})).await,
            "webhook/send" => self.post("webhook/send?key=the-robot", &text).await,
            "agent/set" => {
                self.post(api, &json!({"agentid": agent, "redirect_domain": format!("d{n}.example.com")}))
                    .await
            }
            "user/create" => {
                // WeCom has one account to give.
                self.get("user/delete", "userid=somebody").await;
                self.post(api, &json!({"userid": "somebody", "name": "n"})).await
            }
            "media/uploadimg" => {
                let form = Form::new().part("picture", Part::bytes(vec![1; 100]).file_name("a.png"));
                answer(self.request(reqwest::Method::POST, api, 0).multipart(form)).await
            }
            "get_jsapi_ticket" | "ticket/get" => {
                let api = format!("{api}?type=agent_config");
                answer(self.request(reqwest::Method::GET, &api, n as u64 % self.row.apps)).await
            }
            "user/get" => self.get(api, "userid=zhangsan").await,
            _ => self.post(api, &json!({})).await,
        }
    }

    async fn get(&self, api: &str, query: &str) -> Value {
        answer(self.request(reqwest::Method::GET, &format!("{api}?{query}"), 0)).await
    }

    async fn post(&self, api: &str, body: &Value) -> Value {
        answer(self.request(reqwest::Method::POST, api, 0).json(body)).await
    }

    fn request(&self, method: reqwest::Method, api: &str, app: u64) -> reqwest::RequestBuilder {
        let request = self.server.http.request(method, format!("{}/cgi-bin/{api}", self.server.url()));
        let app = format!("{CORP}/{}", agents(app + 1)[app as usize]);
        request.bearer_auth(&self.key).header("x-wecom-app", app)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

fn agents(count: u64) -> Vec<String> {
    let first: u64 = AGENT.parse().unwrap();
    (first..first + count).map(|agent| agent.to_string()).collect()
}

/// In China.
fn until_noon_in_mid_month() -> i64 {
    let now = Utc::now().naive_utc() + Duration::hours(8);
    let mut then = now;
    while !(5..25).contains(&then.day()) || then.hour() != 12 {
        then += Duration::hours(1);
    }
    (then - now).num_milliseconds()
}
