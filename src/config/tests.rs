//! Settings from file, environment and flags.

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

/// A data directory with this settings file.
fn dir_with(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), text).unwrap();
    dir
}

fn load(text: &str) -> Result<Config, String> {
    let dir = dir_with(text);
    Config::load(dir.path().to_owned(), Settings::default(), &no_env).map_err(|error| error.to_string())
}

#[test]
fn the_documented_sample_is_the_defaults_and_misses_none() {
    let sample = parse(SAMPLE, Path::new("sample")).unwrap();
    assert!(sample.is_complete());
    assert_eq!(load(SAMPLE).unwrap().call, load("").unwrap().call);
    let config = load("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8700");
    assert_eq!(config.upstream, crate::wecom::client::DEFAULT_BASE);
    assert_eq!((config.token.refresh_at_secs, config.token.fetch_timeout_secs), (7000, 15));
    assert_eq!(config.call.body_max_bytes, 32 << 20);
    assert!(config.workers >= 1);
    assert_eq!(config.tls, None);
}

#[test]
fn caps_are_learned_only_where_that_is_wanted_and_never_after_a_single_drift() {
    assert_eq!(load("").unwrap().learn_caps_after, None);
    assert_eq!(load("[penalties]\nlearn_caps = true").unwrap().learn_caps_after, Some(3));
    let five = "[penalties]\nlearn_caps = true\nlearn_after_drifts = 5";
    assert_eq!(load(five).unwrap().learn_caps_after, Some(5));
    for wrong in [1, 11] {
        let error = load(&format!("[penalties]\nlearn_after_drifts = {wrong}")).unwrap_err();
        assert!(error.contains("penalties.learn_after_drifts must be 2 to 10"), "{error}");
    }
}

#[test]
fn the_sample_names_the_environment_variable_of_every_setting() {
    let tables = [
        Settings::VARIABLES,
        TokenSettings::VARIABLES,
        CallSettings::VARIABLES,
        PenaltySettings::VARIABLES,
        LogSettings::VARIABLES,
    ];
    for variable in tables.concat() {
        assert!(
            SAMPLE.lines().any(|line| line.trim_start_matches("# ").split(", ").next() == Some(variable)),
            "{variable}"
        );
    }
}

#[test]
fn the_file_yields_to_the_environment_and_that_to_flags() {
    let dir = dir_with("listen = \"127.0.0.1:1\"\nworkers = 1\negress_ip = \"file\"");
    let env = |name: &str| match name {
        "WECOM_LEDGER_LISTEN" => Some("127.0.0.1:2".to_owned()),
        "WECOM_LEDGER_WORKERS" => Some("2".to_owned()),
        // Empty is not set.
        "WECOM_LEDGER_EGRESS_IP" => Some(String::new()),
        _ => None,
    };
    let flags = Settings { listen: Some("127.0.0.1:3".to_owned()), ..Settings::default() };
    let config = Config::load(dir.path().to_owned(), flags, &env).unwrap();
    assert_eq!((config.listen.port(), config.workers, config.egress_ip.as_str()), (3, 2, "file"));
}

#[test]
fn an_unknown_setting_is_named_with_its_file_and_line() {
    let error = load("workers = 1\n\n[token]\nrefesh_at_secs = 10\n").unwrap_err();
    assert!(error.contains("wecom-ledger.toml, line 4: unknown field `refesh_at_secs`"), "{error}");
    assert!(error.contains("refresh_at_secs"), "{error}");
    let error = load("data_dir = \"x\"").unwrap_err();
    assert!(error.contains("line 1: unknown field `data_dir`"), "{error}");
}

#[test]
fn a_setting_out_of_range_says_what_is_allowed() {
    for (text, expected) in [
        ("workers = 1000", "workers must be 0 to 512, not 1000"),
        ("listen = \"8700\"", "listen must be IP:PORT"),
        ("upstream = \"qyapi.weixin.qq.com\"", "upstream must be an origin"),
        ("upstream = \"http://127.0.0.1:1/cgi-bin\"", "leave the path out"),
        ("egress_ip = \"a b\"", "without spaces"),
        ("tls_cert = \"cert.pem\"", "set both or none"),
        ("token.refresh_at_secs = 7200", "token.refresh_at_secs must be 60 to 7190, not 7200"),
        ("token.refresh_at_secs = 60\ntoken.refresh_jitter_secs = 31", "at most half"),
        ("call.total_timeout_secs = 59", "must not be shorter"),
        ("reconcile.at = \"24:00\"", "reconcile.at must be HH:MM from 00:10 to 23:00"),
        ("reconcile.at = \"00:09\"", "not `00:09`"),
        ("reconcile.at = \"3:30\"", "not `3:30`"),
        ("reconcile.at = \"12:60\"", "not `12:60`"),
        ("log.format = \"xml\"", "log.format must be"),
        ("log.level = \"a=b=c\"", "log.level must be"),
        ("workers = \"two\"", "line 1: invalid type"),
        ("workers = ", "line 1:"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn messages_are_reconciled_on_request_only_or_from_a_time_of_the_day_on() {
    assert_eq!(load("").unwrap().reconcile, None);
    assert_eq!(load("reconcile.at = \"01:00\"").unwrap().reconcile, None);
    assert_eq!(load("reconcile.messages = true").unwrap().reconcile, Some(3 * 60 + 30));
    let early = load("[reconcile]\nmessages = true\nat = \"00:10\"").unwrap();
    assert_eq!(early.reconcile, Some(10));
}

#[test]
fn a_bad_environment_variable_is_named() {
    let env = |name: &str| (name == "WECOM_LEDGER_WORKERS").then(|| "many".to_owned());
    let error = Config::load("nowhere".into(), Settings::default(), &env).unwrap_err().to_string();
    assert_eq!(error, "the environment variable WECOM_LEDGER_WORKERS must be a whole number, not `many`");
}

#[test]
fn a_listener_beyond_loopback_needs_tls_or_consent() {
    assert!(load("listen = \"0.0.0.0:8700\"").unwrap_err().contains("--insecure-listen"));
    assert!(load("listen = \"[::]:8700\"").is_err());
    assert!(load("listen = \"[::1]:8700\"").is_ok());
    assert!(load("listen = \"0.0.0.0:8700\"\ninsecure_listen = true").is_ok());
}

#[test]
fn tls_files_that_are_missing_or_hold_something_else_are_wrong_settings() {
    let dir = dir_with("");
    let other = dir.path().join(FILE).display().to_string();
    for (cert, expected) in [("nowhere/cert.pem", "can't be read"), (other.as_str(), "is not a PEM file")] {
        let error = load(&format!("tls_cert = {cert:?}\ntls_key = \"k\"")).unwrap_err();
        assert!(error.starts_with("tls_cert: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_variable_of_ours_that_nothing_reads_is_named() {
    let names = |names: &[&str]| check_variables(names.iter().map(|name| (*name).to_owned()));
    let known = ["PATH", "WECOM_LEDGER_LOG", "WECOM_LEDGER_CALL_BODY_MAX_BYTES", DATA_DIR_VARIABLE];
    assert!(names(&known).is_ok());
    let error = names(&["WECOM_LEDGER_LISEN"]).unwrap_err().to_string();
    assert!(error.contains("WECOM_LEDGER_LISEN is not a setting"), "{error}");
}

#[test]
fn a_sandbox_beyond_loopback_needs_consent() {
    let anywhere = "0.0.0.0:8701".parse().unwrap();
    assert!(check_exposed_sandbox(anywhere, false).unwrap_err().to_string().contains("--insecure-listen"));
    assert!(check_exposed_sandbox(anywhere, true).is_ok());
    assert!(check_exposed_sandbox("[::1]:8701".parse().unwrap(), false).is_ok());
}

#[test]
fn the_data_directory_comes_from_the_flag_then_the_environment() {
    let env = |name: &str| (name == DATA_DIR_VARIABLE).then(|| "from-env".to_owned());
    assert_eq!(data_dir(Some("flag".into()), &env), Path::new("flag"));
    assert_eq!(data_dir(None, &env), Path::new("from-env"));
    assert_eq!(data_dir(None, &no_env), Path::new("./wecom-ledger-data"));
}
