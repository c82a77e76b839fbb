use super::*;

fn caps(operator: Operator) -> Vec<(String, i64, Cap)> {
    let limits = shipped("qyh-2015", operator).unwrap().limits;
    limits.iter().map(|limit| (limit.name.to_string(), limit.window.ms(), limit.cap)).collect()
}

fn row(name: &str, ms: i64, cap: u64) -> (String, i64, Cap) {
    (name.to_owned(), ms, Cap::Fixed(cap))
}

#[test]
fn qyh_2015_has_the_numbers_that_were_asked_for() {
    let corp = [row("corp-api-minute", 60_000, 1_000), row("corp-api-hour", 3_600_000, 30_000)];
    let ip = [row("ip-api-minute", 60_000, 2_000), row("ip-api-hour", 3_600_000, 60_000)];
    let provider_ip = [row("ip-api-minute", 60_000, 20_000), row("ip-api-hour", 3_600_000, 600_000)];
    assert_eq!(caps(Operator::Corp), [corp.clone(), ip].concat());
    assert_eq!(caps(Operator::Provider), [corp, provider_ip].concat());
}

#[test]
fn every_shipped_profile_is_sound_and_has_sources() {
    for name in shipped_names() {
        for operator in [Operator::Corp, Operator::Provider] {
            let profile = shipped(name, operator).unwrap();
            assert_eq!(profile.check(), Ok(()));
            assert_eq!(profile.name, *name);
            assert!(profile.limits.iter().all(|limit| limit.source.len() > 10));
        }
    }
    assert_eq!(shipped("qyh-2014", Operator::Corp), None);
}

#[test]
fn a_profile_survives_json_and_postcard() {
    let profile = shipped("qyh-2015", Operator::Provider).unwrap();
    let json = serde_json::to_string(&profile).unwrap();
    assert!(
        json.contains(r#""scope":["corp","api"],"unit":"calls","window":{"sliding":{"ms":60000}}"#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    let bytes = postcard::to_stdvec(&profile).unwrap();
    assert_eq!(postcard::from_bytes::<Profile>(&bytes).unwrap(), profile);
}

#[test]
fn a_profile_with_a_misspelt_field_is_refused() {
    let profile = shipped("qyh-2015", Operator::Corp).unwrap();
    let json = serde_json::to_string(&profile).unwrap().replacen("\"mode\"", "\"mod\"", 1);
    assert!(serde_json::from_str::<Profile>(&json).is_err());
}

#[test]
fn a_profile_that_makes_no_sense_is_refused_with_the_reason() {
    let broken = |break_it: &dyn Fn(&mut Profile)| {
        let mut profile = shipped("qyh-2015", Operator::Corp).unwrap();
        break_it(&mut profile);
        assert_eq!(Meters::new(&profile).err(), profile.check().err());
        profile.check().unwrap_err()
    };
    assert_eq!(broken(&|p| p.name = " ".to_owned()), ProfileError::NoName);
    assert_eq!(broken(&|p| p.limits[1].name = "".into()), ProfileError::UnnamedLimit(2));
    assert_eq!(
        broken(&|p| p.limits[3] = p.limits[0].clone()),
        ProfileError::NameTwice("corp-api-minute".into())
    );
    let too_many = |p: &mut Profile| p.limits = vec![p.limits[0].clone(); 257];
    assert_eq!(broken(&too_many), ProfileError::TooManyLimits(257));
    for ms in [0, -1, i64::MAX] {
        let window = |p: &mut Profile| p.limits[2].window = Window::Sliding { ms };
        assert_eq!(broken(&window), ProfileError::Window("ip-api-minute".into()));
    }
    let per_account = |p: &mut Profile| p.limits[2].cap = Cap::PerAccount(3);
    assert_eq!(broken(&per_account), ProfileError::CapNeedsCorp("ip-api-minute".into()));
}

#[test]
fn a_prefix_or_a_list_matches_only_what_it_says() {
    let folder = Apis::Prefix("message/".to_owned());
    assert!(folder.matches("message/send"));
    assert!(!folder.matches("messages") && !folder.matches("externalcontact/message/send"));
    let listed = Apis::Listed(vec!["user/create".to_owned(), "agent/set".to_owned()]);
    assert!(listed.matches("agent/set"));
    assert!(!listed.matches("agent/set_workbench") && !Apis::Listed(Vec::new()).matches(""));
    assert!(Apis::All.matches("gettoken"));
}

#[test]
fn a_cap_per_account_never_wraps_around() {
    assert_eq!(Cap::PerAccount(30).amount(500), 15_000);
    assert_eq!(Cap::PerAccount(u64::MAX).amount(2), limit::MAX_CAP);
    assert_eq!(Cap::Fixed(u64::MAX).amount(0), limit::MAX_CAP);
}
