//! department/… and tag/…

use serde_json::{Value, json};

use super::{Context, number, text};
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::directory::{Department, Directory};
use crate::sandbox::world::World;

/// WeCom's own bound is 30,000 departments.
const MAX_DEPARTMENTS: usize = 30_000;

pub(super) fn dispatch(world: &mut World, context: Context<'_>, api: &str) -> Option<Reply> {
    let directory = &mut world.corps[context.who.corp].directory;
    Some(match api {
        "department/list" => list(directory, context, true),
        "department/simplelist" => list(directory, context, false),
        "department/create" => create(directory, context),
        "tag/list" => Ok(tags(directory)),
        "tag/get" => tag(directory, context),
        _ => return None,
    })
}

/// The department `id` and those below it, or all.
fn list(directory: &Directory, context: Context<'_>, full: bool) -> Reply {
    let root = match context.call.filled("id") {
        None => 1,
        Some(id) => id.parse().map_err(|_| 40066)?,
    };
    if !directory.departments.contains_key(&root) {
        return Err(60123);
    }
    let show = |id: u32| {
        let department = &directory.departments[&id];
        let mut shown = json!({"id": id, "parentid": department.parent, "order": 100_000 - i64::from(id)});
        if full {
            shown["name"] = department.name.as_str().into();
        }
        shown
    };
    let shown: Vec<Value> = directory.subtree(root).into_iter().map(show).collect();
    let field = if full { "department" } else { "department_id" };
    Ok(Answer::ok(&json!({ field: shown })))
}

fn create(directory: &mut Directory, context: Context<'_>) -> Reply {
    let body = context.body()?;
    let name = text(body, "name");
    let parent = body.get("parentid").and_then(number).ok_or(40063)?;
    if name.is_empty() || name.len() > 192 {
        return Err(40063);
    }
    if !directory.departments.contains_key(&parent) {
        return Err(60123);
    }
    let next = directory.departments.last_key_value().map_or(1, |(id, _)| id.saturating_add(1));
    let id = body.get("id").and_then(number).unwrap_or(next);
    let same_name = |d: &Department| d.parent == parent && d.name == name;
    if id == 0 || directory.departments.contains_key(&id) || directory.departments.values().any(same_name) {
        return Err(60008);
    }
    if directory.departments.len() >= MAX_DEPARTMENTS {
        return Err(81001);
    }
    directory.departments.insert(id, Department { name: name.to_owned(), parent });
    Ok(Answer::done("created", &json!({"id": id})))
}

fn tags(directory: &Directory) -> Answer {
    let tags: Vec<Value> =
        directory.tags.iter().map(|(id, tag)| json!({"tagid": id, "tagname": tag.name})).collect();
    Answer::ok(&json!({"taglist": tags}))
}

fn tag(directory: &Directory, context: Context<'_>) -> Reply {
    let id: u32 = context.call.filled("tagid").and_then(|id| id.parse().ok()).ok_or(40068)?;
    let tag = directory.tags.get(&id).ok_or(40068)?;
    let users: Vec<Value> = tag
        .users
        .iter()
        .filter_map(|id| directory.members.get(id))
        .map(|member| json!({"userid": member.userid, "name": member.name}))
        .collect();
    Ok(Answer::ok(&json!({"tagname": tag.name, "userlist": users, "partylist": tag.parties})))
}
