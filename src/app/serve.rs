//! `serve`: the ledger, the broker and the gateway behind one listener.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use crate::admission::Admission;
use crate::broker::{self, Broker};
use crate::config::Config;
use crate::datadir::{self, Opened};
use crate::gateway::{self, Gateway};
use crate::http::{self, HttpState};
use crate::ledger::committer::Registration;
use crate::webhook::{self, Webhook};
use crate::wecom::client::{Timeouts, Upstream};

use super::drain::{self, Drain};
use super::listen::{self, Handover, Successor};
use super::reconcile::Daily;

/// How long the kernel may need until handshakes that chose our socket have ended.
const HANDOVER: Duration = Duration::from_millis(300);
/// How long nothing may be under way before the server closes while clients have nowhere else to go.
const QUIET: Duration = Duration::from_millis(300);
/// The same while another process serves the port and connections are still open. An idle one that is closed just when its
/// client uses it loses that call, so it is left until its next answer ends it, or until its client hardly uses it at all.
const QUIET_BESIDE_ANOTHER: Duration = Duration::from_secs(5);
/// How often that is looked at.
const STEP: Duration = Duration::from_millis(20);
/// How long connections that still write their last answer may take after that, in seconds.
const LINGER_SECS: u64 = 2;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the head of a connection's first request may take. Clients open connections ahead of need, and one that is
/// used just when this is over takes the 408 for its answer: long enough that pools have used or dropped it by then.
const FIRST_REQUEST: Duration = Duration::from_mins(2);

/// Runs the service until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let service = Service::start(config).await?;
    let mut stdout = std::io::stdout();
    // Whoever started us may have closed the pipe; that is no reason to stop.
    let _ = writeln!(stdout, "listening on {}", service.url).and_then(|()| stdout.flush());
    let ledger = service.opened.ledger.clone();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        // Without it nothing can be sent; whoever supervises us should start us anew.
        () = ledger.ended() => anyhow::bail!("the ledger ended unexpectedly; see the log"),
    }
    service.stop().await
}

/// A running service.
pub struct Service {
    pub url: String,
    pub opened: Opened,
    instance: String,
    gateway: Arc<Gateway>,
    admission: Arc<Admission>,
    rest: HttpState,
    drain: Arc<Drain>,
    handover: Option<Handover>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    handle: actix_web::dev::ServerHandle,
    total_timeout: Duration,
}

impl Service {
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        // What can fail for good fails before the ledger hears of this process.
        datadir::expect_initialised(&config.data_dir).await?;
        let address = config.listen;
        let socket = listen::bind(address, config.reuse_port).with_context(|| {
            format!("can't listen on {address}; is another process there? see --listen and --reuse-port")
        })?;
        let tls = config.tls.as_ref().map(|tls| listen::tls(&tls.cert, &tls.key)).transpose()?;
        let settings = gateway_settings(&config)?;
        let instance = datadir::new_instance()?;
        let registration = registration(&config, &instance);
        let opened = datadir::open(&config.data_dir, Some(registration)).await?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            data_dir = %config.data_dir.display(),
            upstream = %config.upstream,
            egress_ip = %config.egress_ip,
            "starting"
        );
        let (total_timeout, messages) = (settings.total_timeout, settings.messages);
        let admission = Admission::new(opened.ledger.clone());
        let (broker, gateway) = calling(&config, &opened, &admission, settings)?;
        tokio::spawn(broker::keep_fresh(Arc::downgrade(&broker)));
        if let Some(settings) = webhook_settings(&config)? {
            let (ledger, reader) = (opened.ledger.clone(), opened.reader.clone());
            let clock = Arc::clone(&opened.clock);
            tokio::spawn(Webhook { ledger, reader, clock, settings }.run());
        }
        let listener = listen::open(socket, config.reuse_port)?;
        let handover = if config.reuse_port { Some(Handover::of(&listener)?) } else { None };
        let address = listener.local_addr()?;
        let drain = Arc::new(Drain::default());
        if let Some(from_minute) = config.reconcile {
            let (gateway, ledger) = (Arc::clone(&gateway), opened.ledger.clone());
            let lock_file = datadir::lock_dir(&config.data_dir).join("reconcile");
            tokio::spawn(Daily { gateway, ledger, from_minute, lock_file, drain: Arc::clone(&drain) }.run());
        }
        let state = HttpState::new(&opened, Arc::clone(&admission), messages);
        let server = server(config.workers, listener, tls, &gateway, &state, &drain)?;
        let handle = server.handle();
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://{address}"),
            opened,
            instance,
            gateway,
            admission,
            rest: state,
            drain,
            handover,
            server: tokio::spawn(server),
            handle,
            total_timeout,
        })
    }

    /// Drains and stops: what has begun is answered and written down.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.drain.begin();
        self.admission.drain();
        self.rest.drain();
        let mut calm = QUIET;
        if let Some(handover) = &self.handover {
            let others = self.others().await;
            let to = if others.older { Successor::Older } else { Successor::Newer };
            if others.older || others.newer {
                calm = QUIET_BESIDE_ANOTHER;
            }
            if let Err(error) = handover.begin(to) {
                tracing::warn!(%error, "the port could not be handed over; connections in the backlog may be lost");
            }
            tokio::time::sleep(HANDOVER).await;
        }
        // Nothing new; open connections are told to close with their next answer.
        self.handle.pause().await;
        let patience = tokio::time::Instant::now() + self.total_timeout;
        let mut quiet = Duration::ZERO;
        let needed = || if self.drain.connections() == 0 { QUIET } else { calm };
        while quiet < needed() && tokio::time::Instant::now() < patience {
            tokio::time::sleep(STEP).await;
            quiet = if self.is_busy() { Duration::ZERO } else { quiet + STEP };
        }
        self.handle.stop(true).await;
        self.server.await??;
        while self.gateway.calls_under_way() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(STEP).await;
        }
        self.opened.ledger.stop().await;
        Ok(())
    }

    fn is_busy(&self) -> bool {
        self.drain.active() > 0 || self.gateway.calls_under_way() > 0
    }

    /// Which other processes are there. Where one was started before this one, it is this one that goes back.
    async fn others(&self) -> Others {
        let instance = self.instance.clone();
        let others = self.opened.ledger.read(move |state, _| {
            let mut processes = state.processes.iter();
            let own = processes.find(|(_, process)| process.instance == instance).map(|(&seq, _)| seq);
            own.map_or_else(Others::default, |own| Others {
                older: state.processes.range(..own).next().is_some(),
                newer: state.processes.range(own + 1..).next().is_some(),
            })
        });
        others.await.unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Others {
    older: bool,
    newer: bool,
}

fn server(
    workers: usize,
    listener: std::net::TcpListener,
    tls: Option<rustls::ServerConfig>,
    gateway: &Arc<Gateway>,
    state: &HttpState,
    drain: &Arc<Drain>,
) -> anyhow::Result<Server> {
    let (gateway, state, drain) = (Arc::clone(gateway), Data::new(state.clone()), Arc::clone(drain));
    let connected = Arc::clone(&drain);
    let server = HttpServer::new(move || {
        let (gateway, drain) = (Arc::clone(&gateway), Arc::clone(&drain));
        App::new()
            .app_data(state.clone())
            .wrap_fn(move |request, next| drain::watch(&drain, request, next))
            .configure(|config| gateway::configure(config, &gateway))
            .configure(http::configure)
    })
    .on_connect(move |_, data| drop(data.insert(connected.connected())))
    .workers(workers)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(FIRST_REQUEST)
    // Whoever closes their side has gone, as with other proxies: a call that waits in line for them must leave it.
    .h1_allow_half_closed(false)
    .shutdown_timeout(LINGER_SECS)
    .disable_signals();
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// What the ledger is told of this process, and with it of the settings that its decisions depend on.
pub(super) fn registration(config: &Config, instance: &str) -> Registration {
    Registration {
        instance: instance.to_owned(),
        egress_ip: config.egress_ip.clone(),
        learn_caps_after: config.learn_caps_after,
        webhook: config.webhook.is_some(),
    }
}

/// What makes calls to WeCom.
pub(super) fn calling(
    config: &Config,
    opened: &Opened,
    admission: &Arc<Admission>,
    settings: gateway::Settings,
) -> anyhow::Result<(Arc<Broker>, Arc<Gateway>)> {
    let connect = Duration::from_secs(config.call.connect_timeout_secs);
    let upstream = Upstream::new(&config.upstream, connect)?;
    let (ledger, vault) = (&opened.ledger, &opened.vault);
    let source = Arc::new(upstream.clone());
    let broker = Broker::new(
        ledger.clone(),
        opened.reader.clone(),
        Arc::clone(vault),
        source,
        broker_settings(config),
    );
    let (broker_too, admission) = (Arc::clone(&broker), Arc::clone(admission));
    let gateway = Gateway::new(ledger.clone(), admission, Arc::clone(vault), broker_too, upstream, settings);
    Ok((broker, gateway))
}

fn broker_settings(config: &Config) -> broker::Settings {
    broker::Settings {
        refresh_at: Duration::from_secs(config.token.refresh_at_secs),
        refresh_jitter: Duration::from_secs(config.token.refresh_jitter_secs),
        fetch_timeout: Duration::from_secs(config.token.fetch_timeout_secs),
    }
}

/// Reads the files with the secrets; what is wrong with them is found before anything starts.
fn webhook_settings(config: &Config) -> anyhow::Result<Option<webhook::Settings>> {
    let Some(of) = &config.webhook else { return Ok(None) };
    let read = |path: &std::path::Path| {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {shown}"))?;
        let text = text.trim().to_owned();
        anyhow::ensure!(!text.is_empty(), "{shown} is empty");
        Ok(SecretString::from(text))
    };
    let url = read(&of.url_file)?;
    let plain = reqwest::Url::parse(url.expose_secret()).ok();
    let fits = plain.is_some_and(|url| matches!(url.scheme(), "http" | "https"));
    anyhow::ensure!(fits, "{} must hold one http:// or https:// URL", of.url_file.display());
    Ok(Some(webhook::Settings {
        url,
        format: if of.robot { webhook::Format::WecomRobot } else { webhook::Format::Json },
        secret: of.secret_file.as_deref().map(read).transpose()?,
        lock_file: datadir::lock_dir(&config.data_dir).join("webhook"),
    }))
}

pub(super) fn gateway_settings(config: &Config) -> anyhow::Result<gateway::Settings> {
    let spool_dir = config.data_dir.join("spool");
    std::fs::create_dir_all(&spool_dir).with_context(|| format!("can't create {}", spool_dir.display()))?;
    Ok(gateway::Settings {
        timeouts: Timeouts {
            head: Duration::from_secs(config.call.head_timeout_secs),
            idle: Duration::from_secs(config.call.idle_timeout_secs),
        },
        total_timeout: Duration::from_secs(config.call.total_timeout_secs),
        body_max: config.call.body_max_bytes,
        messages: gateway::Messages {
            failed_count: config.messages.failed_count,
            invalid_recipients_count: config.messages.invalid_recipients_count,
        },
        spool_dir,
    })
}
