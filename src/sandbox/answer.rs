//! What the simulated WeCom answers with.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue,
};
use bytes::Bytes;
use serde_json::Value;

use super::errmsg::errmsg;
use super::random::Random;

/// An answer, and the errcode in it (0 for files).
#[derive(Debug)]
pub(super) struct Answer {
    pub errcode: i32,
    pub content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Json(String),
    File(File),
}

/// A download: the whole file, or with `range` a part of it.
#[derive(Debug)]
pub(super) struct File {
    pub bytes: Bytes,
    pub content_type: String,
    pub filename: String,
    /// The value of `Content-Range`.
    pub range: Option<String>,
}

/// A handler's result: an answer, or the errcode to answer with.
pub(super) type Reply = Result<Answer, i32>;

impl Answer {
    /// `{"errcode":0,"errmsg":"ok", …fields}`, in WeCom's order.
    pub(super) fn ok(fields: &Value) -> Self {
        Self::done("ok", fields)
    }

    /// Success with another errmsg: WeCom's is not always "ok".
    pub(super) fn done(errmsg: &str, fields: &Value) -> Self {
        let fields = fields.to_string();
        let rest = fields.trim_start_matches('{');
        let comma = if rest.starts_with('}') || rest == "null" { "" } else { "," };
        let rest = if rest == "null" { "}" } else { rest };
        Self {
            errcode: 0,
            content: Content::Json(format!(r#"{{"errcode":0,"errmsg":"{errmsg}"{comma}{rest}"#)),
        }
    }

    /// A failure as WeCom words it, with a hint and the caller's address.
    pub(super) fn error(errcode: i32, ip: IpAddr, now_ms: i64, random: &mut Random) -> Self {
        let text = errmsg(errcode);
        let at = now_ms / 1000;
        let node = now_ms % 97;
        let hash = random.hex(32);
        Self {
            errcode,
            content: Content::Json(format!(
                r#"{{"errcode":{errcode},"errmsg":"{text}, hint: [{at}_{node}_{hash}], from ip: {ip}, more info at https://open.work.weixin.qq.com/devtool/query?e={errcode}"}}"#
            )),
        }
    }

    pub(super) fn respond(self) -> HttpResponse {
        match self.content {
            Content::Json(text) => json(self.errcode, text),
            Content::File(file) => file.respond(),
        }
    }

    /// The bytes of the body, whatever it is.
    pub(super) fn into_bytes(self) -> Bytes {
        match self.content {
            Content::Json(text) => text.into(),
            Content::File(file) => file.bytes,
        }
    }
}

fn json(errcode: i32, text: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8")))
        .insert_header((HeaderName::from_static("error-code"), HeaderValue::from(errcode)))
        .body(text)
}

impl File {
    fn respond(self) -> HttpResponse {
        let status = if self.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = HttpResponse::build(status);
        response
            .insert_header((CONTENT_TYPE, self.content_type))
            // The odd capital is WeCom's: `Content-disposition`. Header names are compared without case.
            .insert_header((CONTENT_DISPOSITION, format!(r#"attachment; filename="{}""#, self.filename)))
            .insert_header((ACCEPT_RANGES, "bytes"));
        if let Some(range) = self.range {
            response.insert_header((CONTENT_RANGE, range));
        }
        response.body(self.bytes)
    }
}
