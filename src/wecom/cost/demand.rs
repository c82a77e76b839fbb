//! Reads recipients off a request's body.

use super::ids::{ID_MAX, distinct, entry, groups, list, split, trim, userids};
use super::json::{Value, fields};
use super::{BODY_MAX, Demand, GROUPS_MAX, Members, To, USERS_MAX, Unreadable};

/// What a request to this API asks for. No `body` means that it was too large to be read; a request without one has an
/// empty body. The content type is not looked at: WeCom reads JSON under any, and `curl -d` names a form.
pub fn demand(api: &str, body: Option<&[u8]>) -> Demand {
    let body = body.filter(|body| body.len() <= BODY_MAX).ok_or(Unreadable::TooLarge);
    match api {
        "message/send" => message(body.and_then(app_message)),
        "linkedcorp/message/send" => message(body.and_then(linked_message)),
        "externalcontact/message/send" => message(body.and_then(school_notice)),
        "appchat/send" => message(body.and_then(chat_message)),
        // To one customer, whatever stands in it.
        "kf/send_msg" | "kf/send_msg_on_event" => {
            message(Ok(To::Members(Members { others: 1, ..Members::default() })))
        }
        "user/create" => Demand { accounts: 1, ..Demand::default() },
        "agent/set" => app_settings(body),
        _ => Demand::default(),
    }
}

fn message(to: Result<To, Unreadable>) -> Demand {
    match to {
        Ok(to) => Demand { to, ..Demand::default() },
        Err(why) => Demand { to: To::Everyone, note: Some(why), ..Demand::default() },
    }
}

fn app_message(body: &[u8]) -> Result<To, Unreadable> {
    let [users, parties, tags] = fields(body, ["touser", "toparty", "totag"])?;
    let users = split(&users)?;
    if has_all(&users) {
        // Then WeCom ignores departments and tags, right or wrong.
        return Ok(To::Everyone);
    }
    let mut members = Members { users: userids(&users)?, ..Members::default() };
    members.parties = groups(&split(&parties)?, &mut members.unknown_groups)?;
    members.tags = groups(&split(&tags)?, &mut members.unknown_groups)?;
    Ok(named(members))
}

/// Users and departments of linked corps are written `CORPID/userid` and `LINKEDID/PARTYID`.
fn linked_message(body: &[u8]) -> Result<To, Unreadable> {
    let [users, parties, tags, all] = fields(body, ["touser", "toparty", "totag", "toall"])?;
    let users = list(&users)?;
    if is_set(&all)? || has_all(&users) {
        return Ok(To::Everyone);
    }
    let mut members = Members { users: userids(&users)?, ..Members::default() };
    members.parties = groups(&list(&parties)?, &mut members.unknown_groups)?;
    members.tags = groups(&list(&tags)?, &mut members.unknown_groups)?;
    Ok(named(members))
}

/// A notice to parents and students. How many parents stand behind a student can't be seen: each entry counts once.
/// Classes are numbered like departments, but are none.
fn school_notice(body: &[u8]) -> Result<To, Unreadable> {
    let names = ["toall", "to_party", "to_external_user", "to_parent_userid", "to_student_userid"];
    let [all, classes, people @ ..] = fields(body, names)?;
    if is_set(&all)? {
        return Ok(To::Everyone);
    }
    let mut members = Members::default();
    for named in &people {
        members.others += distinct(list(named)?, USERS_MAX)?.len() as u32;
    }
    members.unknown_groups = distinct(list(&classes)?, GROUPS_MAX)?.len() as u32;
    Ok(named(members))
}

fn chat_message(body: &[u8]) -> Result<To, Unreadable> {
    let [chat] = fields(body, ["chatid"])?;
    match entry(&chat)? {
        None => Ok(To::Nobody),
        Some(chat) if chat.len() > ID_MAX => Err(Unreadable::Form),
        Some(chat) => Ok(To::Chat(chat)),
    }
}

fn app_settings(body: Result<&[u8], Unreadable>) -> Demand {
    match body.and_then(|body| fields(body, ["redirect_domain"])) {
        Ok([Value::Null]) => Demand::default(),
        Ok(_) => Demand { domains: 1, ..Demand::default() },
        Err(why) => Demand { domains: 1, note: Some(why), ..Demand::default() },
    }
}

fn named(members: Members) -> To {
    if members == Members::default() { To::Nobody } else { To::Members(members) }
}

/// Documented as the only entry; beside others it is taken at its word.
fn has_all(users: &[String]) -> bool {
    users.iter().any(|user| user.eq_ignore_ascii_case("@all"))
}

fn is_set(value: &Value) -> Result<bool, Unreadable> {
    match value {
        Value::Null => Ok(false),
        Value::Flag(flag) => Ok(*flag),
        Value::Number(number) => Ok(*number != 0),
        Value::Text(text) => Ok(!matches!(trim(text), "" | "0" | "false")),
        Value::List(_) | Value::Other => Err(Unreadable::Form),
    }
}

#[cfg(test)]
#[path = "demand_tests.rs"]
mod tests;
