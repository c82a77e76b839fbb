use super::profile::all_shipped;
use super::*;
use crate::wecom::catalogue;

fn caps(profile: &str, operator: Operator) -> Vec<(String, String, String)> {
    let limits = shipped(profile, operator).unwrap().limits;
    limits.iter().map(|l| (l.name.to_string(), l.window.to_string(), l.cap.to_string())).collect()
}

fn rows(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter()
        .map(|(name, window, cap)| ((*name).to_owned(), (*window).to_owned(), (*cap).to_owned()))
        .collect()
}

#[test]
fn qyh_2015_has_the_numbers_that_were_asked_for() {
    let corp = rows(&[("corp-api-minute", "60s", "1000"), ("corp-api-hour", "1h", "30000")]);
    let ip = rows(&[("ip-api-minute", "60s", "2000"), ("ip-api-hour", "1h", "60000")]);
    let provider_ip = rows(&[("ip-api-minute", "60s", "20000"), ("ip-api-hour", "1h", "600000")]);
    let others = rows(&[
        ("messages-corp-day", "day", "30 x account_cap"),
        ("accounts-month", "month", "3 x account_cap"),
        ("apps-total", "total", "30"),
        ("apps-month", "month", "90"),
    ]);
    assert_eq!(caps("qyh-2015", Operator::Corp), [corp.clone(), ip, others.clone()].concat());
    assert_eq!(caps("qyh-2015", Operator::Provider), [corp, provider_ip, others].concat());
}

#[test]
fn wecom_2020_has_the_numbers_of_its_time() {
    let numbers = [
        ("corp-api-minute", "60s", "2000"),
        ("corp-api-hour", "1h", "30000"),
        ("ip-api-minute", "60s", "20000"),
        ("ip-api-hour", "1h", "600000"),
        ("messages-corp-day", "day", "30 x account_cap"),
        ("message-member-minute", "60s", "30"),
        ("accounts-month", "month", "3 x account_cap"),
        ("apps-total", "total", "30"),
        ("apps-month", "month", "90"),
        ("jsapi-ticket-corp-hour", "1h", "400"),
        ("jsapi-ticket-app-hour", "1h", "100"),
        ("appchat-create-day", "day", "1000"),
        ("appchat-update-hour", "1h", "100"),
        ("appchat-send-minute", "60s", "20000"),
        ("appchat-send-hour", "1h", "200000"),
        ("uploadimg-day", "day", "100"),
        ("robot-minute", "60s", "20"),
    ];
    assert_eq!(caps("wecom-2020", Operator::Corp), rows(&numbers));
    let provider = caps("wecom-2020", Operator::Provider);
    assert_eq!(provider[2..4], rows(&[("ip-api-minute", "60s", "40000"), ("ip-api-hour", "1h", "1200000")]));
}

#[test]
fn wecom_2023_has_every_row_of_the_official_table() {
    let numbers = [
        ("corp-api-minute", "60s", "10000"),
        ("corp-api-hour", "1h", "150000"),
        ("ip-api-minute", "60s", "20000"),
        ("ip-api-hour", "1h", "600000"),
        ("messages-app-day", "day", "200 x account_cap"),
        ("message-member-minute", "60s", "30"),
        ("message-member-hour", "1h", "1000"),
        ("accounts-month", "month", "3 x account_cap"),
        ("apps-total", "total", "300"),
        ("apps-month", "month", "900"),
        ("domains-month", "month", "20"),
        ("checkin-minute", "60s", "600"),
        ("approval-minute", "60s", "600"),
        ("jsapi-ticket-corp-hour", "1h", "400"),
        ("jsapi-ticket-app-hour", "1h", "100"),
        ("agent-ticket-app-hour", "1h", "100"),
        ("appchat-create-day", "day", "1000"),
        ("appchat-update-hour", "1h", "1000"),
        ("appchat-send-minute", "60s", "20000"),
        ("appchat-send-hour", "1h", "300000"),
        ("appchat-member-minute", "60s", "200"),
        ("appchat-member-day", "day", "10000"),
        ("uploadimg-day", "day", "1000"),
        ("uploadimg-month", "month", "3000"),
        ("robot-minute", "60s", "20"),
        ("tag-concurrent", "concurrent", "5"),
        ("getuserid-wrong-day", "day", "20% x account_cap"),
        ("article-reads", "total", "3 x account_cap"),
        ("wedrive-month", "month", "1000"),
    ];
    assert_eq!(caps("wecom-2023", Operator::Corp), rows(&numbers));
    let provider = caps("wecom-2023", Operator::Provider);
    assert_eq!(provider[2..4], rows(&[("ip-api-minute", "60s", "40000"), ("ip-api-hour", "1h", "1200000")]));
}

#[test]
fn messages_are_outside_the_base_limits_from_2020_on() {
    for (name, outside) in [("qyh-2015", false), ("wecom-2020", true), ("wecom-2023", true)] {
        let base = shipped(name, Operator::Corp).unwrap().limits;
        for limit in base.iter().filter(|limit| limit.scope.has(Dimension::Api) && limit.apis.is_all()) {
            assert_eq!(limit.matches("message/send"), !outside, "{name} {}", limit.name);
            assert!(limit.matches("user/get") && limit.matches("appchat/send"));
            assert_eq!(limit.free_if_ok.matches("auth/getuserinfo"), name == "wecom-2023");
        }
    }
}

#[test]
fn every_shipped_profile_is_sound_and_has_sources() {
    assert_eq!(all_shipped().len(), shipped_names().len());
    for (name, profile) in shipped_names().iter().zip(all_shipped()) {
        assert_eq!((profile.name.as_str(), profile.zone_offset_minutes), (*name, 480));
        for operator in [Operator::Corp, Operator::Provider] {
            let profile = shipped(name, operator).unwrap();
            assert_eq!(profile.check(), Ok(()));
            assert!(profile.limits.iter().all(|limit| limit.source.len() > 10));
        }
    }
    assert_eq!(shipped("qyh-2014", Operator::Corp), None);
}

#[test]
fn limits_of_one_name_count_by_the_same_key_in_every_shipped_profile() {
    let limits: Vec<&Limit> = all_shipped().iter().flat_map(|profile| &profile.limits).collect();
    for limit in &limits {
        for other in limits.iter().filter(|other| other.name == limit.name) {
            assert_eq!((limit.scope, limit.unit, limit.window), (other.scope, other.unit, other.window));
        }
    }
}

#[test]
fn every_api_that_a_shipped_limit_names_is_in_the_catalogue() {
    for limit in all_shipped().iter().flat_map(|profile| &profile.limits) {
        for patterns in [&limit.apis, &limit.except, &limit.free_if_ok] {
            for pattern in patterns.patterns() {
                let one = Apis::listed([pattern]);
                let known = catalogue::all().filter(|api| one.matches(api.name)).count();
                let enough = if pattern.ends_with('*') { 2 } else { 1 };
                assert!(known >= enough, "{}: {pattern}", limit.name);
            }
        }
    }
}

#[test]
fn a_profile_survives_postcard() {
    for name in shipped_names() {
        let profile = shipped(name, Operator::Provider).unwrap();
        let bytes = postcard::to_stdvec(&profile).unwrap();
        assert_eq!(postcard::from_bytes::<Profile>(&bytes).unwrap(), profile);
    }
}

const SOUND: &str = r#"name = "own"
zone_offset_minutes = 0

[[limit]]
name = "first"
apis = "*"
scope = ["corp"]
unit = "calls"
window = "60s"
cap = 10
source = "ours"

[[limit]]
name = "second"
apis = ["appchat/*", "message/send"]
except = ["appchat/get"]
free_if_ok = ["appchat/send"]
scope = ["corp", "member"]
unit = "calls"
window = "day"
cap = "20% x account_cap"
mode = "shadow"
operator = "provider"
source = "ours"
note = "a note"
"#;

#[test]
fn an_operators_own_file_is_read_as_it_is_written() {
    let profile = Profile::from_toml(SOUND).unwrap();
    assert_eq!((profile.name.as_str(), profile.zone_offset_minutes, profile.limits.len()), ("own", 0, 2));
    let second = &profile.limits[1];
    assert!(
        second.matches("appchat/create") && second.matches("message/send") && !second.matches("appchat/get")
    );
    assert_eq!(
        (second.cap, second.window, second.mode),
        (Cap::PercentOfAccounts(20), Window::Day, Mode::Shadow)
    );
    assert_eq!(second.scope, Scope::of(&[Dimension::Corp, Dimension::Member]));
    assert_eq!(second.note.as_deref(), Some("a note"));
    assert_eq!(profile.for_operator(Operator::Corp).limits, profile.limits[..1]);
    assert_eq!(profile.for_operator(Operator::Provider).limits, profile.limits);
    let shanghai = Profile::from_toml(&SOUND.replace("zone_offset_minutes = 0\n", "")).unwrap();
    assert_eq!(shanghai.zone_offset_minutes, 480);
}

#[test]
fn whatever_is_wrong_in_a_file_is_named_with_its_line() {
    for (from, to, line, reason) in [
        ("name = \"own\"", "name = \"o\\\"wn\"", 1, "is no name"),
        ("name = \"own\"\n", "\n", 1, "missing field `name`"),
        ("zone_offset_minutes = 0", "zone_offset_minutes = 841", 2, "840 minutes"),
        ("zone_offset_minutes = 0", "zone_ofset_minutes = 0", 2, "unknown field `zone_ofset_minutes`"),
        ("name = \"first\"", "name = ", 5, ""),
        ("name = \"second\"", "name = \"first\"", 14, "used by two limits"),
        ("name = \"second\"", "name = \"\"", 14, "is no name"),
        ("apis = \"*\"", "apis = 5", 6, "write `\"*\"` or a list"),
        ("apis = \"*\"", "apis = []", 6, "calls of no API"),
        ("\"appchat/*\"", "\"app*chat\"", 15, "only at the end"),
        ("\"appchat/*\"", "\"/cgi-bin/appchat\"", 15, "begins after"),
        ("[\"appchat/get\"]", "[\"\"]", 16, "1 to 128 characters"),
        ("free_if_ok = [\"appchat/send\"]", "free_if_ok = [\"user/get\"]", 17, "that the limit matches"),
        ("free_if_ok = [\"appchat/send\"]", "free_if_ok = [\"appchat/*\"]", 17, "that the limit matches"),
        ("\"member\"]", "\"members\"]", 18, "unknown variant `members`"),
        ("\"member\"]", "\"member\", \"chat\"]", 18, "do not go together"),
        ("unit = \"calls\"\nwindow = \"day\"", "unit = \"apps\"\nwindow = \"day\"", 19, "counts calls"),
        ("window = \"60s\"", "window = \"1 minute\"", 9, "is no window"),
        ("window = \"60s\"", "window = \"400d\"", 9, "366 days"),
        ("window = \"60s\"", "window = \"0s\"", 9, "366 days"),
        ("window = \"60s\"", "window = \"99999999999999999999d\"", 9, "is no window"),
        ("window = \"day\"", "window = \"total\"", 20, "not kept"),
        ("cap = 10", "cap = -1", 10, "is no cap"),
        ("cap = 10", "cap = 1.5", 10, "a whole number"),
        ("cap = 10", "cap = 4294967296", 10, "is no cap"),
        ("cap = \"20% x account_cap\"", "cap = \"20%\"", 21, "is no cap"),
        ("scope = [\"corp\", \"member\"]", "scope = [\"member\"]", 21, "needs `corp`"),
        ("mode = \"shadow\"", "mode = \"shade\"", 22, "unknown variant `shade`"),
        ("mode = \"shadow\"", "mod = \"shadow\"", 22, "unknown field `mod`"),
        ("source = \"ours\"\nnote", "note", 13, "missing field `source`"),
        ("source = \"ours\"\nnote", "source = \" \"\nnote", 24, "has a source"),
    ] {
        assert!(SOUND.contains(from), "{from}");
        let error = Profile::from_toml(&SOUND.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.line, line, "{to}: {error}");
        assert!(error.reason.contains(reason) && !error.reason.is_empty(), "{to}: {error}");
    }
    let none = SOUND.split("[[limit]]").next().unwrap();
    assert!(Profile::from_toml(none).unwrap_err().reason.contains("no limit"));
    let huge = format!("{SOUND}#{}", " ".repeat(1024 * 1024));
    assert!(Profile::from_toml(&huge).unwrap_err().reason.contains("bytes"));
}

#[test]
fn one_name_may_stand_for_different_operators() {
    let both = SOUND
        .replace("name = \"second\"", "name = \"first\"")
        .replace("apis = \"*\"", "apis = \"*\"\noperator = \"corp\"");
    let profile = Profile::from_toml(&both).unwrap();
    assert_eq!(profile.for_operator(Operator::Corp).check(), Ok(()));
    assert_eq!(profile.for_operator(Operator::Provider).check(), Ok(()));
    assert_eq!(profile.check(), Err(ProfileError::NameTwice("first".into())));
}

#[test]
fn a_profile_that_makes_no_sense_is_refused_with_the_reason() {
    let broken = |break_it: &dyn Fn(&mut Profile)| {
        let mut profile = shipped("qyh-2015", Operator::Corp).unwrap();
        break_it(&mut profile);
        assert_eq!(Meters::new(&profile).err(), profile.check().err());
        profile.check().unwrap_err()
    };
    assert_eq!(broken(&|p| p.name = " ".to_owned()), ProfileError::Name(" ".to_owned()));
    assert_eq!(broken(&|p| p.limits[1].name = "".into()), ProfileError::Name(String::new()));
    assert_eq!(
        broken(&|p| p.limits[3] = p.limits[0].clone()),
        ProfileError::NameTwice("corp-api-minute".into())
    );
    let too_many = |p: &mut Profile| p.limits = vec![p.limits[0].clone(); 257];
    assert_eq!(broken(&too_many), ProfileError::TooManyLimits(257));
    for ms in [0, -1, i64::MAX] {
        let window = |p: &mut Profile| p.limits[2].window = Window::Sliding { ms };
        assert!(broken(&window).to_string().starts_with("limit `ip-api-minute`: a window"));
    }
    let per_account = |p: &mut Profile| p.limits[2].cap = Cap::PerAccount(3);
    assert!(broken(&per_account).to_string().contains("needs `corp`"));
    let too_large = |p: &mut Profile| p.limits[2].cap = Cap::Fixed(limit::MAX_CAP + 1);
    assert!(broken(&too_large).to_string().contains("at most 4294967295"));
}

#[test]
fn a_prefix_or_a_list_matches_only_what_it_says() {
    let folder = Apis::listed(["message/*"]);
    assert!(folder.matches("message/send"));
    assert!(!folder.matches("messages") && !folder.matches("externalcontact/message/send"));
    let listed = Apis::listed(["user/create", "agent/set"]);
    assert!(listed.matches("agent/set"));
    assert!(!listed.matches("agent/set_workbench") && !Apis::default().matches(""));
    assert!(Apis::all().matches("gettoken") && Apis::all().is_all() && !folder.is_all());
    assert_eq!(Apis::listed(["b", "a", "b"]), Apis::listed(["a", "b"]));
}

#[test]
fn windows_and_caps_are_written_as_they_are_read() {
    for text in ["60s", "1h", "30d", "90s", "1500ms", "day", "month", "concurrent", "total"] {
        assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
    }
    assert_eq!("3600s".parse::<Window>().unwrap().to_string(), "1h");
    for text in ["", "s", "60", "-1s", "1w", "60 s", "Day", "1.5h"] {
        assert!(text.parse::<Window>().is_err(), "{text}");
    }
    for text in ["1000", "30 x account_cap", "20% x account_cap"] {
        assert_eq!(text.parse::<Cap>().unwrap().to_string(), text);
    }
    for text in
        ["", "x account_cap", "30 x accounts", "30x account_cap", "% x account_cap", "-1", "4294967296"]
    {
        assert!(text.parse::<Cap>().is_err(), "{text}");
    }
}

#[test]
fn a_cap_per_account_never_wraps_around() {
    assert_eq!(Cap::PerAccount(30).amount(500), 15_000);
    assert_eq!(Cap::PercentOfAccounts(20).amount(504), 100);
    assert_eq!(Cap::PerAccount(u64::MAX).amount(2), limit::MAX_CAP);
    assert_eq!(Cap::PercentOfAccounts(u64::MAX).amount(u64::MAX), limit::MAX_CAP);
    assert_eq!(Cap::Fixed(u64::MAX).amount(0), limit::MAX_CAP);
}
