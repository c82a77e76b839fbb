//! `docs/limits.md` says of every row of the profiles what is in force.

use super::profile::all_shipped;
use super::*;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table below the heading of a profile.
fn rows_of(document: &str, profile: &str) -> Vec<String> {
    let heading = format!("## {profile}\n");
    let (_, rest) = document.split_once(&heading).unwrap_or_else(|| panic!("no heading for {profile}"));
    let section = rest.split("\n## ").next().unwrap_or_default();
    section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

fn names(apis: &Apis) -> String {
    let names: Vec<_> = apis.patterns().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn apis(limit: &Limit) -> String {
    let mut text = match &limit.apis {
        none if none.is_empty() => "none".to_owned(),
        all if all.is_all() => "each".to_owned(),
        listed => names(listed),
    };
    if !limit.except.is_empty() {
        text = format!("{text} but {}", names(&limit.except));
    }
    if !limit.free_if_ok.is_empty() {
        text = format!("{text}; {} only if it fails", names(&limit.free_if_ok));
    }
    text
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().replace('_', " ")
}

/// A row as the document has it, up to its last column, which is free.
fn expected(limit: &Limit) -> String {
    let whose = match limit.operator {
        None => "",
        Some(Operator::Corp) => " (corp)",
        Some(Operator::Provider) => " (provider)",
    };
    let per: Vec<_> = limit.scope.dimensions().map(|dimension| word(&dimension)).collect();
    let how = match (limit.mode, limit.apis.is_empty()) {
        (Mode::Shadow, _) => "shadow",
        (Mode::Enforce, true) => "declared",
        (Mode::Enforce, false) => "enforced",
    };
    let columns = [
        format!("`{}`{whose}", limit.name),
        word(&limit.unit).replace("person times", "person-times"),
        apis(limit),
        per.join(" × "),
        limit.window.to_string(),
        limit.cap.to_string().replace(" x account_cap", " × accounts"),
        how.to_owned(),
        limit.source.clone(),
    ];
    format!("| {} |", columns.join(" | "))
}

#[test]
fn the_document_has_every_row_of_every_profile_and_no_other() {
    let document = document();
    for profile in all_shipped() {
        let rows = rows_of(&document, &profile.name);
        let expected: Vec<_> = profile.limits.iter().map(expected).collect();
        for (row, expected) in rows.iter().zip(&expected) {
            assert!(row.starts_with(expected), "{}: the document has\n{row}\nfor\n{expected}", profile.name);
        }
        assert_eq!(rows.len(), expected.len(), "{}:\n{}", profile.name, expected.join("\n"));
    }
}

#[test]
fn the_document_says_what_to_do_about_rows_that_no_call_fills() {
    let document = document();
    for profile in all_shipped() {
        let rows = rows_of(&document, &profile.name);
        for (row, limit) in rows.iter().zip(&profile.limits) {
            let last = row.trim_end_matches(" |").rsplit(" |").next().unwrap_or_default();
            if limit.apis.is_empty() {
                assert!(last.contains("`usage declare"), "{row}");
            }
            if limit.mode == Mode::Shadow {
                assert!(last.contains("because"), "{row}");
            }
        }
    }
}
