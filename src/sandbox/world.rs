//! The whole simulated WeCom, behind one mutex.

use std::collections::HashMap;

use super::answer::Answer;
use super::api;
use super::bans::Bans;
use super::budgets::Budgets;
use super::call::{BodyState, Call};
use super::config::{Config, CorpConfig};
use super::counters::{Counters, Key};
use super::directory::Directory;
use super::faults::{Faults, Strike, When};
use super::log::{Ending, Outcome, Record, RequestLog};
use super::media::Media;
use super::messages::Messages;
use super::names::Names;
use super::random::Random;
use super::stats::Stats;
use super::tokens::{Tokens, Who, fingerprint};

#[derive(Debug)]
pub(super) struct World {
    /// The settings; its corps are only what the sandbox started with.
    pub config: Config,
    pub random: Random,
    pub corps: Vec<Corp>,
    corp_by_id: HashMap<String, usize>,
    pub names: Names,
    pub tokens: Tokens,
    pub bans: Bans,
    pub counters: Counters,
    pub budgets: Budgets,
    pub faults: Faults,
    pub log: RequestLog,
    pub messages: Messages,
    pub media: Media,
    pub stats: Stats,
}

#[derive(Debug)]
pub(super) struct Corp {
    pub id: String,
    pub account_cap: u32,
    pub apps: Vec<App>,
    pub directory: Directory,
}

#[derive(Debug)]
pub(super) struct App {
    pub agent_id: u32,
    pub secret: String,
}

/// Who calls, as far as the credential tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller {
    App(Who),
    /// gettoken with a corp that exists and a secret that is not its own.
    WrongSecret(usize),
    /// No valid credential; the errcode to answer.
    Nobody(i32),
}

impl Caller {
    pub(super) const fn corp(self) -> Option<usize> {
        match self {
            Self::App(who) => Some(who.corp),
            Self::WrongSecret(corp) => Some(corp),
            Self::Nobody(_) => None,
        }
    }
}

/// A call after its arrival was noted: what is needed to let it take effect, now or later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    /// Its number in the log; 0 if the log is off.
    pub n: u64,
    pub api: u16,
    pub caller: Caller,
    /// Over a cap, or during a penalty.
    pub refused: bool,
}

/// What happens next to a call that arrived.
pub(super) enum Arrival {
    Answered(Answer),
    /// A fault strikes; with the answer, if the call has taken effect.
    Struck(Visit, Strike, Option<Answer>),
}

impl World {
    pub(super) fn new(mut config: Config) -> anyhow::Result<Self> {
        let corps: Vec<Corp> = std::mem::take(&mut config.corps).into_iter().map(Corp::new).collect();
        let corp_by_id: HashMap<String, usize> =
            corps.iter().enumerate().map(|(place, corp)| (corp.id.clone(), place)).collect();
        anyhow::ensure!(corp_by_id.len() == corps.len(), "a corp_id is configured twice");
        Ok(Self {
            random: Random::new(config.seed)?,
            log: RequestLog::new(config.request_log),
            messages: Messages::new(config.message_log_bytes),
            config,
            corps,
            corp_by_id,
            names: Names::default(),
            tokens: Tokens::default(),
            bans: Bans::default(),
            counters: Counters::default(),
            budgets: Budgets::default(),
            faults: Faults::default(),
            media: Media::default(),
            stats: Stats::default(),
        })
    }

    pub(super) fn corp(&self, corp_id: &str) -> Option<usize> {
        self.corp_by_id.get(corp_id).copied()
    }

    pub(super) fn who(&self, corp_id: &str, agent_id: u32) -> Option<Who> {
        let corp = self.corp(corp_id)?;
        let app = self.corps[corp].apps.iter().position(|app| app.agent_id == agent_id)?;
        Some(Who { corp, app })
    }

    pub(super) fn app(&self, who: Who) -> &App {
        &self.corps[who.corp].apps[who.app]
    }

    /// Notes and counts a call at the moment of its arrival, and lets it take effect unless a fault comes first.
    pub(super) fn arrive(&mut self, call: &Call, now: i64) -> Arrival {
        let api = self.names.id(&call.api);
        let caller = api::identify(self, call, now);
        let n = self.record(call, api, caller, now);
        let refused = !api::count(self, call, api, caller, now);
        let visit = Visit { n, api, caller, refused };
        self.stats.call(api);
        if call.body_state == BodyState::Broken {
            self.log.outcome(n, Outcome::Incomplete);
            return Arrival::Answered(Answer::error(40058, call.ip, now, &mut self.random));
        }
        match self.faults.choose(&call.api, &mut self.random) {
            None => {
                let answer = self.take_effect(call, visit, now);
                self.tell(visit, answer.errcode);
                Arrival::Answered(answer)
            }
            Some(strike) => {
                self.log.outcome(n, Outcome::Injected(strike.kind));
                self.stats.injected(api);
                let answer = (strike.when == When::After).then(|| self.take_effect(call, visit, now));
                Arrival::Struck(visit, strike, answer)
            }
        }
    }

    /// The call does what it does.
    pub(super) fn take_effect(&mut self, call: &Call, visit: Visit, now: i64) -> Answer {
        let reply = match (visit.refused, call.body_state) {
            (true, _) => Err(45009),
            (false, BodyState::TooLarge) => Err(45001),
            (false, _) => api::dispatch(self, call, visit.caller, now),
        };
        let answer = reply.unwrap_or_else(|errcode| Answer::error(errcode, call.ip, now, &mut self.random));
        self.log.effect(visit.n, answer.errcode);
        answer
    }

    /// The caller is told this errcode.
    pub(super) fn tell(&mut self, visit: Visit, errcode: i32) {
        self.log.answered(visit.n, errcode);
        self.stats.errcode(visit.api, errcode);
    }

    fn record(&mut self, call: &Call, api: u16, caller: Caller, now: i64) -> u64 {
        if !self.log.is_on() {
            return 0;
        }
        let credential = call.param("access_token");
        let token = credential.map(|value| {
            self.tokens.get(value).map_or_else(|| fingerprint(value), |known| known.fingerprint)
        });
        let app = if let Caller::App(who) = caller { Some(self.app(who).agent_id) } else { None };
        let query = self.names.id(&call.query_names());
        let method = self.names.id(&call.method);
        self.log.push(Record {
            at: now,
            api,
            query,
            method,
            corp: caller.corp().map(|corp| corp as u32),
            app,
            token,
            body_sha256: call.body_sha256,
            body_bytes: call.body.len() as u32,
            request_id: call.request_id.clone(),
            ending: Ending::OPEN,
        })
    }

    /// `corp/agent` for people.
    pub(super) fn label(&self, who: Who) -> String {
        format!("{}/{}", self.corps[who.corp].id, self.app(who).agent_id)
    }

    /// A counter's key for people.
    pub(super) fn key_label(&self, key: &Key) -> (String, &str) {
        let corp = |corp: u32| self.corps.get(corp as usize).map_or("unknown", |corp| corp.id.as_str());
        match key {
            Key::CorpApi(of, api) => (format!("corp:{}", corp(*of)), self.names.name(*api)),
            Key::IpApi(ip, api) => (format!("ip:{ip}"), self.names.name(*api)),
            Key::Debug(of, api) => (format!("debug:{}", corp(*of)), self.names.name(*api)),
            Key::CorpTickets(of) => (format!("tickets:{}", corp(*of)), "get_jsapi_ticket"),
            Key::AppTickets(of, app, api) => (format!("tickets:{}/{app}", corp(*of)), self.names.name(*api)),
        }
    }
}

impl Corp {
    fn new(config: CorpConfig) -> Self {
        Self {
            id: config.corp_id,
            account_cap: config.account_cap,
            apps: config
                .apps
                .into_iter()
                .map(|app| App { agent_id: app.agent_id, secret: app.secret })
                .collect(),
            directory: Directory::sample(config.members),
        }
    }
}
