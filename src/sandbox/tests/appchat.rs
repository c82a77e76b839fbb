use serde_json::{Value, json};

use super::{Sandbox, errcode};
use crate::sandbox::Limits;

async fn create(sandbox: &Sandbox, token: &str, members: &[&str]) -> String {
    let created = sandbox.post("appchat/create", token, &json!({"userlist": members})).await;
    assert_eq!(errcode(&created), 0);
    created["chatid"].as_str().unwrap().to_owned()
}

fn text(chatid: &str) -> Value {
    json!({"chatid": chatid, "msgtype": "text", "text": {"content": "hello"}})
}

async fn last_message(sandbox: &Sandbox) -> Value {
    sandbox.show("messages").await["messages"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn a_group_is_made_changed_and_shown() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let group = json!({"name": "n".repeat(60), "owner": "lisi", "userlist": ["ZhangSan", "LISI"], "chatid": "Group1"});
    assert_eq!(sandbox.post("appchat/create", &token, &group).await["chatid"], "Group1");
    let query = [("access_token", token.as_str()), ("chatid", "Group1")];
    let shown = sandbox.get("appchat/get", &query).await;
    let info = json!({"chatid": "Group1", "name": "n".repeat(50), "owner": "LiSi", "userlist": ["LiSi", "ZhangSan"]});
    assert_eq!(shown["chat_info"], info);
    let change = json!({"chatid": "Group1", "name": "new", "owner": "wangwu", "add_user_list": ["wangwu"],
        "del_user_list": ["lisi"]});
    assert_eq!(errcode(&sandbox.post("appchat/update", &token, &change).await), 0);
    let shown = &sandbox.get("appchat/get", &query).await["chat_info"];
    assert_eq!((&shown["owner"], &shown["userlist"]), (&json!("WangWu"), &json!(["WangWu", "ZhangSan"])));
}

#[tokio::test]
async fn groups_that_make_no_sense_are_refused_with_their_code() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let two = ["lisi", "wangwu"];
    let taken = json!({"userlist": two, "chatid": "taken"});
    assert_eq!(errcode(&sandbox.post("appchat/create", &token, &taken).await), 0);
    let cases = [
        (json!({}), 86204),
        (json!({"userlist": ["lisi"]}), 86006),
        (json!({"userlist": ["lisi", "LiSi"]}), 86006),
        (json!({"userlist": ["lisi", "nobody"]}), 86216),
        (json!({"userlist": two, "owner": "nobody"}), 86005),
        (json!({"userlist": two, "owner": "zhangsan"}), 86207),
        (json!({"userlist": two, "chatid": "x".repeat(33)}), 86205),
        (json!({"userlist": two, "chatid": "a-b"}), 86001),
        (taken, 86215),
    ];
    for (body, expected) in cases {
        assert_eq!(errcode(&sandbox.post("appchat/create", &token, &body).await), expected, "{body}");
    }
    let cases = [
        (json!({}), 86201),
        (json!({"chatid": "unknown"}), 86003),
        (json!({"chatid": "taken", "owner": "zhangsan"}), 86207),
        (json!({"chatid": "taken", "del_user_list": ["lisi"]}), 86207),
        (json!({"chatid": "taken", "add_user_list": ["nobody"]}), 86216),
    ];
    for (body, expected) in cases {
        assert_eq!(errcode(&sandbox.post("appchat/update", &token, &body).await), expected, "{body}");
    }
}

#[tokio::test]
async fn a_group_belongs_to_the_app_that_made_it() {
    let sandbox = Sandbox::unlimited();
    let chatid = create(&sandbox, &sandbox.token().await, &["lisi", "wangwu"]).await;
    let other = sandbox.gettoken("sandbox-secret-1000002").await["access_token"].as_str().unwrap().to_owned();
    let get = sandbox.get("appchat/get", &[("access_token", &other), ("chatid", &chatid)]).await;
    let update = sandbox.post("appchat/update", &other, &json!({"chatid": chatid})).await;
    let send = sandbox.post("appchat/send", &other, &text(&chatid)).await;
    assert_eq!([get, update, send].map(|answer| errcode(&answer)), [86008; 3]);
}

#[tokio::test]
async fn a_message_to_a_group_reaches_its_members_as_they_are_now() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let chatid = create(&sandbox, &token, &["lisi", "wangwu", "zhangsan"]).await;
    sandbox.get("user/delete", &[("access_token", &token), ("userid", "lisi")]).await;
    assert_eq!(errcode(&sandbox.post("appchat/send", &token, &text(&chatid)).await), 0);
    let message = last_message(&sandbox).await;
    assert_eq!((&message["chatid"], &message["to"]), (&json!(chatid), &json!(["wangwu", "zhangsan"])));
    let counted = sandbox.post("message/get_statistics", &token, &json!({})).await;
    assert_eq!(counted["statistics"], json!([]), "those are messages of apps, not of groups");
    let wrong = json!({"chatid": chatid, "msgtype": "template_card", "template_card": {}});
    assert_eq!(errcode(&sandbox.post("appchat/send", &token, &wrong).await), 40008);
}

#[tokio::test]
async fn a_message_to_a_group_counts_once_for_each_member() {
    for (cap_per_minute, cap_per_hour) in [(Some(6), None), (None, Some(6))] {
        let limits = Limits {
            appchat_sends_per_minute: cap_per_minute,
            appchat_sends_per_hour: cap_per_hour,
            ..Limits::none()
        };
        let sandbox = Sandbox::limited(limits);
        let token = sandbox.token().await;
        let chatid = create(&sandbox, &token, &["lisi", "wangwu", "zhangsan"]).await;
        let send = async |sandbox: &Sandbox| sandbox.post("appchat/send", &token, &text(&chatid)).await;
        sandbox.drive("appchat-sends", 2, 45009, send).await;
        assert_eq!(
            sandbox.row("appchat-sends").await["max_per_minute"]["sliding"],
            if cap_per_minute.is_some() { 9 } else { 6 }
        );
        assert_eq!(sandbox.show("messages").await["last"], 2);
    }
}

#[tokio::test]
async fn making_and_changing_groups_is_limited_by_corp() {
    let limits =
        Limits { appchat_creates_per_day: Some(2), appchat_updates_per_hour: Some(2), ..Limits::none() };
    let sandbox = Sandbox::limited(limits);
    let token = sandbox.token().await;
    let group = json!({"userlist": ["lisi", "wangwu"]});
    let chatid = sandbox.post("appchat/create", &token, &group).await["chatid"].clone();
    let change = json!({"chatid": chatid, "name": "new"});
    let update = async |sandbox: &Sandbox| sandbox.post("appchat/update", &token, &change).await;
    sandbox.drive("appchat-updates", 2, 45009, update).await;
    let other = sandbox.gettoken("sandbox-secret-1000002").await["access_token"].as_str().unwrap().to_owned();
    assert_eq!(errcode(&sandbox.post("appchat/create", &other, &group).await), 0);
    assert_eq!(errcode(&sandbox.post("appchat/create", &other, &group).await), 45009, "all apps together");
    assert_eq!(sandbox.row("appchat-creates").await["trips"], 1);
}

#[tokio::test]
async fn a_member_of_two_groups_gets_so_much_of_one_app_and_what_is_over_is_dropped_in_silence() {
    for (row_of_minute, row_of_day) in [(Some(3), None), (None, Some(3))] {
        let limits = Limits {
            member_appchat_per_minute: row_of_minute,
            member_appchat_per_day: row_of_day,
            ..Limits::none()
        };
        let sandbox = Sandbox::limited(limits);
        let token = sandbox.token().await;
        let one = create(&sandbox, &token, &["lisi", "wangwu"]).await;
        let two = create(&sandbox, &token, &["lisi", "zhangsan"]).await;
        for chatid in [&one, &two, &one, &two] {
            assert_eq!(errcode(&sandbox.post("appchat/send", &token, &text(chatid)).await), 0);
        }
        let message = last_message(&sandbox).await;
        assert_eq!((&message["to"], &message["dropped"]), (&json!(["zhangsan"]), &json!(["lisi"])));
        let stats = sandbox.show("stats").await;
        assert_eq!((&stats["over"], &stats["dropped"]), (&json!(0), &json!(1)));
        assert_eq!(sandbox.row("member-appchat").await["dropped"], 1);
        sandbox.advance(60_000).await;
        sandbox.post("appchat/send", &token, &text(&two)).await;
        let reached = last_message(&sandbox).await["to"].as_array().unwrap().len();
        assert_eq!(reached, if row_of_day.is_some() { 1 } else { 2 });
    }
}
