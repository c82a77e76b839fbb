use super::*;
use proptest::prelude::*;

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

#[test]
fn the_callers_credential_comes_out_and_ours_goes_in_front() {
    let query = Query::parse("userid=a%20b&access_token=gw%2D1&x=%e4%bd%a0&y").unwrap();
    assert_eq!(query.credential("access_token").unwrap().unwrap().expose_secret(), "gw-1");
    let sent = query.with_credential("access_token", &secret("real+/="));
    assert_eq!(sent.expose_secret(), "access_token=real%2B%2F%3D&userid=a%20b&x=%e4%bd%a0&y");
    assert_eq!(query.get("userid").as_deref(), Some("a b"));
    assert_eq!(query.get("y").as_deref(), Some(""));
}

#[test]
fn every_spelling_of_a_credential_is_found() {
    for raw in [
        "access_token=t",
        "%61ccess_token=t",
        "access%5Ftoken=t",
        "%61%63%63%65%73%73%5f%74%6f%6b%65%6e=t",
        "Access_Token=t",
        "%20access_token=t",
        "+access_token=t",
        "suite_access_token=t",
        "a=1&provider_access_token=t",
    ] {
        let query = Query::parse(raw).unwrap();
        assert_eq!(query.credentials().len(), 1, "{raw}");
        assert_eq!(query.credentials()[0].value.expose_secret(), "t", "{raw}");
        assert!(!query.without_credential().expose_secret().contains('t'), "{raw}");
    }
}

#[test]
fn repeated_credentials_must_agree() {
    let same = Query::parse("access_token=t&access_token=%74").unwrap();
    assert_eq!(same.credential("access_token").unwrap().unwrap().expose_secret(), "t");
    let two = Query::parse("access_token=t&access_token=u").unwrap();
    assert_eq!(two.credentials().len(), 2);
    assert_eq!(two.credential("access_token").unwrap_err(), QueryError::Conflict);
    assert!(two.credential("suite_access_token").unwrap().is_none());
}

#[test]
fn debug_mode_is_refused_in_every_spelling() {
    for raw in ["debug=1", "a=b&debug=true", "%64ebug=%31", "DEBUG=1", "debug=00"] {
        assert_eq!(Query::parse(raw).unwrap_err(), QueryError::Debug, "{raw}");
    }
    for raw in ["debug=0", "debug=", "debug", "debugger=1", "x=debug"] {
        assert!(Query::parse(raw).is_ok(), "{raw}");
    }
}

#[test]
fn nothing_hides_behind_a_semicolon() {
    for raw in ["a=1;access_token=t", "a;debug=1", "a=1;b=2;%61ccess_token=t"] {
        assert_eq!(Query::parse(raw).unwrap_err(), QueryError::Semicolon, "{raw}");
    }
    let harmless = Query::parse("a=1;b=2").unwrap();
    assert_eq!(harmless.without_credential().expose_secret(), "a=1;b=2");
}

#[test]
fn malformed_escapes_are_left_alone() {
    let query = Query::parse("a=%&b=%4&c=%zz&access_token=%4").unwrap();
    assert_eq!(query.without_credential().expose_secret(), "a=%&b=%4&c=%zz");
    assert_eq!(query.get("c").as_deref(), Some("%zz"));
    assert_eq!(query.credentials()[0].value.expose_secret(), "%4");
}

#[test]
fn a_query_is_shown_by_its_names_only() {
    let query = Query::parse("corpid=ww1&corpsecret=s3cr3t&access_token=t0k3n&a%0ab=1").unwrap();
    assert_eq!(query.redact(), "access_token&corpid&corpsecret&a?b");
    let shown = format!("{query:?} {:?}", query.credentials());
    assert!(!shown.contains("s3cr3t") && !shown.contains("t0k3n"), "{shown}");
}

#[test]
fn an_overlong_query_is_refused() {
    assert!(Query::parse(&"a".repeat(MAX_LEN)).is_ok());
    assert_eq!(Query::parse(&"a".repeat(MAX_LEN + 1)).unwrap_err(), QueryError::TooLong);
}

/// Pairs as hostile callers write them, credentials among them.
fn any_pair() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,6}=[A-Za-z0-9%+;/:@!~.-]{0,8}",
        1 => "[a-z%]{0,6}",
        1 => "(access_token|%61ccess_token|suite_access_token|provider%5faccess_token|ACCESS_TOKEN)=CALLER[0-9]{1,4}",
    ]
}

proptest! {
    #[test]
    fn the_injected_token_is_the_only_credential_and_the_rest_keeps_order_and_bytes(
        pairs in proptest::collection::vec(any_pair(), 0..8),
        token in "[ -~]{1,64}",
    ) {
        let Ok(query) = Query::parse(&pairs.join("&")) else { return Ok(()) };
        let sent = query.with_credential("access_token", &secret(&token));
        let sent = sent.expose_secret();
        let (first, rest) = sent.split_once('&').unwrap_or((sent, ""));
        prop_assert_eq!(first, format!("access_token={}", encode(&token)));
        let others: Vec<&str> =
            pairs.iter().map(String::as_str).filter(|p| !p.is_empty() && !p.contains("CALLER")).collect();
        prop_assert_eq!(rest, others.join("&"));
        let again = Query::parse(sent).unwrap();
        prop_assert_eq!(again.credentials().len(), 1);
        prop_assert_eq!(again.credential("access_token").unwrap().unwrap().expose_secret(), token.as_str());
    }

    #[test]
    fn a_callers_credential_survives_nowhere(pairs in proptest::collection::vec(any_pair(), 0..8)) {
        let Ok(query) = Query::parse(&pairs.join("&")) else { return Ok(()) };
        let ours = secret("ours");
        for text in [query.with_credential("access_token", &ours), query.without_credential()] {
            prop_assert!(!text.expose_secret().contains("CALLER"));
        }
        let shown = format!("{query:?}");
        prop_assert!(!shown.contains("CALLER"));
    }

    #[test]
    fn no_text_makes_it_panic(raw in ".{0,200}") {
        if let Ok(query) = Query::parse(&raw) {
            query.redact();
            query.get("a");
        }
    }
}
