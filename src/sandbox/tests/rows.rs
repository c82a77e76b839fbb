use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{AGENT, DAY, Sandbox, errcode};
use crate::sandbox::Limits;

fn with(change: impl FnOnce(&mut Limits)) -> Sandbox {
    let mut limits = Limits::none();
    change(&mut limits);
    Sandbox::limited(limits)
}

async fn upload_image(sandbox: &Sandbox, token: &str) -> Value {
    let form = Form::new().part("picture", Part::bytes(vec![1; 100]).file_name("a.png"));
    let request = sandbox.http.post(sandbox.url("/cgi-bin/media/uploadimg"));
    request.query(&[("access_token", token)]).multipart(form).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn base_limits_of_corp_and_ip_are_told_apart() {
    for (row, corp, ip) in [("corp-api", Some(2), None), ("ip-api", None, Some(2))] {
        let sandbox = with(|limits| {
            limits.corp_api_per_minute = corp;
            limits.ip_api_per_minute = ip;
        });
        let token = sandbox.token().await;
        let query = [("access_token", token.as_str()), ("userid", "lisi")];
        sandbox.drive(row, 2, 45009, async |sandbox| sandbox.get("user/get", &query).await).await;
        assert_eq!(sandbox.row(row).await["api"], "user/get");
    }
}

#[tokio::test]
async fn a_call_that_two_rows_refuse_is_one_that_was_refused() {
    let sandbox = with(|limits| {
        limits.corp_api_per_minute = Some(1);
        limits.ip_api_per_minute = Some(1);
    });
    let token = sandbox.token().await;
    assert_eq!((sandbox.read(&token).await, sandbox.read(&token).await), (0, 45009));
    let stats = sandbox.show("stats").await;
    assert_eq!((&stats["over"], &stats["over_by_row"]), (&json!(1), &json!({"corp-api": 1, "ip-api": 1})));
}

#[tokio::test]
async fn every_45009_says_so_with_a_hint_and_the_callers_address() {
    let sandbox = with(|limits| limits.uploadimg_per_day = Some(0));
    let answer = upload_image(&sandbox, &sandbox.token().await).await;
    let text = answer["errmsg"].as_str().unwrap();
    assert!(text.starts_with("api freq out of limit, hint: [") && text.contains("], from ip: 127.0.0.1, "));
    assert!(text.ends_with("devtool/query?e=45009"), "{text}");
}

#[tokio::test]
async fn tickets_are_counted_by_app_and_jsapi_tickets_by_corp_too() {
    let sandbox = with(|limits| {
        limits.jsapi_tickets_per_hour = Some(3);
        limits.app_jsapi_tickets_per_hour = Some(2);
        limits.app_agent_tickets_per_hour = Some(2);
    });
    let one = sandbox.token().await;
    let other = sandbox.gettoken("sandbox-secret-1000002").await;
    let other = [("access_token", other["access_token"].as_str().unwrap())];
    let one = [("access_token", one.as_str()), ("type", "agent_config")];
    let jsapi = async |sandbox: &Sandbox| sandbox.get("get_jsapi_ticket", &one).await;
    sandbox.drive("app-jsapi-tickets", 2, 45009, jsapi).await;
    assert_eq!(errcode(&sandbox.get("get_jsapi_ticket", &other).await), 0);
    assert_eq!(errcode(&sandbox.get("get_jsapi_ticket", &other).await), 45009, "three of the corp");
    assert_eq!(sandbox.row("jsapi-tickets").await["trips"], 1);
    sandbox.http.delete(sandbox.url("/sandbox/stats")).send().await.unwrap();
    sandbox.drive("app-agent-tickets", 2, 45009, async |sandbox| sandbox.get("ticket/get", &one).await).await;
}

#[tokio::test]
async fn images_for_good_have_a_day_and_a_month() {
    let sandbox = with(|limits| {
        limits.uploadimg_per_day = Some(2);
        limits.uploadimg_per_month = Some(3);
    });
    let token = sandbox.token().await;
    // The first day of a month, so that the next one is in it too.
    let now = sandbox.now().await;
    sandbox.advance(super::calendar::start_of_next_month(now) - now).await;
    sandbox.drive("uploadimg", 2, 45009, async |sandbox| upload_image(sandbox, &token).await).await;
    sandbox.advance(DAY).await;
    assert_eq!(errcode(&upload_image(&sandbox, &token).await), 0);
    assert_eq!(errcode(&upload_image(&sandbox, &token).await), 45009, "three of the month");
    let row = sandbox.row("uploadimg").await;
    assert_eq!((&row["max_per_day"], &row["max_per_month"]), (&json!(3), &json!(4)));
    assert_eq!(row["caps"], json!({"minute": null, "hour": null, "day": 2, "month": 3}));
}

#[tokio::test]
async fn check_ins_and_approvals_have_a_minute_of_their_own() {
    let sandbox = with(|limits| {
        limits.checkin_per_minute = Some(2);
        limits.approval_per_minute = Some(2);
    });
    let token = sandbox.token().await;
    let body = json!({"opencheckindatatype": 3, "starttime": 1, "endtime": 2, "useridlist": ["lisi"]});
    for (row, api) in [("checkin", "checkin/getcheckindata"), ("approval", "corp/getapprovaldata")] {
        sandbox.drive(row, 2, 45009, async |sandbox| sandbox.post(api, &token, &body).await).await;
        sandbox.http.delete(sandbox.url("/sandbox/stats")).send().await.unwrap();
    }
    sandbox.advance(60_000).await;
    let cases = [(json!({"useridlist": []}), 301_023), (json!({"useridlist": ["nobody"]}), 301_021)];
    for (body, expected) in cases {
        assert_eq!(errcode(&sandbox.post("checkin/getcheckindata", &token, &body).await), expected);
    }
    let backwards = json!({"starttime": 2, "endtime": 1});
    assert_eq!(errcode(&sandbox.post("corp/getapprovaldata", &token, &backwards).await), 301_025);
}

#[tokio::test]
async fn trusted_domains_have_a_month_and_another_code_and_begin_no_block() {
    let sandbox = with(|limits| limits.trusted_domains_per_month = Some(2));
    let token = sandbox.token().await;
    let domain = json!({"agentid": AGENT, "name": "Renamed", "redirect_domain": "www.example.com"});
    sandbox
        .drive("trusted-domains", 2, 85004, async |sandbox| sandbox.post("agent/set", &token, &domain).await)
        .await;
    let name = json!({"agentid": AGENT, "name": "Again"});
    assert_eq!(errcode(&sandbox.post("agent/set", &token, &name).await), 0, "a name is no domain");
    let agent = AGENT.to_string();
    let shown = sandbox.get("agent/get", &[("access_token", &token), ("agentid", &agent)]).await;
    assert_eq!((&shown["name"], &shown["redirect_domain"]), (&json!("Again"), &json!("www.example.com")));
    let now = sandbox.now().await;
    sandbox.advance(super::calendar::start_of_next_month(now) - now).await;
    assert_eq!(errcode(&sandbox.post("agent/set", &token, &domain).await), 0);
    let foreign = json!({"agentid": AGENT + 1, "name": "x"});
    assert_eq!(errcode(&sandbox.post("agent/set", &token, &foreign).await), 301_002);
}

#[tokio::test]
async fn a_robot_has_twenty_messages_a_minute_by_its_key_and_needs_no_token() {
    let sandbox = Sandbox::limited(Limits::wecom_2023());
    let body = json!({"msgtype": "text", "text": {"content": "hi"}});
    let send = async |key: &str, body: &Value| {
        let request = sandbox.http.post(sandbox.url("/cgi-bin/webhook/send")).query(&[("key", key)]);
        request.json(body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    sandbox.drive("robot", 20, 45009, async |_| send("robot-key-one", &body).await).await;
    assert_eq!(errcode(&send("robot-key-two", &body).await), 0, "another robot");
    assert_eq!(errcode(&send("", &body).await), 93000);
    assert_eq!(errcode(&send("three", &json!({"msgtype": "text", "text": {}})).await), 44004);
    let shown = format!("{}{}", sandbox.show("stats").await, sandbox.show("requests").await);
    assert!(!shown.contains("robot-key"), "the key is a secret");
}

#[tokio::test]
async fn accounts_have_a_month() {
    let sandbox = with(|limits| limits.account_creations_factor = Some(0));
    let token = sandbox.token().await;
    let anna = json!({"userid": "anna", "name": "Anna"});
    let create = async |sandbox: &Sandbox| sandbox.post("user/create", &token, &anna).await;
    sandbox.drive("accounts", 0, 45009, create).await;
    sandbox.advance(29 * DAY).await;
    assert_eq!(errcode(&create(&sandbox).await), 45009, "thirty days, wherever the month ends");
}

#[tokio::test]
async fn wrong_secrets_are_over_the_limit_too() {
    let sandbox = Sandbox::unlimited();
    for _ in 0..5 {
        assert_eq!(errcode(&sandbox.gettoken("wrong").await), 40001);
    }
    assert_eq!(sandbox.show("stats").await["over"], 0);
    assert_eq!(errcode(&sandbox.gettoken("wrong").await), 45009);
    assert_eq!(sandbox.show("stats").await["over_by_row"], json!({"bad-secrets": 1}));
}

#[tokio::test]
async fn valid_login_codes_count_in_older_eras() {
    for (preset, expected) in [("wecom-2020", 45009), ("wecom-2023", 0)] {
        let sandbox = Sandbox::unlimited();
        let limits = json!({"corp_api_per_minute": 1});
        sandbox.control("settings", &json!({"preset": preset, "limits": limits})).await;
        let token = sandbox.token().await;
        let query = [("access_token", token.as_str()), ("code", "code-lisi.1")];
        assert_eq!(errcode(&sandbox.get("auth/getuserinfo", &query).await), 0);
        assert_eq!(errcode(&sandbox.get("auth/getuserinfo", &query).await), expected, "{preset}");
    }
}
