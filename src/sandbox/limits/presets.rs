//! The numbers of WeCom's three eras. A row of which nothing is known in an era is off there.

use super::{Limits, MessageBudget, MessageScope, Operator};

pub(super) const DEFAULT: &str = "qyh-2015";

impl Limits {
    pub const fn none() -> Self {
        Self {
            corp_api_per_minute: None,
            corp_api_per_hour: None,
            ip_api_per_minute: None,
            ip_api_per_hour: None,
            base_counts_messages: false,
            base_counts_valid_codes: false,
            debug_per_minute: None,
            message_budget: None,
            member_messages_per_minute: None,
            member_messages_per_hour: None,
            account_creations_factor: None,
            jsapi_tickets_per_hour: None,
            app_jsapi_tickets_per_hour: None,
            app_agent_tickets_per_hour: None,
            appchat_creates_per_day: None,
            appchat_updates_per_hour: None,
            appchat_sends_per_minute: None,
            appchat_sends_per_hour: None,
            member_appchat_per_minute: None,
            member_appchat_per_day: None,
            uploadimg_per_day: None,
            uploadimg_per_month: None,
            checkin_per_minute: None,
            approval_per_minute: None,
            trusted_domains_per_month: None,
            robot_per_minute: None,
            concurrent: None,
        }
    }

    /// The numbers of 企业号, from 2015.
    pub fn qyh_2015() -> Self {
        Self {
            corp_api_per_minute: Some(1_000),
            corp_api_per_hour: Some(30_000),
            ip_api_per_minute: Some(2_000),
            ip_api_per_hour: Some(60_000),
            base_counts_messages: true,
            base_counts_valid_codes: true,
            debug_per_minute: Some(5),
            message_budget: Some(MessageBudget { factor: 30, scope: MessageScope::Corp }),
            account_creations_factor: Some(3),
            ..Self::none()
        }
    }

    /// The numbers of WeCom from 2018 to 2020.
    pub fn wecom_2020() -> Self {
        Self {
            corp_api_per_minute: Some(2_000),
            corp_api_per_hour: Some(30_000),
            ip_api_per_minute: Some(20_000),
            ip_api_per_hour: Some(600_000),
            base_counts_valid_codes: true,
            debug_per_minute: Some(5),
            message_budget: Some(MessageBudget { factor: 30, scope: MessageScope::Corp }),
            member_messages_per_minute: Some(30),
            account_creations_factor: Some(3),
            jsapi_tickets_per_hour: Some(400),
            app_jsapi_tickets_per_hour: Some(100),
            appchat_creates_per_day: Some(1_000),
            appchat_updates_per_hour: Some(100),
            appchat_sends_per_minute: Some(20_000),
            appchat_sends_per_hour: Some(200_000),
            uploadimg_per_day: Some(100),
            robot_per_minute: Some(20),
            ..Self::none()
        }
    }

    /// The numbers of WeCom's page of August 2023.
    pub fn wecom_2023() -> Self {
        let five = |api: &str| (api.to_owned(), 5);
        Self {
            corp_api_per_minute: Some(10_000),
            corp_api_per_hour: Some(150_000),
            base_counts_valid_codes: false,
            message_budget: Some(MessageBudget { factor: 200, scope: MessageScope::App }),
            member_messages_per_hour: Some(1_000),
            app_agent_tickets_per_hour: Some(100),
            appchat_updates_per_hour: Some(1_000),
            appchat_sends_per_hour: Some(300_000),
            member_appchat_per_minute: Some(200),
            member_appchat_per_day: Some(10_000),
            uploadimg_per_day: Some(1_000),
            uploadimg_per_month: Some(3_000),
            checkin_per_minute: Some(600),
            approval_per_minute: Some(600),
            trusted_domains_per_month: Some(20),
            // What WeCom's staff named; no page has a number.
            concurrent: Some(["externalcontact/mark_tag", "externalcontact/remark"].map(five).into()),
            ..Self::wecom_2020()
        }
    }

    pub const fn preset_names() -> &'static [&'static str] {
        &["none", DEFAULT, "wecom-2020", "wecom-2023"]
    }

    /// A preset for a company's own programs.
    pub fn named(name: &str) -> Option<Self> {
        Self::preset(name, Operator::Corp)
    }

    pub fn preset(name: &str, operator: Operator) -> Option<Self> {
        let limits = match name {
            "none" => return Some(Self::none()),
            DEFAULT => Self::qyh_2015(),
            "wecom-2020" => Self::wecom_2020(),
            "wecom-2023" => Self::wecom_2023(),
            _ => return None,
        };
        let (minute, hour) = match (operator, name) {
            (Operator::Corp, _) => return Some(limits),
            (Operator::Provider, DEFAULT) => (20_000, 600_000),
            (Operator::Provider, _) => (40_000, 1_200_000),
        };
        Some(Self { ip_api_per_minute: Some(minute), ip_api_per_hour: Some(hour), ..limits })
    }

    /// Which preset these limits are, if they are one.
    pub(in crate::sandbox) fn preset_name(&self) -> Option<(&'static str, Operator)> {
        let both = |name: &&'static str| [(*name, Operator::Corp), (*name, Operator::Provider)];
        let mut all = Self::preset_names().iter().flat_map(both);
        all.find(|(name, operator)| Self::preset(name, *operator).as_ref() == Some(self))
    }
}
