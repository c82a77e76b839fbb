//! What a call takes: what is asked for, and what turns out not to have been sent.

/// What a call asks for beyond being a call; what it costs is decided by what the ledger knows of sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    pub to: To,
    /// Keyed hash of the group chat or group robot that it goes to; 0: none.
    pub chat: u64,
    pub accounts: u64,
    pub domains: u64,
    /// Why the upper bound stands here instead of what was asked for.
    pub unread: Option<&'static str>,
}

/// Who a message goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum To {
    #[default]
    Nobody,
    Members {
        /// Keyed hashes, in rising order, each once.
        users: Vec<u64>,
        /// People who are no members of the corp.
        others: u64,
        parties: Vec<u64>,
        tags: Vec<u64>,
        /// Departments and tags that could not be read: any of them may be the whole corp.
        unreadable: u64,
    },
    /// So many person-times, whoever they are.
    Count(u64),
    /// Everybody whom the app can see; also where it can't be told who.
    Everyone,
    /// The members of the group chat.
    Chat,
}

/// What an answer shows that was not sent, as far as that is not to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotSent {
    pub users: u64,
    pub parties: Vec<u64>,
    pub tags: Vec<u64>,
    /// Nothing was.
    pub all: bool,
}
