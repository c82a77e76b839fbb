//! Calls of the operator's own, on the authority of the app's secret that this data directory holds: admitted, metered
//! and recorded like a client's.

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::ledger::Seq;
use crate::ledger::command::Caller;
use crate::wecom::client::Method;
use crate::wecom::path::ApiName;
use crate::wecom::query::Query;

use super::auth::Identity;
use super::call::{self, Call};
use super::outgoing::{Body, Outgoing};
use super::spool::Spooled;
use super::{Gateway, cost};

/// A longer answer is read to its end, but not kept.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum OwnCallError {
    #[error("the app is unknown or was removed")]
    NoApp,
    #[error("the answer can't be read: {0}")]
    Unreadable(String),
}

impl Gateway {
    /// GETs an API; ends when what its answer teaches is written down. The answer may be one of our own.
    pub async fn get(self: &Arc<Self>, app: Seq, api: &str, query: &str) -> Result<Value, OwnCallError> {
        self.own_call(app, api, Method::GET, query, Spooled::empty()).await
    }

    /// POSTs JSON to an API, likewise.
    pub async fn post(self: &Arc<Self>, app: Seq, api: &str, body: &Value) -> Result<Value, OwnCallError> {
        self.own_call(app, api, Method::POST, "", Spooled::of(body.to_string())).await
    }

    async fn own_call(
        self: &Arc<Self>,
        app: Seq,
        api: &str,
        method: Method,
        query: &str,
        body: Spooled,
    ) -> Result<Value, OwnCallError> {
        let unreadable = |error: &dyn std::fmt::Display| OwnCallError::Unreadable(error.to_string());
        let directory = self.ledger.directory();
        let secret = directory.live_app(app).ok_or(OwnCallError::NoApp)?.secret;
        let identity = Identity { caller: Caller::Secret(secret), app };
        let api = ApiName::parse(&format!("/cgi-bin/{api}")).map_err(|error| unreadable(&error))?;
        let query = Query::parse(query).map_err(|error| unreadable(&error))?;
        let param = super::credential_param(self, identity, api.api());
        let param = param.map_err(|reply| unreadable(&reply.errmsg))?;
        let ask = cost::ask(self, identity, &api, &query, &body).await.map_err(|error| unreadable(&error))?;
        let json = || ("content-type".to_owned(), b"application/json".to_vec());
        let headers = (body.len > 0).then(json).into_iter().collect();
        let ticket = self.admission.ticket(None);
        let call = Call { identity, api, method, query, param, headers, body, ask, ticket };
        let (answer, answered) = oneshot::channel();
        let under_way = Arc::clone(&self.under_way);
        let (read, ()) = tokio::join!(read(answered), call::run(Arc::clone(self), call, answer));
        drop(under_way);
        read
    }
}

async fn read(answered: oneshot::Receiver<Outgoing>) -> Result<Value, OwnCallError> {
    let unreadable = |error: &dyn std::fmt::Display| OwnCallError::Unreadable(error.to_string());
    let outgoing = answered.await.map_err(|error| unreadable(&error))?;
    let bytes = match outgoing.body {
        Body::Whole(bytes) => bytes,
        Body::Stream { mut pieces, .. } => {
            let mut all = BytesMut::new();
            let mut long = false;
            while let Some(piece) = pieces.recv().await {
                let piece = piece.map_err(|error| unreadable(&error))?;
                long |= all.len() + piece.len() > ANSWER_MAX;
                if !long {
                    all.extend_from_slice(&piece);
                }
            }
            if long {
                return Err(unreadable(&format!("it is longer than {ANSWER_MAX} bytes")));
            }
            all.freeze()
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))
}
