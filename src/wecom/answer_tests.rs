use super::*;
use proptest::prelude::*;

fn json(body: &str, complete: bool) -> Answer {
    let head = Head { status: 200, content_type: Some("application/json; charset=UTF-8"), ..Head::default() };
    inspect(&head, body.as_bytes(), complete)
}

#[test]
fn the_code_of_an_ordinary_answer_is_read() {
    let answer = json(
        r#"{"ip_list":[],"errcode":42001,"errmsg":"access_token expired, hint: [1576065934_28_e0fa], from ip: 9.30.0.138, more info"}"#,
        true,
    );
    assert_eq!((answer.errcode, answer.kind), (Some(42_001), Kind::Json));
    assert_eq!(answer.hint.as_deref(), Some("1576065934_28_e0fa"));
    assert_eq!(answer.from_ip.as_deref(), Some("9.30.0.138"));
}

#[test]
fn a_whole_answer_without_a_code_is_a_success_and_a_cut_one_is_unknown() {
    assert_eq!(json(r#"{"access_token":"x","expires_in":7200}"#, true).errcode, Some(0));
    assert_eq!(json(r#"{"access_token":"x","expires_in":72"#, false).errcode, None);
    assert_eq!(json("[1,2]", true).errcode, Some(0));
    assert_eq!(json(r#"{"errcode":null}"#, true).errcode, Some(0));
    let failed = Head { status: 502, content_type: Some("application/json"), ..Head::default() };
    assert_eq!(inspect(&failed, b"{}", true).errcode, None);
}

#[test]
fn codes_come_as_numbers_and_as_strings_and_after_a_byte_order_mark() {
    assert_eq!(json(r#"{"errcode":"0"}"#, true).errcode, Some(0));
    assert_eq!(json("\u{feff}{\"errcode\":-1}", true).errcode, Some(-1));
    for odd in [r#"{"errcode":[]}"#, r#"{"errcode":"x"}"#, r#"{"errcode":1.5}"#, r#"{"errcode":{"a":1}}"#] {
        let answer = json(odd, true);
        assert_eq!((answer.errcode, answer.kind), (None, Kind::Garbage), "{odd}");
    }
}

#[test]
fn a_nested_or_quoted_code_is_not_the_answers_code() {
    let body = r#"{"items":[{"errcode":1}],"note":"\"errcode\":2","deep":{"errcode":3},"errcode":4}"#;
    assert_eq!(json(body, true).errcode, Some(4));
    assert_eq!(json(&body[..body.len() - 13], false).errcode, None);
}

#[test]
fn a_number_that_the_cut_shortened_is_not_believed() {
    assert_eq!(json(r#"{"errcode":4"#, false).errcode, None);
    assert_eq!(json(r#"{"errcode":45009,"errm"#, false).errcode, None);
    assert_eq!(json(r#"{"errcode":45009,"errmsg":"api fr"#, false).errcode, Some(45_009));
}

#[test]
fn what_claims_to_be_json_and_is_not_is_garbage() {
    for body in ["", "<html>", "{\"errcode\":0", "{\"errcode\":0}{", "nonsense", "7"] {
        let answer = json(body, true);
        assert_eq!((answer.errcode, answer.kind), (None, Kind::Garbage), "{body}");
    }
}

#[test]
fn a_file_is_never_searched_for_a_code() {
    let faked = br#"{"errcode":45009}"#;
    let file =
        Head { status: 200, content_type: Some("application/json"), attachment: true, ..Head::default() };
    assert_eq!(inspect(&file, faked, true), bare(Kind::Binary, None));
    let part = Head { status: 206, content_type: Some("text/plain"), ..Head::default() };
    assert_eq!(inspect(&part, faked, true).kind, Kind::Binary);
    let image =
        Head { status: 200, content_type: Some("image/jpeg"), error_code: Some("0"), ..Head::default() };
    assert_eq!(inspect(&image, b"\xff\xd8", false), bare(Kind::Binary, Some(0)));
}

#[test]
fn json_without_its_content_type_is_still_read() {
    for content_type in [None, Some("text/plain"), Some("text/html; charset=utf-8")] {
        let head = Head { status: 200, content_type, ..Head::default() };
        assert_eq!(inspect(&head, b" {\"errcode\":40007}", true).errcode, Some(40_007), "{content_type:?}");
    }
    let page = Head { status: 200, content_type: Some("text/html"), ..Head::default() };
    assert_eq!(inspect(&page, b"<html>log in</html>", true).kind, Kind::Garbage);
    assert_eq!(inspect(&page, b"{{template}}", true).kind, Kind::Garbage);
    let down = Head { status: 503, content_type: Some("text/plain"), ..Head::default() };
    assert_eq!(inspect(&down, b"no upstream", true).kind, Kind::Garbage);
    assert_eq!(inspect(&Head { status: 200, ..Head::default() }, b"", true).kind, Kind::Garbage);
}

proptest! {
    #[test]
    fn any_prefix_of_an_answer_gives_its_code_or_none(code in -10_i64..1_000_000, cut in 0_usize..80) {
        let whole = format!(r#"{{"list":[1,{{"errcode":7}}],"errmsg":"é\"长","errcode":{code},"more":"xyz"}}"#);
        let cut = cut.min(whole.len());
        let head = Head { status: 200, content_type: Some("application/json"), ..Head::default() };
        let answer = inspect(&head, &whole.as_bytes()[..cut], false);
        prop_assert!(answer.errcode.is_none_or(|found| found == code));
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), complete: bool) {
        let head = Head { status: 200, content_type: Some("application/json"), ..Head::default() };
        inspect(&head, &body, complete);
    }
}
