//! A simulated WeCom.
//!
//! It behaves as WeCom documents it, so that it catches mistakes of whoever calls it, and it shares no counting code
//! with the rest of this crate: two programs that count in the same way make the same mistake.
//!
//! `/cgi-bin/…` is WeCom, `/sandbox/…` controls it (see `control`). Everything lives in memory, and all of it is
//! bounded.

mod answer;
mod api;
mod bans;
mod call;
mod chats;
mod clock;
mod config;
mod control;
mod counters;
mod directory;
mod errmsg;
mod faults;
mod inject;
mod limits;
mod log;
mod media;
mod messages;
mod metering;
mod names;
mod period;
mod person_times;
mod random;
mod shown;
mod stats;
#[cfg(test)]
mod tests;
mod tokens;
mod world;

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::watch;

use call::Call;
use clock::Clock;
pub use config::{AppConfig, Config, CorpConfig, RefetchLifetime, WindowKind};
pub use limits::{Limits, MessageBudget, MessageScope, Operator};
use world::{Arrival, Visit, World};

/// Serves the simulated WeCom until `shutdown` is ready.
///
/// Calls that hang on purpose end with the sandbox: their connections are closed without an answer.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let workers = config.workers.max(1);
    let (stop, stopping) = watch::channel(false);
    let shared = Shared {
        world: Mutex::new(World::new(config)?),
        clock: Clock::default(),
        late_calls: AtomicBool::new(false),
        stopping,
    };
    let shared = web::Data::new(shared);
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).configure(control::routes).default_service(web::to(wecom))
    })
    .workers(workers)
    .keep_alive(Duration::from_mins(1))
    // actix would answer 408 on a connection that was opened ahead of need, and a request that crosses that answer
    // would take it for its own; WeCom's front closes such a connection without a word.
    .client_request_timeout(Duration::ZERO)
    .disable_signals()
    .shutdown_timeout(2)
    .listen(listener)?
    .run();
    let handle = server.handle();
    let mut server = pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = shutdown => {}
    }
    stop.send_replace(true);
    let ((), ended) = tokio::join!(handle.stop(true), server);
    Ok(ended?)
}

/// What all workers share.
struct Shared {
    /// A std mutex: it is held for microseconds and never across an await.
    world: Mutex<World>,
    clock: Clock,
    /// Whether a fault may make calls late; beside the world, so that other calls need not lock it twice.
    late_calls: AtomicBool,
    stopping: watch::Receiver<bool>,
}

impl Shared {
    /// A panic in another request is no reason to refuse all the following ones.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment at which a call is counted.
    fn arrive(&self, call: &Call) -> (Visit, Arrival) {
        let mut world = self.world();
        // Read under the lock, so that the log's numbers and its times have the same order.
        let now = self.clock.now_ms();
        world.arrive(call, now)
    }

    /// The call is answered: from now on it is not under way any more.
    fn leave(&self, visit: Visit) {
        if let Some(seat) = visit.seat {
            self.world().concurrency.leave(seat);
        }
    }
}

async fn wecom(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> HttpResponse {
    if !request.path().starts_with("/cgi-bin/") {
        return HttpResponse::NotFound()
            .content_type("text/html")
            .body("<html><h1>404 Not Found</h1></html>");
    }
    let call = Call::read(&request, payload).await;
    if shared.late_calls.load(Relaxed) {
        let lateness = shared.world().lateness(&call);
        if let Some(lateness) = lateness {
            return inject::late(shared, call, lateness).await;
        }
    }
    let (visit, arrival) = shared.arrive(&call);
    match arrival {
        Arrival::Answered(answer) => {
            shared.leave(visit);
            answer.respond()
        }
        Arrival::Struck(strike, answer) => inject::play(shared, call, visit, strike, answer).await,
    }
}
