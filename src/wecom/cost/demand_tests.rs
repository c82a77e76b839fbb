use super::*;
use crate::wecom::catalogue;
use crate::wecom::cost::{needs_body, teaches};
use proptest::prelude::*;
use serde::de::IgnoredAny;

const SEND: &str = "message/send";
const LINKED: &str = "linkedcorp/message/send";
const SCHOOL: &str = "externalcontact/message/send";
const CHAT: &str = "appchat/send";

/// A demand in words, as the tables below have it.
fn words(demand: &Demand) -> String {
    let join = |ids: &[u64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut words = match &demand.to {
        To::Nobody => Vec::new(),
        To::Everyone => vec!["everyone".to_owned()],
        To::Chat(chat) => vec![format!("chat={chat}")],
        To::Members(members) => [
            ("users", members.users.join(",")),
            ("others", members.others.to_string()),
            ("parties", join(&members.parties)),
            ("tags", join(&members.tags)),
            ("unknown", members.unknown_groups.to_string()),
        ]
        .into_iter()
        .filter(|(_, value)| !matches!(value.as_str(), "" | "0"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect(),
    };
    for (name, count) in [("accounts", demand.accounts), ("domains", demand.domains)] {
        if count > 0 {
            words.push(format!("{name}={count}"));
        }
    }
    words.extend(demand.note.map(|note| format!("({})", note.as_str())));
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}

fn check(rows: &[(&str, &str, &str)]) {
    for (api, body, expected) in rows {
        assert_eq!(words(&demand(api, Some(body.as_bytes()))), *expected, "{api} {body}");
    }
}

#[test]
fn recipients_are_read_in_every_form_in_which_programs_write_them() {
    check(&[
        (SEND, r#"{"touser":"u1|u2","msgtype":"text","text":{"content":"@all"}}"#, "users=u1,u2"),
        (SEND, r#"{"touser":" Bob | alice|BOB||bob "}"#, "users=alice,bob"),
        (SEND, r#"{"touser":"u\u0031"}"#, "users=u1"),
        (SEND, r#"{"touser":1001}"#, "users=1001"),
        (SEND, r#"{"toparty":"1 | 2|2","totag":"7"}"#, "parties=1,2 tags=7"),
        (SEND, r#"{"toparty":3,"totag":4}"#, "parties=3 tags=4"),
        (SEND, r#"{"touser":"u1","toparty":"1","totag":"1"}"#, "users=u1 parties=1 tags=1"),
        (SEND, r#"{"toparty":"1|x|-2|3.5|@all"}"#, "parties=1 unknown=4"),
        (SEND, r#"{"toparty":"99999999999999999999"}"#, "unknown=1"),
        (SEND, r#"{"totag":"dev"}"#, "unknown=1"),
        (SEND, r#"{"touser":null,"toparty":"1","totag":""}"#, "parties=1"),
        (SEND, "\u{feff}{\"touser\":\"u1\"}", "users=u1"),
        (SEND, r#"{"TOUSER":"u1"}"#, "users=u1"),
        (SEND, r#"{"touser":"u1","enable_duplicate_check":1}"#, "users=u1"),
    ]);
}

#[test]
fn all_means_everyone_and_nothing_beside_it_matters() {
    check(&[
        (SEND, r#"{"touser":"@all"}"#, "everyone"),
        (SEND, r#"{"touser":"@all","toparty":"1","totag":{}}"#, "everyone"),
        (SEND, r#"{"touser":" @ALL\u0000"}"#, "everyone"),
        (SEND, r#"{"touser":"u1|@all"}"#, "everyone"),
    ]);
}

#[test]
fn a_message_without_recipients_goes_to_nobody() {
    check(&[
        (SEND, "{}", "nothing"),
        (SEND, r#"{"msgtype":"text","agentid":1}"#, "nothing"),
        (SEND, r#"{"touser":"","toparty":" ","totag":"|"}"#, "nothing"),
        (CHAT, r#"{"msgtype":"text"}"#, "nothing"),
        (LINKED, r#"{"touser":[],"toall":0}"#, "nothing"),
        (SCHOOL, r#"{"to_parent_userid":[""],"toall":0}"#, "nothing"),
    ]);
}

#[test]
fn what_can_not_be_read_stands_for_everyone() {
    check(&[
        (SEND, "", "everyone (not_json)"),
        (SEND, "touser=u1&msgtype=text", "everyone (not_json)"),
        (SEND, r#"["u1"]"#, "everyone (not_json)"),
        (SEND, r#"{"touser":"u1""#, "everyone (not_json)"),
        (SEND, r#"{"touser":"u1"}}"#, "everyone (not_json)"),
        (SEND, r#"{"touser":"u1",}"#, "everyone (not_json)"),
        (SEND, r"{'touser':'u1'}", "everyone (not_json)"),
        (SEND, r#"{"touser":"u1","text":{"content":"say "hi""}}"#, "everyone (not_json)"),
        (SEND, "{\"touser\":\"u1\",\"text\":\"\u{0}\"}", "everyone (not_json)"),
        (SEND, r#"{"touser":"u1","touser":"u1"}"#, "everyone (repeated_field)"),
        (SEND, r#"{"touser":"u1","toparty":"1","ToParty":"2"}"#, "everyone (repeated_field)"),
        (SEND, r#"{"touser":["u1","u2"]}"#, "everyone (unknown_form)"),
        (SEND, r#"{"touser":{"id":"u1"}}"#, "everyone (unknown_form)"),
        (SEND, r#"{"touser":"u1","toparty":[1]}"#, "everyone (unknown_form)"),
        (SEND, r#"{"toparty":1.5}"#, "everyone (unknown_form)"),
        (SEND, r#"{"totag":true}"#, "everyone (unknown_form)"),
        (CHAT, "{", "everyone (not_json)"),
        (CHAT, r#"{"chatid":["c1"]}"#, "everyone (unknown_form)"),
        (LINKED, r#"{"touser":"CORP/u1"}"#, "everyone (unknown_form)"),
        (LINKED, r#"{"touser":["u1",["u2"]]}"#, "everyone (unknown_form)"),
        (SCHOOL, r#"{"to_parent_userid":"p1"}"#, "everyone (unknown_form)"),
        (SCHOOL, r#"{"toall":[1]}"#, "everyone (unknown_form)"),
    ]);
}

#[test]
fn a_text_of_several_lines_between_the_quotes_hides_no_recipient() {
    check(&[
        (SEND, "{\n\"touser\": \"u1|u2\",\r\n\t\"text\": {\"content\": \"one\r\n\ttwo\"}\n}", "users=u1,u2"),
        (
            SEND,
            "{\"text\":{\"content\":\"a\nb\"},\"touser\":\"u1\n\",\"toparty\":\"1\"}",
            "users=u1 parties=1",
        ),
        (SEND, "{\"text\":{\"content\":\"a\nb\"}", "everyone (not_json)"),
    ]);
}

#[test]
fn a_text_that_is_not_utf_8_hides_no_recipient() {
    let body = b"{\"touser\":\"u1\",\"text\":{\"content\":\"\xE4\xBD\"}}";
    assert_eq!(words(&demand(SEND, Some(body))), "users=u1");
    let body = b"{\"touser\":\"u1\xE4\xBD\"}";
    assert_eq!(words(&demand(SEND, Some(body))), "everyone (not_json)");
}

#[test]
fn messages_to_linked_corps_schools_chats_and_customers_are_read_as_they_are_written() {
    check(&[
        (LINKED, r#"{"touser":["u1","CORP/U2","u1"],"totag":["3"]}"#, "users=corp/u2,u1 tags=3"),
        (LINKED, r#"{"toparty":["1","LINK/2",3],"totag":null}"#, "parties=1,3 unknown=1"),
        (LINKED, r#"{"touser":["u1"],"toall":1}"#, "everyone"),
        (LINKED, r#"{"touser":["u1"],"toall":"1"}"#, "everyone"),
        (LINKED, r#"{"touser":["u1"],"toall":false}"#, "users=u1"),
        (SCHOOL, r#"{"to_parent_userid":["p1","p2"],"to_student_userid":["p1"],"toall":0}"#, "others=3"),
        (SCHOOL, r#"{"to_external_user":["X","x"],"to_party":["1","2"]}"#, "others=2 unknown=2"),
        (SCHOOL, r#"{"recv_scope":2,"toall":1}"#, "everyone"),
        (CHAT, r#"{"chatid":" Chat1 ","msgtype":"text"}"#, "chat=Chat1"),
        (CHAT, r#"{"chatid":42}"#, "chat=42"),
        ("kf/send_msg", r#"{"touser":"wm1","open_kfid":"kf1"}"#, "others=1"),
        ("kf/send_msg_on_event", r#"{"code":"c"}"#, "others=1"),
    ]);
}

#[test]
fn accounts_and_domains_are_counted_and_other_calls_take_nothing() {
    check(&[
        ("user/create", r#"{"userid":"u1"}"#, "accounts=1"),
        ("user/create", "nonsense", "accounts=1"),
        ("agent/set", r#"{"agentid":1,"redirect_domain":"a.example"}"#, "domains=1"),
        ("agent/set", r#"{"agentid":1,"redirect_domain":""}"#, "domains=1"),
        ("agent/set", r#"{"agentid":1,"redirect_domain":null}"#, "nothing"),
        ("agent/set", r#"{"agentid":1,"name":"x"}"#, "nothing"),
        ("agent/set", "nonsense", "domains=1 (not_json)"),
        ("batch/syncuser", r#"{"media_id":"m"}"#, "nothing"),
        ("batch/replaceuser", r#"{"media_id":"m"}"#, "nothing"),
        ("user/batchdelete", r#"{"useridlist":["u1"]}"#, "nothing"),
        ("message/recall", r#"{"msgid":"m"}"#, "nothing"),
        ("message/update_template_card", r#"{"userids":["u1"],"atall":1}"#, "nothing"),
        ("message/update_taskcard", r#"{"userids":["u1"]}"#, "nothing"),
        ("externalcontact/add_msg_template", r#"{"external_userid":["x"]}"#, "nothing"),
        ("webhook/send", r#"{"text":{"mentioned_list":["@all"]}}"#, "nothing"),
        ("no/such", r#"{"touser":"@all"}"#, "nothing"),
    ]);
}

#[test]
fn more_recipients_than_wecom_takes_stand_for_everyone() {
    let many = |max: usize| (1..=max).map(|id| id.to_string()).collect::<Vec<_>>().join("|");
    for (field, most) in [("touser", 1000), ("toparty", 100), ("totag", 100)] {
        let body = |max| format!("{{\"{field}\":\"{}\"}}", many(max));
        assert_eq!(demand(SEND, Some(body(most).as_bytes())).note, None, "{field}");
        let over = demand(SEND, Some(body(most + 1).as_bytes()));
        assert_eq!(words(&over), "everyone (too_many_recipients)", "{field}");
    }
    let long = format!(r#"{{"touser":"u1{}"}}"#, "|".repeat(200_000));
    assert_eq!(words(&demand(SEND, Some(long.as_bytes()))), "everyone (too_many_recipients)");
    let list = format!(r#"{{"touser":["u1"{}]}}"#, ",\"u1\"".repeat(10_000));
    assert_eq!(words(&demand(LINKED, Some(list.as_bytes()))), "everyone (unknown_form)");
}

#[test]
fn an_id_that_is_longer_than_any_is_not_kept() {
    let long = "x".repeat(129);
    for (api, body) in [
        (SEND, format!(r#"{{"touser":"{long}"}}"#)),
        (SEND, format!(r#"{{"totag":"{long}"}}"#)),
        (CHAT, format!(r#"{{"chatid":"{long}"}}"#)),
        (SCHOOL, format!(r#"{{"to_party":["{long}"]}}"#)),
    ] {
        assert_eq!(words(&demand(api, Some(body.as_bytes()))), "everyone (unknown_form)", "{api} {body}");
    }
}

#[test]
fn a_body_that_is_too_large_stands_for_everyone() {
    assert_eq!(words(&demand(SEND, None)), "everyone (too_large)");
    assert_eq!(words(&demand("agent/set", None)), "domains=1 (too_large)");
    let mut body = br#"{"touser":"u1"}"#.to_vec();
    body.resize(BODY_MAX, b' ');
    assert_eq!(words(&demand(SEND, Some(&body))), "users=u1");
    body.push(b' ');
    assert_eq!(words(&demand(SEND, Some(&body))), "everyone (too_large)");
}

#[test]
fn where_no_body_is_needed_none_is_looked_at() {
    for api in catalogue::all().filter(|api| !needs_body(api.name)) {
        let body = br#"{"touser":"@all","chatid":"c","redirect_domain":"d"}"#;
        assert_eq!(demand(api.name, None), demand(api.name, Some(body)), "{}", api.name);
    }
}

#[test]
fn every_api_that_is_read_is_in_the_catalogue() {
    let known = |reads: fn(&str) -> bool| catalogue::all().filter(|api| reads(api.name)).count();
    assert_eq!((known(needs_body), known(teaches)), (12, 19));
}

const VALID: [(&str, &str); 5] = [
    (
        SEND,
        r#"{"touser":"u1|u2","toparty":"1|2","totag":"3","msgtype":"text","text":{"content":"a\n\"b\""}}"#,
    ),
    (SEND, r#"{"msgtype":"news","news":{"articles":[{"title":"t"}]},"touser":"u1","safe":0}"#),
    (LINKED, r#"{"touser":["u1","CORP/u2"],"toparty":["LINK/1"],"toall":0,"msgtype":"text"}"#),
    (SCHOOL, r#"{"to_parent_userid":["p1"],"to_party":["1"],"toall":0,"agentid":1}"#),
    (CHAT, r#"{"chatid":"c1","msgtype":"text","text":{"content":"x"},"safe":0}"#),
];

/// One piece of damage: bytes taken out and others put in.
fn damage() -> impl Strategy<Value = (usize, usize, Vec<u8>)> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        "[{}\\[\\],:\"\\\\|@0-9a-z \n]{0,4}".prop_map(String::into_bytes),
    ];
    (any::<usize>(), 0_usize..6, piece)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for api in [SEND, LINKED, SCHOOL, CHAT, "agent/set", "user/create", "no/such"] {
            demand(api, Some(&body));
        }
    }

    #[test]
    fn a_damaged_body_stands_for_everyone_unless_it_is_still_json(
        which in 0..VALID.len(),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let (api, body) = VALID[which];
        let mut body = body.as_bytes().to_vec();
        for (at, taken, put) in damages {
            let start = at % (body.len() + 1);
            let end = (start + taken).min(body.len());
            body.splice(start..end, put);
        }
        let flat: Vec<u8> = body.iter().map(|b| if matches!(b, b'\n' | b'\r' | b'\t') { b' ' } else { *b }).collect();
        let flat = flat.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&flat);
        if demand(api, Some(&body)).to != To::Everyone {
            prop_assert!(serde_json::from_slice::<IgnoredAny>(flat).is_ok(), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn a_body_that_was_cut_stands_for_everyone(which in 0..VALID.len(), cut in any::<usize>()) {
        let (api, body) = VALID[which];
        let found = demand(api, Some(&body.as_bytes()[..cut % body.len()]));
        prop_assert_eq!(found.to, To::Everyone);
        prop_assert_eq!(found.note, Some(Unreadable::NotJson));
    }

    #[test]
    fn every_named_member_is_counted_once(users in proptest::collection::vec("[a-cA-C]{1,2}", 0..40)) {
        let body = serde_json::json!({ "touser": users.join(" |") }).to_string();
        let mut expected: Vec<String> = users.iter().map(|user| user.to_lowercase()).collect();
        expected.sort();
        expected.dedup();
        let found = match demand(SEND, Some(body.as_bytes())).to {
            To::Members(members) => members.users,
            to => {
                prop_assert_eq!(to, To::Nobody);
                Vec::new()
            }
        };
        prop_assert_eq!(found, expected);
    }
}
