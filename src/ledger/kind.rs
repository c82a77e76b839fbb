//! The kinds of entries: a released kind never changes its meaning, a changed one gets a new code.

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// What an entry records. The code is what the database holds, the name is what JSON shows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $variant = $code,)* }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            pub fn from_code(code: i64) -> Option<Kind> {
                match code { $($code => Some(Kind::$variant),)* _ => None }
            }

            pub fn from_name(name: &str) -> Option<Kind> {
                match name { $($name => Some(Kind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// The first entry of every ledger.
    LedgerCreated = 1, "ledger.created";
    /// The machine was started: monotonic time begins anew, this says where.
    ClockBooted = 2, "clock.booted";
    /// The wall clock was moved by more than a minute.
    ClockStepped = 3, "clock.stepped";
    ProcessStarted = 4, "process.started";
    ProcessEnded = 5, "process.ended";
    /// A write had failed, and writing was then verified to work again.
    StoreRecovered = 6, "store.recovered";
    /// The first use of an API name; later entries refer to it by this entry's `seq`.
    ApiNamed = 7, "api.named";

    CorpPut = 20, "corp.put";
    CorpRemoved = 21, "corp.removed";
    AppPut = 22, "app.put";
    AppReset = 23, "app.reset";
    AppRemoved = 24, "app.removed";
    ApiKeyCreated = 25, "api_key.created";
    ApiKeyRevoked = 26, "api_key.revoked";
    ApiKeyPaused = 27, "api_key.paused";
    ApiKeyResumed = 28, "api_key.resumed";
    LimitsPut = 29, "limits.put";
    /// What was chosen at a key's creation, chosen anew.
    ApiKeySet = 30, "api_key.set";
    UsageDeclared = 31, "usage.declared";
    SizeDeclared = 33, "size.declared";
    PenaltyCleared = 34, "penalty.cleared";
    /// A learned cap was taken back.
    CapRestored = 35, "cap.restored";

    CallPending = 40, "call.pending";
    CallPosted = 41, "call.posted";
    CallVoided = 42, "call.voided";
    CallExpired = 43, "call.expired";
    CallLate = 44, "call.late";
    CallRefused = 45, "call.refused";
    /// How many members something has: bounds what a message to it costs.
    SizeLearned = 46, "size.learned";
    /// WeCom said that a limit is used up.
    PenaltyStarted = 47, "penalty.started";
    PenaltyEnded = 48, "penalty.ended";
    /// WeCom lets less through than the profile says.
    CapLearned = 49, "cap.learned";
    /// A limit is nearly used up.
    AlertRaised = 50, "alert.raised";
    WebhookDelivered = 51, "webhook.delivered";
    /// WeCom's own count of an app's messages of a day, next to ours.
    UsageReconciled = 52, "usage.reconciled";

    CredentialPending = 60, "credential.pending";
    CredentialPosted = 61, "credential.posted";
    CredentialExpired = 62, "credential.expired";
    CredentialInvalidated = 63, "credential.invalidated";
    CredentialIssued = 64, "credential.issued";
}

impl Kind {
    /// What somebody decided, rather than what programs did.
    pub fn is_administrative(self) -> bool {
        self == Kind::LedgerCreated || (20..40).contains(&(self as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn every_kind_is_found_by_its_code_and_by_its_name() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_code(i64::from(kind as u8)), Some(kind));
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
