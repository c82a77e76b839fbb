use super::*;
use proptest::prelude::*;

const SEND: &str = "message/send";
const LINKED: &str = "linkedcorp/message/send";
const SCHOOL: &str = "externalcontact/message/send";

/// What an answer shows in words, as the tables below have it.
fn words(shown: &Shown) -> String {
    let join = |ids: &[u64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let words: Vec<String> = [
        ("failed", if shown.failed { "yes".to_owned() } else { String::new() }),
        ("invalid", shown.invalid_users.join(",")),
        ("unlicensed", shown.unlicensed_users.join(",")),
        ("others", shown.invalid_others.to_string()),
        ("parties", join(&shown.invalid_parties)),
        ("tags", join(&shown.invalid_tags)),
        ("unknown", shown.invalid_unknown_groups.to_string()),
    ]
    .into_iter()
    .filter(|(_, value)| !matches!(value.as_str(), "" | "0"))
    .map(|(name, value)| format!("{name}={value}"))
    .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}

fn check(rows: &[(&str, &str, &str)]) {
    for (api, answer, expected) in rows {
        assert_eq!(words(&shown(api, answer.as_bytes())), *expected, "{api} {answer}");
    }
}

#[test]
fn who_got_nothing_is_read_in_every_form() {
    check(&[
        (SEND, r#"{"errcode":0,"errmsg":"ok","msgid":"m"}"#, "nothing"),
        (SEND, r#"{"errcode":0,"invaliduser":"U2|u1|u2","msgid":"m"}"#, "invalid=u1,u2"),
        (SEND, r#"{"errcode":0,"invaliduser":"u1","unlicenseduser":"u3|u4"}"#, "invalid=u1 unlicensed=u3,u4"),
        (SEND, r#"{"errcode":0,"invalidparty":"2|1","invalidtag":"3"}"#, "parties=1,2 tags=3"),
        (SEND, r#"{"errcode":0,"invalidparty":2,"invalidtag":"x"}"#, "parties=2 unknown=1"),
        (SEND, r#"{"errcode":0,"invaliduser":"","invalidparty":"","invalidtag":""}"#, "nothing"),
        (SEND, r#"{"invaliduser":"u1"}"#, "invalid=u1"),
        (LINKED, r#"{"errcode":0,"invaliduser":["CORP/u1"],"invalidtag":["3"]}"#, "invalid=corp/u1 tags=3"),
        (LINKED, r#"{"errcode":0,"invalidparty":["LINK/1","2"]}"#, "parties=2 unknown=1"),
        (
            SCHOOL,
            r#"{"errcode":0,"invalid_parent_userid":["p1"],"invalid_student_userid":["p1"]}"#,
            "others=2",
        ),
        (
            SCHOOL,
            r#"{"errcode":0,"invalid_external_user":["x"],"invalid_party":["c1"]}"#,
            "others=1 unknown=1",
        ),
    ]);
}

#[test]
fn an_errcode_that_is_not_0_is_a_failure() {
    check(&[
        (SEND, r#"{"errcode":81013,"errmsg":"all invalid","invaliduser":"u1"}"#, "failed=yes invalid=u1"),
        (SEND, r#"{"errcode":"40032"}"#, "failed=yes"),
        (SEND, r#"{"errcode":-1}"#, "failed=yes"),
        (SCHOOL, r#"{"errcode":301002,"invalid_party":[]}"#, "failed=yes"),
        ("appchat/send", r#"{"errcode":86003}"#, "failed=yes"),
        ("user/create", r#"{"errcode":60102}"#, "failed=yes"),
        ("user/create", r#"{"errcode":0,"errmsg":"created"}"#, "nothing"),
        ("user/create", r#"{"errcode":"0"}"#, "nothing"),
    ]);
}

#[test]
fn an_answer_that_can_not_be_read_shows_nothing() {
    check(&[
        (SEND, "", "nothing"),
        (SEND, "<html>", "nothing"),
        (SEND, r#"{"errcode":81013"#, "nothing"),
        (SEND, r#"{"errcode":81013,"errcode":0}"#, "nothing"),
        (SEND, r#"{"errcode":{}}"#, "nothing"),
        (SEND, r#"{"errcode":0,"invaliduser":{"a":1},"invalidtag":"3"}"#, "tags=3"),
        ("user/create", r#"[{"errcode":1}]"#, "nothing"),
    ]);
    let many = (0..=1000).map(|id| format!("u{id}")).collect::<Vec<_>>().join("|");
    let answer = format!(r#"{{"errcode":0,"invaliduser":"{many}","invalidtag":"3"}}"#);
    assert_eq!(words(&shown(SEND, answer.as_bytes())), "tags=3");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        for api in [SEND, LINKED, SCHOOL, "no/such"] {
            shown(api, &answer);
        }
    }
}
