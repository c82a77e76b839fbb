//! The documents agree with the code and with each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A fenced block: its language and its lines.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some(Block { language: language.to_owned(), lines: Vec::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line.to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// Blocks that are run or configured, without comments and empty lines: those may be in another language.
fn commands(text: &str) -> Vec<Block> {
    let mut commands = blocks(text);
    commands.retain(|block| block.language != "text");
    for block in &mut commands {
        assert!(!block.language.is_empty(), "a fence without a language: {:?}", block.lines);
        let mark = if block.language == "sql" { "--" } else { "#" };
        block.lines.retain(|line| !line.trim().is_empty() && !line.trim_start().starts_with(mark));
    }
    commands
}

#[test]
fn both_readmes_have_the_same_commands() {
    let [english, chinese] = READMES.map(|readme| commands(&read(readme)));
    assert_eq!(english.len(), chinese.len(), "the READMEs have different numbers of blocks");
    for (english, chinese) in english.iter().zip(&chinese) {
        assert_eq!(english, chinese);
    }
}

#[test]
fn both_readmes_have_the_same_tables() {
    let rows = |readme: &str| -> Vec<usize> {
        let text = read(readme);
        text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches(" |").count()).collect()
    };
    assert_eq!(rows(READMES[0]), rows(READMES[1]));
}

/// Every `WECOM_LEDGER_…` in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let found = text.match_indices("WECOM_LEDGER_").map(|(at, _)| {
        text[at..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect::<String>()
    });
    found.filter(|name| name != "WECOM_LEDGER_").collect()
}

#[test]
fn both_readmes_have_every_setting_and_no_other() {
    let mut known = variables(&read("src/config/settings.rs"));
    assert!(known.len() > 10, "the settings are no longer where this test looks for them");
    known.insert("WECOM_LEDGER_DATA_DIR".to_owned());
    for readme in READMES {
        assert_eq!(variables(&read(readme)), known, "{readme}");
    }
}

/// (variable, default) as the sample shows them: a comment with the variable, then the setting.
fn defaults() -> Vec<(String, String)> {
    let sample = read("src/config.default.toml");
    let mut found = Vec::new();
    let mut variable = None;
    for line in sample.lines() {
        if let Some(comment) = line.strip_prefix("# WECOM_LEDGER_") {
            variable = variables(&format!("WECOM_LEDGER_{comment}")).into_iter().next();
        } else if let Some((_, value)) = line.split_once(" = ")
            && let Some(variable) = variable.take()
        {
            found.push((variable, value.trim_matches('"').to_owned()));
        }
    }
    found
}

#[test]
fn both_readmes_have_the_right_defaults() {
    let defaults = defaults();
    assert_eq!(defaults.len(), variables(&read("src/config/settings.rs")).len());
    for readme in READMES {
        let text = read(readme);
        for (variable, default) in &defaults {
            let marked = format!("`{variable}`");
            let row = text.lines().find(|line| line.starts_with('|') && line.contains(&marked));
            let row = row.unwrap_or_else(|| panic!("{readme} has no row for {variable}"));
            let shown = row.split(" | ").nth(2).unwrap_or_default();
            let right = default.is_empty() && !shown.contains('`') || shown == format!("`{default}`");
            assert!(right, "{readme}: the default of {variable} is `{default}`, not {shown}");
        }
    }
}

/// The names of entry kinds, from the list in `kind.rs`.
fn kinds() -> Vec<String> {
    let text = read("src/ledger/kind.rs");
    let names = text.lines().filter(|line| line.contains(" = ")).filter_map(|line| line.split('"').nth(1));
    names.filter(|name| name.contains('.')).map(str::to_owned).collect()
}

#[test]
fn every_kind_of_entry_is_documented() {
    let kinds = kinds();
    assert!(kinds.len() > 20, "the kinds are no longer where this test looks for them");
    for document in ["ARCHITECTURE.md", READMES[0], READMES[1]] {
        let text = read(document);
        for kind in &kinds {
            assert!(text.contains(&format!("`{kind}`")), "{document} does not name {kind}");
        }
    }
}

#[test]
fn every_limit_that_ships_is_documented() {
    let profiles = ["qyh-2015", "wecom-2020", "wecom-2023"];
    let texts: String =
        profiles.iter().map(|name| read(&format!("src/quota/profiles/{name}.toml"))).collect();
    // The first name of each file is the profile's.
    let limits: Vec<&str> =
        texts.split("[[limit]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(limits.len() >= 50, "the limits are no longer where this test looks for them");
    for readme in READMES {
        let text = read(readme);
        for limit in &limits {
            assert!(text.contains(&format!("| `{limit}` |")), "{readme} has no row for {limit}");
        }
    }
}

#[test]
fn every_errcode_of_our_own_is_documented() {
    // The constants of errcodes.rs that reply.rs answers with.
    let (constants, replies) = (read("src/wecom/errcodes.rs"), read("src/wecom/reply.rs"));
    let mut codes = Vec::new();
    for line in constants.lines() {
        if let Some((name, value)) =
            line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": i64 = "))
            && replies.contains(&format!("errcodes::{name},"))
        {
            codes.push(value.trim_end_matches(';').replace('_', ""));
        }
    }
    assert!(codes.len() >= 10, "the errcodes are no longer where this test looks for them: {codes:?}");
    for readme in READMES {
        let text = read(readme);
        for code in &codes {
            let names = |line: &str| {
                let rest = line.strip_prefix("| ").and_then(|line| line.strip_prefix(code.as_str()));
                rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            assert!(text.lines().any(names), "{readme} has no row for {code}");
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let in_dir = |dir: &Path| -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
    };
    let mut found = in_dir(root());
    found.extend(in_dir(&root().join("docs")));
    assert!(found.len() >= 5);
    found
}

/// The text without fenced blocks, where brackets mean something else.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

fn links(text: &str) -> Vec<String> {
    prose(text).split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The anchors of a document's headings, as they are made from headings on the web.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let shown = document.display();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(target.exists(), "{shown} links to {link}, which does not exist");
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&target).unwrap());
                assert!(known.contains(anchor), "{shown} links to {link}; the headings there are {known:?}");
            }
        }
    }
}
