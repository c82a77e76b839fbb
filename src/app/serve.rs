//! `serve`: the ledger, the broker and the gateway behind one listener.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::broker::{self, Broker};
use crate::config::Config;
use crate::datadir::{self, Opened};
use crate::gateway::{self, Gateway};
use crate::http::{self, HttpState};
use crate::ledger::committer::Registration;
use crate::wecom::client::{Timeouts, Upstream};

use super::drain::{self, Drain};
use super::listen::{self, Handover};

/// How long the kernel may need until handshakes that chose our socket have ended.
const HANDOVER: Duration = Duration::from_millis(300);
/// How long nothing may be under way before the server closes.
const QUIET: Duration = Duration::from_millis(300);
/// How long idle connections may stay after that, in seconds.
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
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    service.stop().await
}

/// A running service.
pub struct Service {
    pub url: String,
    pub opened: Opened,
    gateway: Arc<Gateway>,
    rest: HttpState,
    drain: Arc<Drain>,
    handover: Option<Handover>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    handle: actix_web::dev::ServerHandle,
    total_timeout: Duration,
}

impl Service {
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let registration =
            Registration { instance: datadir::new_instance()?, egress_ip: config.egress_ip.clone() };
        let opened = datadir::open(&config.data_dir, Some(registration)).await?;
        let connect = Duration::from_secs(config.call.connect_timeout_secs);
        let upstream = Upstream::new(&config.upstream, connect)?;
        let broker = Broker::new(
            opened.ledger.clone(),
            opened.reader.clone(),
            Arc::clone(&opened.vault),
            Arc::new(upstream.clone()),
            broker_settings(&config),
        );
        tokio::spawn(broker::keep_fresh(Arc::downgrade(&broker)));
        let settings = gateway_settings(&config)?;
        let total_timeout = settings.total_timeout;
        let gateway =
            Gateway::new(opened.ledger.clone(), Arc::clone(&opened.vault), broker, upstream, settings);
        let address = config.listen;
        let listener = listen::bind(address, config.reuse_port).with_context(|| {
            format!("can't listen on {address}; is another process there? see --listen and --reuse-port")
        })?;
        let handover = if config.reuse_port { Some(Handover::of(&listener)?) } else { None };
        let address = listener.local_addr()?;
        let drain = Arc::new(Drain::default());
        let state = HttpState::new(&opened);
        let server = server(&config, listener, &gateway, &state, &drain)?;
        let handle = server.handle();
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://{address}"),
            opened,
            gateway,
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
        self.rest.drain();
        if let Some(handover) = self.handover {
            if let Err(error) = handover.begin() {
                tracing::warn!(%error, "the port could not be handed over; connections in the backlog may be lost");
            }
            tokio::time::sleep(HANDOVER).await;
        }
        let patience = tokio::time::Instant::now() + self.total_timeout;
        let mut quiet = Duration::ZERO;
        let step = Duration::from_millis(20);
        while quiet < QUIET && tokio::time::Instant::now() < patience {
            tokio::time::sleep(step).await;
            let busy = self.drain.active() > 0 || self.gateway.calls_under_way() > 0;
            quiet = if busy { Duration::ZERO } else { quiet + step };
        }
        self.handle.stop(true).await;
        self.server.await??;
        self.opened.ledger.stop().await;
        Ok(())
    }
}

fn server(
    config: &Config,
    listener: std::net::TcpListener,
    gateway: &Arc<Gateway>,
    state: &HttpState,
    drain: &Arc<Drain>,
) -> anyhow::Result<Server> {
    let (gateway, state, drain) = (Arc::clone(gateway), Data::new(state.clone()), Arc::clone(drain));
    let server = HttpServer::new(move || {
        let (gateway, drain) = (Arc::clone(&gateway), Arc::clone(&drain));
        App::new()
            .app_data(state.clone())
            .wrap_fn(move |request, next| drain::watch(&drain, request, next))
            .configure(|config| gateway::configure(config, &gateway))
            .configure(http::configure)
    })
    .workers(config.workers)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(FIRST_REQUEST)
    .shutdown_timeout(LINGER_SECS)
    .disable_signals();
    let server = match &config.tls {
        Some(tls) => server.listen_rustls_0_23(listener, listen::tls(&tls.cert, &tls.key)?)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

fn broker_settings(config: &Config) -> broker::Settings {
    broker::Settings {
        refresh_at: Duration::from_secs(config.token.refresh_at_secs),
        refresh_jitter: Duration::from_secs(config.token.refresh_jitter_secs),
        fetch_timeout: Duration::from_secs(config.token.fetch_timeout_secs),
    }
}

fn gateway_settings(config: &Config) -> anyhow::Result<gateway::Settings> {
    let spool_dir = config.data_dir.join("spool");
    std::fs::create_dir_all(&spool_dir).with_context(|| format!("can't create {}", spool_dir.display()))?;
    Ok(gateway::Settings {
        timeouts: Timeouts {
            head: Duration::from_secs(config.call.head_timeout_secs),
            idle: Duration::from_secs(config.call.idle_timeout_secs),
        },
        total_timeout: Duration::from_secs(config.call.total_timeout_secs),
        body_max: config.call.body_max_bytes,
        spool_dir,
    })
}
