//! The whole simulated WeCom, behind one mutex.

use std::collections::HashMap;

use super::answer::Answer;
use super::api;
use super::bans::Bans;
use super::call::{BodyState, Call};
use super::chats::Chats;
use super::config::{AppConfig, Config, CorpConfig};
use super::counters::{Concurrency, Counters, Members, Seat};
use super::directory::Directory;
use super::faults::{Faults, Lateness, Strike, When};
use super::log::{Ending, Outcome, Record, RequestLog};
use super::media::Media;
use super::messages::Messages;
use super::names::Names;
use super::person_times::PersonTimes;
use super::random::Random;
use super::stats::Stats;
use super::tokens::{Fingerprint, Tokens, Who, fingerprint};

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
    pub concurrency: Concurrency,
    pub members: Members,
    pub person_times: PersonTimes,
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
    pub chats: Chats,
}

#[derive(Debug)]
pub(super) struct App {
    pub agent_id: u32,
    pub secret: String,
    pub settings: AppSettings,
}

/// What agent/set sets.
#[derive(Debug, Clone, Default)]
pub(super) struct AppSettings {
    pub name: String,
    pub description: String,
    pub redirect_domain: String,
    pub home_url: String,
    pub report_location_flag: u32,
    pub isreportenter: u32,
}

/// Who calls, as far as the credential tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller {
    App(Who),
    /// gettoken with a corp that exists and a secret that is not its own.
    WrongSecret(usize),
    /// A group robot, by the fingerprint of its key; it belongs to no company that would be known.
    Robot(Fingerprint),
    /// No valid credential; the errcode to answer.
    Nobody(i32),
}

impl Caller {
    pub(super) const fn corp(self) -> Option<usize> {
        match self {
            Self::App(who) => Some(who.corp),
            Self::WrongSecret(corp) => Some(corp),
            Self::Robot(_) | Self::Nobody(_) => None,
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
    /// Over a cap, or during a penalty: the errcode that says so.
    pub refused: Option<i32>,
    /// Where simultaneous calls have a cap: occupied until the call is answered.
    pub seat: Option<Seat>,
}

/// What happens next to a call that arrived.
pub(super) enum Arrival {
    Answered(Answer),
    /// A fault strikes; with the answer, if the call has taken effect.
    Struck(Strike, Option<Answer>),
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
            concurrency: Concurrency::default(),
            members: Members::default(),
            person_times: PersonTimes::default(),
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

    pub(super) fn lateness(&mut self, call: &Call) -> Option<Lateness> {
        self.faults.lateness(&call.api, &mut self.random)
    }

    /// Notes and counts a call at the moment of its arrival, and lets it take effect unless a fault comes first.
    pub(super) fn arrive(&mut self, call: &Call, now: i64) -> (Visit, Arrival) {
        let api = self.names.id(&call.api);
        let caller = api::identify(self, call, now);
        let n = self.record(call, api, caller, now);
        let counted = self.count(call, api, caller, now);
        let (refused, seat) = (counted.err(), counted.unwrap_or_default());
        let visit = Visit { n, api, caller, refused, seat };
        self.stats.call(api);
        if call.body_state == BodyState::Broken {
            self.log.outcome(n, Outcome::Incomplete);
            return (visit, Arrival::Answered(Answer::error(40058, call.ip, now, &mut self.random)));
        }
        match self.faults.choose(&call.api, &mut self.random) {
            None => {
                let answer = self.take_effect(call, visit, now);
                self.tell(visit, answer.errcode);
                (visit, Arrival::Answered(answer))
            }
            Some(strike) => {
                self.log.outcome(n, Outcome::Injected(strike.kind));
                self.stats.injected(api);
                let answer = (strike.when == When::After).then(|| self.take_effect(call, visit, now));
                (visit, Arrival::Struck(strike, answer))
            }
        }
    }

    /// The call does what it does.
    pub(super) fn take_effect(&mut self, call: &Call, visit: Visit, now: i64) -> Answer {
        let reply = match (visit.refused, call.body_state) {
            (Some(errcode), _) => Err(errcode),
            (None, BodyState::TooLarge) => Err(45001),
            (None, _) => api::dispatch(self, call, visit.caller, now),
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
        let robot = call.param("key").filter(|_| matches!(caller, Caller::Robot(_)));
        let credential = call.param("access_token").or(robot);
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
}

impl Corp {
    fn new(config: CorpConfig) -> Self {
        Self {
            id: config.corp_id,
            account_cap: config.account_cap,
            apps: config.apps.into_iter().map(App::new).collect(),
            directory: Directory::sample(config.members),
            chats: Chats::default(),
        }
    }
}

impl App {
    fn new(config: AppConfig) -> Self {
        let name = format!("App {}", config.agent_id);
        let settings = AppSettings { name, ..AppSettings::default() };
        Self { agent_id: config.agent_id, secret: config.secret, settings }
    }
}
