//! What a request takes from the budgets, read off its body, and what its answer shows of that.
//!
//! Nothing here knows how large a department is. A [`Demand`] names departments and tags, a [`Lesson`] tells their
//! sizes; whoever keeps the sizes puts the two together. Everything is read towards the larger number: what can't be
//! read stands for everyone, and what an answer doesn't clearly say is not given back.

mod answers;
mod demand;
mod ids;
mod json;
mod lesson;
mod shown;

pub use demand::demand;
pub use lesson::{Enlarges, Lesson, enlarges, lessons, teaches, understood};
pub use shown::{Shown, shown};

/// The largest body that is read; one that is larger counts as unreadable. An mpnews message has up to eight articles
/// of 666 KB, and is twice as long where every character is escaped.
pub const BODY_MAX: usize = 16 * 1024 * 1024;

/// What message/send takes in one call: more is refused by WeCom.
pub const USERS_MAX: usize = 1000;
/// The same for departments, and for tags.
pub const GROUPS_MAX: usize = 100;

/// What a request asks for, as far as it can be read off the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Who a message goes to.
    pub to: To,
    /// Accounts that it creates. An import (`batch/syncuser`, `batch/replaceuser`) creates some too, but how many
    /// stands in a file that was uploaded before: 0 here.
    pub accounts: u32,
    /// Trusted domains that it sets.
    pub domains: u32,
    /// Why the upper bound stands here instead of what was asked for.
    pub note: Option<Unreadable>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum To {
    /// No message, or one without recipients, which WeCom refuses.
    #[default]
    Nobody,
    Members(Members),
    /// `@all`; also whatever can't be read.
    Everyone,
    /// The members of this group chat (`chatid`).
    Chat(String),
}

/// The recipients that a message names. A member who is also in one of the departments can't be told from one who is
/// not, so the sum of all is the upper bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Trimmed, in lower case (userids are case-insensitive), each once, sorted.
    pub users: Vec<String>,
    /// People who have no userid here: customers, parents, students.
    pub others: u32,
    /// Departments, each once, sorted.
    pub parties: Vec<u64>,
    /// Each once, sorted.
    pub tags: Vec<u64>,
    /// Departments and tags whose size can't be known here: those of other corps and schools, and entries that are no
    /// numbers. Each counts as the whole corp.
    pub unknown_groups: u32,
}

/// Why the recipients could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The body is no JSON object. WeCom goes on with what it understood of such a body, so nothing is certain.
    NotJson,
    /// The body is larger than [`BODY_MAX`].
    TooLarge,
    /// A field that decides stands there more than once, and which one counts is not documented.
    Repeated,
    /// A field has a form that WeCom doesn't document.
    Form,
    /// More recipients than WeCom takes.
    TooMany,
}

impl Unreadable {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::Repeated => "repeated_field",
            Self::Form => "unknown_form",
            Self::TooMany => "too_many_recipients",
        }
    }
}

/// Whether a request to this API names its recipients where [`demand`] finds them.
pub fn names_recipients(api: &str) -> bool {
    demand(api, Some(b"")).to != To::Nobody
}

/// Whether [`demand`] or [`lessons`] look at the body of a request to this API. Without it they know the upper bound or
/// nothing.
pub fn needs_body(api: &str) -> bool {
    matches!(
        api,
        "message/send"
            | "linkedcorp/message/send"
            | "externalcontact/message/send"
            | "appchat/send"
            | "agent/set"
            | "appchat/create"
            | "appchat/update"
            | "user/create"
            | "user/update"
            | "tag/addtagusers"
            | "department/create"
            | "department/update"
    )
}
