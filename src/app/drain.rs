//! Draining: answer what has begun, accept nothing new, tell keep-alive clients to connect anew.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::web::Bytes;

/// Requests under way, open connections, and whether the server is going away.
#[derive(Default)]
pub struct Drain {
    active: AtomicUsize,
    connections: AtomicUsize,
    draining: AtomicBool,
}

impl Drain {
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn has_begun(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Requests whose answer was not yet handed to its connection as a whole.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Connections that clients may still use.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Counts a connection for as long as what is returned is kept with it.
    pub fn connected(self: &Arc<Self>) -> Connection {
        self.connections.fetch_add(1, Ordering::AcqRel);
        Connection(Arc::clone(self))
    }

    fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self))
    }
}

/// An open connection.
pub struct Connection(Arc<Drain>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Active(Arc<Drain>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Wraps every request: counts it until its answer's body has ended, and ends its connection while draining.
pub fn watch<S>(
    drain: &Arc<Drain>,
    request: ServiceRequest,
    next: &S,
) -> impl Future<Output = Result<ServiceResponse<BoxBody>, actix_web::Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = actix_web::Error>,
{
    let active = drain.enter();
    let answered = next.call(request);
    async move {
        let mut response = answered.await?;
        if active.0.has_begun() {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok(response.map_body(|_, body| BoxBody::new(Counted { body, _active: active })))
    }
}

struct Counted {
    body: BoxBody,
    _active: Active,
}

impl MessageBody for Counted {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
