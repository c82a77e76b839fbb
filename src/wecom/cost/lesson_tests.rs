use super::*;
use crate::wecom::catalogue;
use proptest::prelude::*;

/// One exchange and the lesson in words; no lesson is an empty string.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

fn words(lessons: &[Lesson]) -> String {
    let ids = |ids: &[u64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let words = lessons.iter().map(|lesson| match lesson {
        Lesson::Department { id, with_children: false, members } => format!("department {id}: {members}"),
        Lesson::Department { id, with_children: true, members } => {
            format!("department {id} and below: {members}")
        }
        Lesson::Tree { root, parents } => {
            let parents: Vec<String> = parents.iter().map(|(id, parent)| format!("{id}<{parent}")).collect();
            format!("tree {}: {}", root.map_or("*".to_owned(), |root| root.to_string()), parents.join(" "))
        }
        Lesson::Tag { id, users, parties } => format!("tag {id}: {users} + [{}]", ids(parties)),
        Lesson::TagGrown { id, users, parties } => format!("tag {id} grew: {users} + [{}]", ids(parties)),
        Lesson::Chat { chat, members } => format!("chat {chat}: {}", members.join(",")),
        Lesson::ChatChange { chat, added, removed } => {
            format!("chat {chat}: +[{}] -[{}]", added.join(","), removed.join(","))
        }
        Lesson::AppScope { agent_id, users, parties, tags } => {
            format!("app {agent_id}: [{}] + [{}] + [{}]", users.join(","), ids(parties), ids(tags))
        }
        Lesson::Joined { departments } => format!("joined [{}]", ids(departments)),
        Lesson::Moved { departments } => format!("moved [{}]", ids(departments)),
        Lesson::DepartmentsChanged => "departments changed".to_owned(),
        Lesson::DepartmentsGrown => "departments grown".to_owned(),
        Lesson::TagsChanged => "tags changed".to_owned(),
        Lesson::ChatsChanged => "chats changed".to_owned(),
        Lesson::ScopesChanged => "scopes changed".to_owned(),
    });
    words.collect::<Vec<_>>().join("; ")
}

fn learn(api: &str, query: &str, request: Option<&str>, answer: &str) -> String {
    words(&lessons(api, &Query::parse(query).unwrap(), request.map(str::as_bytes), answer.as_bytes()))
}

fn check(rows: &[Row]) {
    for (api, query, request, answer, expected) in rows {
        assert_eq!(learn(api, query, Some(request), answer), *expected, "{api} {query} {request} {answer}");
    }
}

#[test]
fn a_list_of_members_tells_the_size_of_its_department() {
    const LIST: &str =
        r#"{"errcode":0,"userlist":[{"userid":"a","department":[5]},{"userid":"b","department":[5,6]}]}"#;
    const DEEP: &str =
        r#"{"errcode":0,"userlist":[{"userid":"a","department":[5]},{"userid":"b","department":[6]}]}"#;
    const BARE: &str = r#"{"errcode":0,"userlist":[{"userid":"a","name":"A"}]}"#;
    check(&[
        ("user/simplelist", "department_id=5", "", LIST, "department 5: 2"),
        ("user/list", "department_id=5&fetch_child=0", "", LIST, "department 5: 2"),
        ("user/list", "department_id=5", "", r#"{"errcode":0,"userlist":[]}"#, "department 5: 0"),
        ("user/simplelist", "department_id=5&fetch_child=1", "", DEEP, "department 5 and below: 2"),
        ("user/simplelist", "department_id=5&status=0", "", BARE, "department 5: 1"),
        ("user/simplelist", "department_id=5&status=1", "", BARE, ""),
        ("user/simplelist", "", "", LIST, ""),
        ("user/simplelist", "department_id=0", "", LIST, ""),
        ("user/simplelist", "department_id=5&department_id=6", "", LIST, ""),
        ("user/simplelist", "department_id=5&fetch_child=1&fetch_child=0", "", DEEP, ""),
        ("user/simplelist", "department_id=5", "", r#"{"errcode":60123,"userlist":[]}"#, ""),
        ("user/simplelist", "department_id=5", "", r#"{"userlist":[]}"#, ""),
    ]);
}

#[test]
fn members_of_departments_below_are_counted_only_where_the_list_has_some() {
    const FLAT: &str = r#"{"errcode":0,"userlist":[{"userid":"a","department":[5]}]}"#;
    const BARE: &str = r#"{"errcode":0,"userlist":[{"userid":"a","name":"A"}]}"#;
    check(&[
        ("user/simplelist", "department_id=5&fetch_child=1", "", FLAT, "department 5: 1"),
        ("user/simplelist", "department_id=5&fetch_child=1", "", BARE, "department 5: 1"),
    ]);
}

#[test]
fn lists_of_departments_tell_the_tree() {
    const LIST: &str =
        r#"{"errcode":0,"department":[{"id":2,"name":"x","parentid":1},{"id":3,"parentid":"2"}]}"#;
    const SIMPLE: &str = r#"{"errcode":0,"department_id":[{"id":1,"parentid":0,"order":1}]}"#;
    check(&[
        ("department/list", "", "", LIST, "tree *: 2<1 3<2"),
        ("department/list", "id=2", "", LIST, "tree 2: 2<1 3<2"),
        ("department/list", "id=9", "", LIST, ""),
        ("department/list", "id=x", "", LIST, ""),
        ("department/simplelist", "id=", "", SIMPLE, "tree *: 1<0"),
        ("department/create", "", r#"{"name":"x","parentid":1}"#, r#"{"errcode":0,"id":9}"#, "tree 9: 9<1"),
        ("department/create", "", r#"{"name":"x"}"#, r#"{"errcode":0,"id":9}"#, "departments changed"),
        ("department/create", "", r#"{"parentid":1}"#, r#"{"errcode":60008}"#, ""),
        ("department/update", "", r#"{"id":9,"parentid":2}"#, r#"{"errcode":0}"#, "departments grown"),
        ("department/update", "", r#"{"id":9,"name":"x"}"#, r#"{"errcode":0}"#, ""),
        ("department/update", "", "nonsense", r#"{"errcode":0}"#, "departments grown"),
    ]);
}

#[test]
fn tags_are_learned_and_grow() {
    const TAG: &str =
        r#"{"errcode":0,"tagname":"t","userlist":[{"userid":"a","name":"A"}],"partylist":[4,2,4]}"#;
    check(&[
        ("tag/get", "tagid=7", "", TAG, "tag 7: 1 + [2,4]"),
        ("tag/get", "tagid=7", "", r#"{"errcode":0,"userlist":[]}"#, "tag 7: 0 + []"),
        ("tag/get", "", "", TAG, ""),
        (
            "tag/addtagusers",
            "",
            r#"{"tagid":7,"userlist":["a","b"]}"#,
            r#"{"errcode":0}"#,
            "tag 7 grew: 2 + []",
        ),
        (
            "tag/addtagusers",
            "",
            r#"{"tagid":"7","partylist":[3]}"#,
            r#"{"errcode":0}"#,
            "tag 7 grew: 0 + [3]",
        ),
        ("tag/addtagusers", "", r#"{"tagid":7,"userlist":["a"]}"#, r#"{"errcode":40068}"#, ""),
        ("tag/addtagusers", "", "not JSON", r#"{"errcode":0}"#, "tags changed"),
    ]);
}

#[test]
fn members_of_group_chats_are_learned() {
    const DONE: &str = r#"{"errcode":0,"chatid":"c1"}"#;
    const INFO: &str =
        r#"{"errcode":0,"chat_info":{"chatid":"c1","name":"n","owner":"b","userlist":["A","b"]}}"#;
    check(&[
        ("appchat/create", "", r#"{"userlist":["A","b"],"owner":"c"}"#, DONE, "chat c1: a,b,c"),
        ("appchat/create", "", r#"{"userlist":["A","b"]}"#, r#"{"errcode":0}"#, ""),
        ("appchat/create", "", r#"{"userlist":["A"]}"#, r#"{"errcode":86006,"chatid":"c1"}"#, ""),
        ("appchat/create", "", "nonsense", DONE, ""),
        ("appchat/get", "chatid=c1", "", INFO, "chat c1: a,b"),
        (
            "appchat/update",
            "",
            r#"{"chatid":"c1","add_user_list":["C"]}"#,
            r#"{"errcode":0}"#,
            "chat c1: +[c] -[]",
        ),
        (
            "appchat/update",
            "",
            r#"{"chatid":"c1","owner":"o","add_user_list":["x"],"del_user_list":["X","y"]}"#,
            r#"{"errcode":0}"#,
            "chat c1: +[o,x] -[y]",
        ),
        ("appchat/update", "", r#"{"add_user_list":["c"]}"#, r#"{"errcode":0}"#, "chats changed"),
        ("appchat/update", "", "not JSON", r#"{"errcode":0}"#, "chats changed"),
        ("agent/set_scope", "", r#"{"agentid":1}"#, r#"{"errcode":0}"#, "scopes changed"),
        ("agent/set_scope", "", r#"{"agentid":1}"#, r#"{"errcode":301002}"#, ""),
        ("appchat/update", "", r#"{"chatid":"c1","add_user_list":"c"}"#, r#"{"errcode":86003}"#, ""),
    ]);
}

#[test]
fn the_scope_of_an_app_is_learned_unless_it_is_empty() {
    const APP: &str = r#"{"errcode":"0","agentid":"1","allow_userinfos":{"user":[{"userid":"B"},{"userid":"a"}]},
        "allow_partys":{"partyid":[1]},"allow_tags":{"tagid":[3,2]},"close":0}"#;
    check(&[
        ("agent/get", "agentid=1", "", APP, "app 1: [a,b] + [1] + [2,3]"),
        ("agent/get", "agentid=1", "", r#"{"errcode":0,"agentid":1,"name":"x"}"#, ""),
        ("agent/get", "agentid=1", "", r#"{"errcode":0,"agentid":1,"allow_partys":{"partyid":[]}}"#, ""),
        (
            "agent/get",
            "agentid=1",
            "",
            r#"{"errcode":301002,"agentid":1,"allow_partys":{"partyid":[1]}}"#,
            "",
        ),
    ]);
}

#[test]
fn new_and_moved_members_enlarge_departments() {
    check(&[
        ("user/create", "", r#"{"userid":"a","department":[2,1]}"#, r#"{"errcode":0}"#, "joined [1,2]"),
        ("user/create", "", r#"{"userid":"a","department":2}"#, r#"{"errcode":0}"#, "joined [2]"),
        ("user/create", "", r#"{"userid":"a"}"#, r#"{"errcode":0,"errmsg":"created"}"#, "joined []"),
        ("user/create", "", r#"{"userid":"a","department":["x"]}"#, r#"{"errcode":0}"#, "departments grown"),
        ("user/create", "", r#"{"userid":"a","department":[2]}"#, r#"{"errcode":60102}"#, ""),
        ("user/update", "", r#"{"userid":"a","department":[2]}"#, r#"{"errcode":0}"#, "moved [2]"),
        ("user/update", "", r#"{"userid":"a","department":[]}"#, r#"{"errcode":0}"#, "departments changed"),
        ("user/update", "", r#"{"userid":"a","name":"b"}"#, r#"{"errcode":0}"#, ""),
        ("batch/syncuser", "", r#"{"media_id":"m"}"#, r#"{"errcode":0,"jobid":"j"}"#, "departments grown"),
        ("batch/getresult", "jobid=j", "", r#"{"errcode":0,"status":3}"#, "departments grown"),
        ("batch/syncuser", "", r#"{"media_id":"m"}"#, r#"{"errcode":40007}"#, ""),
    ]);
}

#[test]
fn a_body_that_could_not_be_read_spoils_what_depends_on_it() {
    assert_eq!(learn("user/create", "", None, r#"{"errcode":0}"#), "departments grown");
    assert_eq!(learn("user/update", "", None, r#"{"errcode":0}"#), "departments changed");
    assert_eq!(learn("appchat/create", "", None, r#"{"errcode":0,"chatid":"c"}"#), "");
    assert_eq!(learn("tag/get", "tagid=1", None, r#"{"errcode":0,"userlist":[]}"#), "tag 1: 0 + []");
}

#[test]
fn a_list_of_more_than_10_000_ids_teaches_nothing() {
    let answer = |count: usize| {
        let parties = vec!["7"; count].join(",");
        format!(r#"{{"errcode":0,"userlist":[],"partylist":[{parties}]}}"#)
    };
    assert_eq!(learn("tag/get", "tagid=1", None, &answer(10_000)), "tag 1: 0 + [7]");
    assert_eq!(learn("tag/get", "tagid=1", None, &answer(10_001)), "");
    let request = |count: usize| format!(r#"{{"userlist":[{}]}}"#, vec!["\"u\""; count].join(","));
    let done = r#"{"errcode":0,"chatid":"c"}"#;
    assert_eq!(learn("appchat/create", "", Some(&request(10_000)), done), "chat c: u");
    assert_eq!(learn("appchat/create", "", Some(&request(10_001)), done), "");
}

#[test]
fn an_api_that_teaches_nothing_is_not_read() {
    for api in catalogue::all().filter(|api| !teaches(api.name)) {
        assert_eq!(learn(api.name, "", Some("{}"), r#"{"errcode":0,"userlist":[]}"#), "", "{}", api.name);
    }
    assert!(!teaches("message/send"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        request in proptest::collection::vec(any::<u8>(), 0..100),
        answer in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "\\{\"errcode\":0,\"(userlist|chat_info|id|department)\":[\\[\\]{}0-9\",:]{0,20}\\}".prop_map(String::into_bytes),
        ],
    ) {
        let query = Query::parse("department_id=1&tagid=1").unwrap();
        for api in catalogue::all().filter(|api| teaches(api.name)) {
            lessons(api.name, &query, Some(&request), &answer);
        }
    }
}
