//! The rows of WeCom's table of limits: what each caps, and how it refuses.

use serde::Serialize;

use super::{Limits, MessageScope};

/// One row; where WeCom caps a company and an app, or one member, those are rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sandbox) enum Row {
    CorpApi,
    IpApi,
    Debug,
    Messages,
    MemberMessages,
    Accounts,
    JsapiTickets,
    AppJsapiTickets,
    AppAgentTickets,
    AppchatCreates,
    AppchatUpdates,
    AppchatSends,
    MemberAppchat,
    Uploadimg,
    Checkin,
    Approval,
    TrustedDomains,
    Robot,
}

/// What a row allows by period; `None` where it sets no cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(in crate::sandbox) struct Caps {
    pub minute: Option<u64>,
    pub hour: Option<u64>,
    pub day: Option<u64>,
    pub month: Option<u64>,
}

impl Caps {
    pub(in crate::sandbox) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Row {
    #[cfg(test)]
    pub(in crate::sandbox) const ALL: [Self; 18] = [
        Self::CorpApi,
        Self::IpApi,
        Self::Debug,
        Self::Messages,
        Self::MemberMessages,
        Self::Accounts,
        Self::JsapiTickets,
        Self::AppJsapiTickets,
        Self::AppAgentTickets,
        Self::AppchatCreates,
        Self::AppchatUpdates,
        Self::AppchatSends,
        Self::MemberAppchat,
        Self::Uploadimg,
        Self::Checkin,
        Self::Approval,
        Self::TrustedDomains,
        Self::Robot,
    ];

    pub(in crate::sandbox) const fn name(self) -> &'static str {
        match self {
            Self::CorpApi => "corp-api",
            Self::IpApi => "ip-api",
            Self::Debug => "debug",
            Self::Messages => "messages",
            Self::MemberMessages => "member-messages",
            Self::Accounts => "accounts",
            Self::JsapiTickets => "jsapi-tickets",
            Self::AppJsapiTickets => "app-jsapi-tickets",
            Self::AppAgentTickets => "app-agent-tickets",
            Self::AppchatCreates => "appchat-creates",
            Self::AppchatUpdates => "appchat-updates",
            Self::AppchatSends => "appchat-sends",
            Self::MemberAppchat => "member-appchat",
            Self::Uploadimg => "uploadimg",
            Self::Checkin => "checkin",
            Self::Approval => "approval",
            Self::TrustedDomains => "trusted-domains",
            Self::Robot => "robot",
        }
    }

    /// The one API that it is about; `None` for the rows that every API has.
    pub(in crate::sandbox) const fn api(self) -> Option<&'static str> {
        match self {
            Self::CorpApi | Self::IpApi | Self::Debug => None,
            Self::Messages | Self::MemberMessages => Some("message/send"),
            Self::Accounts => Some("user/create"),
            Self::JsapiTickets | Self::AppJsapiTickets => Some("get_jsapi_ticket"),
            Self::AppAgentTickets => Some("ticket/get"),
            Self::AppchatCreates => Some("appchat/create"),
            Self::AppchatUpdates => Some("appchat/update"),
            Self::AppchatSends | Self::MemberAppchat => Some("appchat/send"),
            Self::Uploadimg => Some("media/uploadimg"),
            Self::Checkin => Some("checkin/getcheckindata"),
            Self::Approval => Some("corp/getapprovaldata"),
            Self::TrustedDomains => Some("agent/set"),
            Self::Robot => Some("webhook/send"),
        }
    }

    /// The rows of its own in which an API is counted by the call, at the moment of its arrival. What is counted by
    /// what a call does (person-times, accounts, domains) is taken when it takes effect.
    pub(in crate::sandbox) fn by_call(api: &str) -> &'static [Self] {
        match api {
            "get_jsapi_ticket" => &[Self::JsapiTickets, Self::AppJsapiTickets],
            "ticket/get" => &[Self::AppAgentTickets],
            "appchat/create" => &[Self::AppchatCreates],
            "appchat/update" => &[Self::AppchatUpdates],
            "media/uploadimg" => &[Self::Uploadimg],
            "checkin/getcheckindata" => &[Self::Checkin],
            "corp/getapprovaldata" => &[Self::Approval],
            _ => &[],
        }
    }

    /// Whether it is counted by app and not by company.
    pub(in crate::sandbox) fn is_of_app(self, limits: &Limits) -> bool {
        match self {
            Self::Messages => limits.message_budget.is_some_and(|budget| budget.scope == MessageScope::App),
            Self::AppJsapiTickets | Self::AppAgentTickets => true,
            _ => false,
        }
    }

    pub(in crate::sandbox) const fn errcode(self) -> i32 {
        if matches!(self, Self::TrustedDomains) { 85004 } else { 45009 }
    }

    /// Whether a call too many begins a block. Of 85004 none is documented.
    pub(in crate::sandbox) const fn blocks(self) -> bool {
        !matches!(self, Self::TrustedDomains)
    }

    /// What it allows to a company with so many accounts.
    pub(in crate::sandbox) fn caps(self, limits: &Limits, account_cap: u32) -> Caps {
        let times = |factor: u32| u64::from(account_cap) * u64::from(factor);
        let cap = |cap: Option<u32>| cap.map(u64::from);
        let (mut minute, mut hour, mut day, mut month) = (None, None, None, None);
        match self {
            Self::CorpApi => {
                (minute, hour) = (cap(limits.corp_api_per_minute), cap(limits.corp_api_per_hour));
            }
            Self::IpApi => (minute, hour) = (cap(limits.ip_api_per_minute), cap(limits.ip_api_per_hour)),
            Self::Debug => minute = cap(limits.debug_per_minute),
            Self::Messages => day = limits.message_budget.map(|budget| times(budget.factor)),
            Self::MemberMessages => {
                (minute, hour) =
                    (cap(limits.member_messages_per_minute), cap(limits.member_messages_per_hour));
            }
            Self::Accounts => month = limits.account_creations_factor.map(times),
            Self::JsapiTickets => hour = cap(limits.jsapi_tickets_per_hour),
            Self::AppJsapiTickets => hour = cap(limits.app_jsapi_tickets_per_hour),
            Self::AppAgentTickets => hour = cap(limits.app_agent_tickets_per_hour),
            Self::AppchatCreates => day = cap(limits.appchat_creates_per_day),
            Self::AppchatUpdates => hour = cap(limits.appchat_updates_per_hour),
            Self::AppchatSends => {
                (minute, hour) = (cap(limits.appchat_sends_per_minute), cap(limits.appchat_sends_per_hour));
            }
            Self::MemberAppchat => {
                (minute, day) = (cap(limits.member_appchat_per_minute), cap(limits.member_appchat_per_day));
            }
            Self::Uploadimg => {
                (day, month) = (cap(limits.uploadimg_per_day), cap(limits.uploadimg_per_month));
            }
            Self::Checkin => minute = cap(limits.checkin_per_minute),
            Self::Approval => minute = cap(limits.approval_per_minute),
            Self::TrustedDomains => month = cap(limits.trusted_domains_per_month),
            Self::Robot => minute = cap(limits.robot_per_minute),
        }
        Caps { minute, hour, day, month }
    }
}
