//! How the demo is laid out on a screen: its story in 80 columns, what can be copied in 100, and no colours.

use std::io::Write as _;
use std::path::Path;

use secrecy::ExposeSecret as _;

use crate::ledger::Seq;

use super::narrate::Told;
use super::{CAP, CAPPED, CORP, Stage};

/// Where a line ends at the latest.
const WIDTH: usize = 80;
/// Where the words begin, right of the entry's number and of what it is about.
const MARGIN: usize = 18;

/// One line on standard output. Whoever closed it has seen enough.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// What an entry says, or several of them where there is no number.
pub(super) fn paragraph(seq: Option<Seq>, what: &str, text: &str) -> String {
    let seq = seq.map(|seq| seq.to_string()).unwrap_or_default();
    let mut lines = format!("{seq:>7}  {what:<9}");
    let mut column = MARGIN;
    for (at, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > WIDTH {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', MARGIN));
            column = MARGIN;
        } else if at > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines
}

pub(super) fn count(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn opening(stage: &Stage, data_dir: &Path, kept: bool) {
    let keys = if kept { "these keys stay in that ledger" } else { "these keys end with the demo" };
    let (label, key) = stage.key(0);
    let admin = stage.admin.expose_secret();
    let gateway = &stage.gateway;
    say(&format!("listening on {gateway}"));
    say(&format!(
        "
  programs ──▶ wecom-ledger ────────────▶ simulated WeCom
               {gateway:<24}   {}
                    │
               ledger: {}

Five simulated programs call WeCom through the ledger; none of them knows that
it is there. A sixth has a secret of its own and calls WeCom past it. So that
you need not wait for a refusal, {CAPPED} is set to {CAP}; the profile's
number is larger.

Try it yourself, in another terminal ({keys}):

  LEDGER={gateway}
  # for app {label}
  KEY={key}
  READER={admin}

  # a token, as every SDK gets one: the API key stands where the secret was
  curl \"$LEDGER/cgi-bin/gettoken?corpid={CORP}&corpsecret=$KEY\"

  # a call without any token
  curl -H \"Authorization: Bearer $KEY\" \"$LEDGER/cgi-bin/user/get?userid=zhangsan\"

  # what was spent, when it is used up, WeCom's refusals, everything that happened
  curl -H \"Authorization: Bearer $READER\" \"$LEDGER/v1/usage\"
  curl -H \"Authorization: Bearer $READER\" \"$LEDGER/v1/usage/forecast\"
  curl -H \"Authorization: Bearer $READER\" \"$LEDGER/v1/incidents\"
  curl -H \"Authorization: Bearer $READER\" \"$LEDGER/v1/entries?after=0&limit=20\"

Ctrl-C ends the demo. What happens, with the number of the entry that says so:
",
        stage.sandbox,
        data_dir.display()
    ));
}

pub(super) fn closing(told: &Told, kept: Option<&Path>) {
    let Told { calls, refused, fetches, healed, reserved, settled, incidents, head, .. } = told;
    say(&format!(
        "\n{}, {refused} refused, {} fetched, {} healed, {}.",
        count(*calls, "call"),
        count(*fetches, "token"),
        count(*healed, "call"),
        count(*incidents, "incident")
    ));
    say(&format!(
        "{} of messages reserved, {settled} settled. {head} entries.",
        count(*reserved, "person-time")
    ));
    match kept {
        Some(path) => {
            say(&format!("The ledger is kept in {}: look with sqlite3 at its view v_entry.", path.display()));
        }
        None => say("Nothing is left behind; --data-dir DIR would keep the ledger."),
    }
    say("Next: put it in front of your own corp in five minutes; README.md says how.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_between_words_and_stays_right_of_the_margin() {
        let text = "a word after the other ".repeat(20);
        let lines = paragraph(Some(12), "call", text.trim_end());
        assert!(lines.lines().count() > 4);
        assert!(lines.starts_with("     12  call     a word"), "{lines}");
        for (at, line) in lines.lines().enumerate() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert!(at == 0 || line.starts_with(&format!("{:MARGIN$}", "")), "{line}");
            assert!(!line.ends_with(' '));
        }
        let rejoined: Vec<_> = lines.split_whitespace().skip(2).collect();
        assert_eq!(rejoined.join(" "), text.trim_end(), "nothing is lost");
    }

    #[test]
    fn a_word_longer_than_a_line_stands_on_its_own() {
        let lines = paragraph(None, "", &format!("short {} short", "x".repeat(200)));
        assert_eq!(lines.lines().count(), 3);
    }
}
