//! `members …`.

use crate::app;
use crate::config::Config;
use crate::datadir::Opened;
use crate::http::members::{MembersQuery, report};
use crate::ledger::Command;
use crate::ledger::entry::Size;

use super::args::{AppLabel, DeclaredSize, Whose};
use super::table::table;
use super::{Answer, Failure, act};

/// Rows that are asked for at once.
const PAGE: usize = 1_000;
/// Rows of one answer, at most; `--corp` and `--app` find the others.
const ROWS_MAX: usize = 20_000;

pub(super) async fn declare(opened: &Opened, whose: Whose, size: &DeclaredSize) -> Result<Answer, Failure> {
    let (size, what) = match *size {
        DeclaredSize::Department { id, members } => {
            (Size::Department { id, with_children: true, members }, format!("department {id} has {members}"))
        }
        DeclaredSize::Tag { id, members } => {
            (Size::Tag { id, members, parties: Vec::new() }, format!("tag {id} has {members}"))
        }
        DeclaredSize::Everyone { members } => (Size::Everyone { members }, format!("everyone is {members}")),
    };
    let what = format!("{what} members for {whose} from now on");
    let Whose { corp_id, agent_id } = whose;
    act(opened, Command::DeclareSize { corp_id, agent_id, size, by: None }, what).await
}

pub(super) async fn list(
    opened: &Opened,
    corp: Option<String>,
    app: Option<AppLabel>,
) -> Result<Answer, Failure> {
    let app = app.map(|app| app.to_string());
    let limit = Some(PAGE.to_string());
    let mut query = MembersQuery { corp, app, limit, after: None };
    let mut all = report(&opened.ledger, query.clone(), None).await?;
    while all.next.is_some() && all.members.len() < ROWS_MAX {
        query.after = all.next.take();
        let page = report(&opened.ledger, query.clone(), None).await?;
        all.members.extend(page.members);
        all.next = page.next;
    }
    let number =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let rows: Vec<_> = all
        .members
        .iter()
        .map(|row| {
            let whose = match &row.agent_id {
                Some(agent_id) => format!("{}/{agent_id}", row.corp_id),
                None => format!("{} (every app)", row.corp_id),
            };
            let of = row.id.map_or_else(|| row.of.to_owned(), |id| format!("{} {id}", row.of));
            let declared = row.declared.map_or_else(String::new, |declared| declared.to_string());
            [whose, of, number(row.members), declared, row.learned_at.clone().unwrap_or_default()]
        })
        .collect();
    let text = table(["SEEN BY", "OF", "MEMBERS", "DECLARED", "LEARNED AT"], &rows);
    let hint = match (rows.is_empty(), all.next.is_some()) {
        (true, _) => {
            "nothing is known yet: messages to departments, tags and @all count the whole account cap"
        }
        (false, true) => "there is more; choose with --corp or --app",
        (false, false) => "",
    };
    Ok(Answer::new(&all, text)?.hint(hint))
}

pub(super) async fn learn(config: Config, app: &AppLabel) -> Result<Answer, Failure> {
    let learned = app::learn(config, &app.corp_id, &app.agent_id).await?;
    let app::Learned { departments, departments_known, tags, tags_known, calls, stopped } = &learned;
    let text = format!(
        "{departments_known} of {departments} departments and {tags_known} of {tags} tags are known, with {calls} calls"
    );
    let hint = stopped
        .as_ref()
        .map(|why| format!("stopped: {why}\nrun it again later; it goes on where it stopped"));
    Ok(Answer::new(&learned, text)?.hint(hint.unwrap_or_default()))
}
