//! How an app is written, and what may be a whole enterprise.

use std::str::FromStr;

/// `CORP_ID/AGENT_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppLabel {
    pub corp_id: String,
    pub agent_id: String,
}

impl FromStr for AppLabel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((corp_id, agent_id))
                if !corp_id.is_empty() && !agent_id.is_empty() && !agent_id.contains('/') =>
            {
                Ok(Self { corp_id: corp_id.to_owned(), agent_id: agent_id.to_owned() })
            }
            _ => Err("write it CORP_ID/AGENT_ID, such as ww1234567890abcdef/1000002".to_owned()),
        }
    }
}

impl std::fmt::Display for AppLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.corp_id, self.agent_id)
    }
}

/// `CORP_ID` or `CORP_ID/AGENT_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    pub corp_id: String,
    pub agent_id: Option<String>,
}

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            let AppLabel { corp_id, agent_id } = text.parse()?;
            return Ok(Self { corp_id, agent_id: Some(agent_id) });
        }
        if text.is_empty() {
            Err("name an enterprise".to_owned())
        } else {
            Ok(Self { corp_id: text.to_owned(), agent_id: None })
        }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.agent_id {
            Some(agent_id) => write!(f, "{}/{agent_id}", self.corp_id),
            None => f.write_str(&self.corp_id),
        }
    }
}
