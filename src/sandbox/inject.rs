//! Plays the fault that strikes a call.
//!
//! On the wire: actix writes the head and the body's chunks into one buffer and flushes it when the body is pending or
//! done. A body that fails at once therefore ends the connection before a single byte has left, which is `close`; a
//! body that fails only after it was pending once has sent its head and its first half, which is `truncate`. In both
//! cases the socket is dropped, so the caller sees its end (or a reset, if it sent more than was read).

use std::io;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, rt, web};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::Shared;
use super::answer::Answer;
use super::call::Call;
use super::faults::{Kind, Lateness, Strike};
use super::world::{Arrival, Visit};

/// Long enough for the first half to leave before the connection ends.
const FLUSH: Duration = Duration::from_millis(20);

pub(super) async fn play(
    shared: web::Data<Shared>,
    call: Call,
    visit: Visit,
    strike: Strike,
    answer: Option<Answer>,
) -> HttpResponse {
    let playing = async move {
        let response = strike_now(&shared, &call, visit, strike, answer).await;
        shared.leave(visit);
        response
    };
    // A task of its own: a call that takes effect late does so even if its caller has gone.
    rt::spawn(playing).await.unwrap_or_else(|_| close())
}

/// A call that is counted late and answered late; in between, other faults may strike it.
pub(super) async fn late(shared: web::Data<Shared>, call: Call, lateness: Lateness) -> HttpResponse {
    let playing = async move {
        if !waited(&shared, lateness.before_ms).await {
            return close();
        }
        let (visit, arrival) = shared.arrive(&call);
        let response = match arrival {
            Arrival::Answered(answer) => answer.respond(),
            Arrival::Struck(strike, answer) => strike_now(&shared, &call, visit, strike, answer).await,
        };
        let waited = waited(&shared, lateness.after_ms).await;
        shared.leave(visit);
        if waited { response } else { close() }
    };
    // As above: what is on its way arrives.
    rt::spawn(playing).await.unwrap_or_else(|_| close())
}

/// False if the sandbox stops meanwhile.
async fn waited(shared: &Shared, ms: u64) -> bool {
    if ms == 0 {
        return true;
    }
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => true,
        _ = stopping.wait_for(|stopping| *stopping) => false,
    }
}

async fn strike_now(
    shared: &Shared,
    call: &Call,
    visit: Visit,
    strike: Strike,
    answer: Option<Answer>,
) -> HttpResponse {
    if !waited(shared, strike.delay_ms).await {
        return close();
    }
    let now = shared.clock.now_ms();
    let mut world = shared.world();
    let answer = match answer {
        None if strike.kind.keeps_answer() => Some(world.take_effect(call, visit, now)),
        answer => answer,
    };
    match (strike.kind, answer) {
        (Kind::Delay | Kind::Hang | Kind::Late, Some(answer)) => {
            world.tell(visit, answer.errcode);
            answer.respond()
        }
        (Kind::Delay | Kind::Hang | Kind::Late, None) | (Kind::Close, _) => close(),
        (Kind::Errcode, _) => {
            world.tell(visit, strike.errcode);
            Answer::error(strike.errcode, call.ip, now, &mut world.random).respond()
        }
        (Kind::Status, _) => status(strike.status),
        (Kind::Garbage, _) => garbage(visit.n),
        (Kind::Truncate, answer) => truncate(&answer.map_or_else(plausible, Answer::into_bytes)),
    }
}

/// An error page as a proxy in front of WeCom would write it.
fn status(status: u16) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let body = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1></body>\r\n</html>"
    );
    HttpResponse::build(status).insert_header((CONTENT_TYPE, "text/html")).body(body)
}

/// By turns what is no JSON at all, and what begins like it.
fn garbage(n: u64) -> HttpResponse {
    let body =
        if n.is_multiple_of(2) { "<html><body>It works!</body></html>" } else { r#"{"errcode":0,"errmsg":"# };
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json; charset=UTF-8")).body(body)
}

/// What the caller gets half of when the call took no effect.
fn plausible() -> Bytes {
    Bytes::from_static(br#"{"errcode":0,"errmsg":"ok","msgid":"cut-off-before-the-call-took-effect"}"#)
}

fn truncate(body: &Bytes) -> HttpResponse {
    let half = body.slice(..body.len() / 2);
    let chunks = stream::iter([Ok(half)]).chain(stream::once(async {
        tokio::time::sleep(FLUSH).await;
        Err(cut())
    }));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json; charset=UTF-8"))
        .body(SizedStream::new(body.len().max(1) as u64, Box::pin(chunks)))
}

fn close() -> HttpResponse {
    // The announced size is never seen; it must not be 0, or actix would not ask for the body.
    HttpResponse::Ok().body(SizedStream::new(1, stream::iter([Err(cut())])))
}

fn cut() -> io::Error {
    io::Error::other("the sandbox cuts this connection on purpose")
}
