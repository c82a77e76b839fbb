//! The caps that the sandbox enforces, and how they are written as JSON.

mod presets;
mod row;

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub(super) use row::{Caps, Row};

/// Whose budget a day's messages are taken from; WeCom moved it from the company to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageScope {
    Corp,
    App,
}

/// Person-times a day: `factor` times the account cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageBudget {
    pub factor: u32,
    pub scope: MessageScope,
}

/// Whose programs call: a third-party provider has more calls per IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    #[default]
    Corp,
    Provider,
}

/// The caps that the sandbox enforces; `None` switches one off, and then nothing is counted for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub corp_api_per_minute: Option<u32>,
    pub corp_api_per_hour: Option<u32>,
    pub ip_api_per_minute: Option<u32>,
    pub ip_api_per_hour: Option<u32>,
    /// Whether message/send counts in the four limits above (since about 2017 it does not).
    pub base_counts_messages: bool,
    /// Whether auth/getuserinfo with a valid code counts in them (in 2023 it does not).
    pub base_counts_valid_codes: bool,
    /// Calls of one API with `debug=1`.
    pub debug_per_minute: Option<u32>,
    pub message_budget: Option<MessageBudget>,
    /// App × member, message/send; what is over is dropped without an error.
    pub member_messages_per_minute: Option<u32>,
    pub member_messages_per_hour: Option<u32>,
    /// Accounts created in a month, as a multiple of the account cap.
    pub account_creations_factor: Option<u32>,
    /// get_jsapi_ticket, by corp and by app.
    pub jsapi_tickets_per_hour: Option<u32>,
    pub app_jsapi_tickets_per_hour: Option<u32>,
    /// ticket/get, by app.
    pub app_agent_tickets_per_hour: Option<u32>,
    pub appchat_creates_per_day: Option<u32>,
    pub appchat_updates_per_hour: Option<u32>,
    /// Person-times: a message to a group of 100 counts 100.
    pub appchat_sends_per_minute: Option<u32>,
    pub appchat_sends_per_hour: Option<u32>,
    /// App × member, over all groups of the app; what is over is dropped without an error.
    pub member_appchat_per_minute: Option<u32>,
    pub member_appchat_per_day: Option<u32>,
    pub uploadimg_per_day: Option<u32>,
    pub uploadimg_per_month: Option<u32>,
    /// checkin/getcheckindata
    pub checkin_per_minute: Option<u32>,
    /// corp/getapprovaldata
    pub approval_per_minute: Option<u32>,
    /// agent/set with a `redirect_domain`; refused with 85004 and without a block.
    pub trusted_domains_per_month: Option<u32>,
    /// webhook/send, by robot.
    pub robot_per_minute: Option<u32>,
    /// Calls of a corp that may be under way at the same time, by API; one more is answered with 45033.
    pub concurrent: Option<BTreeMap<String, u32>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::qyh_2015()
    }
}

impl Limits {
    /// A preset, the default one if none is named, with the members of `differing` in place of its own.
    pub(super) fn chosen(
        preset: Option<&str>,
        operator: Operator,
        differing: Map<String, Value>,
    ) -> Result<Self, String> {
        let name = preset.unwrap_or(presets::DEFAULT);
        let preset = Self::preset(name, operator).ok_or_else(|| {
            format!("no preset is called `{name}`; there are {}", Self::preset_names().join(", "))
        })?;
        if differing.is_empty() {
            return Ok(preset);
        }
        let mut all = serde_json::to_value(preset).map_err(|error| error.to_string())?;
        if let Some(all) = all.as_object_mut() {
            all.extend(differing);
        }
        serde_json::from_value(all).map_err(|error| error.to_string())
    }

    /// The name of a preset, or an object: its members `preset` and `operator` name what the others differ from.
    pub(super) fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::String(name) => Self::chosen(Some(&name), Operator::Corp, Map::new()),
            Value::Object(mut members) => {
                let preset = members.remove("preset");
                let preset: Option<String> = preset.map(parse).transpose()?.flatten();
                let operator = members.remove("operator").map(parse).transpose()?.unwrap_or_default();
                Self::chosen(preset.as_deref(), operator, members)
            }
            _ => Err("limits are the name of a preset, or an object".to_owned()),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// For the field of `Config`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    Limits::from_json(Value::deserialize(deserializer)?).map_err(D::Error::custom)
}
