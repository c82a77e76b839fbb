//! `members learn`: asks WeCom how many members an app's departments and tags have. The calls are real ones: admitted,
//! metered and recorded, from a process that the ledger knows. What their answers teach, the gateway writes down.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::admission::Admission;
use crate::config::Config;
use crate::datadir::{self, Opened};
use crate::gateway::Gateway;
use crate::ledger::Seq;
use crate::ledger::sizes::Of;

use super::serve::{calling, gateway_settings, registration};

/// Departments or tags that are asked for in one go; the next one goes on.
const ASKED_MAX: usize = 10_000;

/// How far it came.
#[derive(Debug, Default, Serialize)]
pub struct Learned {
    pub departments: usize,
    pub departments_known: usize,
    pub tags: usize,
    pub tags_known: usize,
    /// Calls that were made or refused.
    pub calls: usize,
    /// Why it stopped before its end.
    pub stopped: Option<String>,
}

struct Teacher {
    gateway: Arc<Gateway>,
    opened: Opened,
    corp: Seq,
    app: Seq,
    learned: Learned,
}

/// Asks for everything that an app can see.
pub async fn learn(config: Config, corp_id: &str, agent_id: &str) -> anyhow::Result<Learned> {
    datadir::expect_initialised(&config.data_dir).await?;
    let settings = gateway_settings(&config)?;
    let registration = registration(&config, &datadir::new_instance()?);
    let opened = datadir::open(&config.data_dir, Some(registration)).await?;
    let ledger = opened.ledger.clone();
    let found = opened.ledger.directory().app(corp_id, agent_id).map(|(app, it)| (app, it.corp));
    let learned = match found {
        None => Err(anyhow::anyhow!("app `{corp_id}/{agent_id}` is unknown; `app list` shows all")),
        Some((app, corp)) => {
            let admission = Admission::new(opened.ledger.clone());
            let (_broker, gateway) = calling(&config, &opened, &admission, settings)?;
            let mut teacher = Teacher { gateway, opened, corp, app, learned: Learned::default() };
            if let Err(why) = teacher.teach(agent_id).await {
                teacher.learned.stopped = Some(why);
            }
            Ok(teacher.learned)
        }
    };
    ledger.stop().await;
    learned
}

impl Teacher {
    async fn teach(&mut self, agent_id: &str) -> Result<(), String> {
        self.get("agent/get", &format!("agentid={agent_id}")).await?;
        let list = self.get("department/simplelist", "").await?;
        let departments = ids(&list, "department_id", "id");
        self.learned.departments = departments.len();
        for id in departments.into_iter().take(ASKED_MAX) {
            if !self.knows(Of::Department(id)).await? {
                self.get("user/simplelist", &format!("department_id={id}")).await?;
            }
            self.learned.departments_known += 1;
        }
        let list = self.get("tag/list", "").await?;
        let tags = ids(&list, "taglist", "tagid");
        self.learned.tags = tags.len();
        for id in tags.into_iter().take(ASKED_MAX) {
            if !self.knows(Of::Tag(id)).await? {
                self.get("tag/get", &format!("tagid={id}")).await?;
            }
            self.learned.tags_known += 1;
        }
        Ok(())
    }

    async fn knows(&self, of: Of) -> Result<bool, String> {
        let (corp, app) = (self.corp, self.app);
        let known =
            self.opened.ledger.read(move |state, now| state.sizes.learned_lately(corp, app, of, now.tick));
        known.await.map_err(|error| error.to_string())
    }

    /// Whoever refuses, it is asked no further.
    async fn get(&mut self, api: &str, query: &str) -> Result<Value, String> {
        self.learned.calls += 1;
        let answer =
            self.gateway.get(self.app, api, query).await.map_err(|error| format!("{api}: {error}"))?;
        match answer["errcode"].as_i64() {
            Some(0) => Ok(answer),
            errcode => {
                let errcode =
                    errcode.map_or_else(|| "no errcode".to_owned(), |errcode| format!("errcode {errcode}"));
                let errmsg: String =
                    answer["errmsg"].as_str().unwrap_or_default().chars().take(200).collect();
                Err(format!("{api}: {errcode}, {errmsg}"))
            }
        }
    }
}

fn ids(answer: &Value, list: &str, id: &str) -> Vec<u64> {
    let entries = answer[list].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry[id].as_u64()).collect()
}
