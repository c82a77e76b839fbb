//! What the simulated WeCom answers with.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue,
};
use bytes::Bytes;
use serde_json::Value;

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

/// The beginning of WeCom's errmsg for a code.
pub(super) const fn errmsg(errcode: i32) -> &'static str {
    match errcode {
        0 => "ok",
        -1 => "system busy",
        40001 => "invalid credential",
        40003 => "invalid UserID",
        40004 => "invalid media type",
        40006 => "invalid file size",
        40007 => "invalid media_id",
        40008 => "invalid message type",
        40013 => "invalid corpid",
        40014 => "invalid access_token",
        40029 => "invalid code",
        40031 => "invalid user list",
        40032 => "invalid user list length",
        40035 | 40058 => "invalid argument",
        40056 => "invalid agentid",
        40063 => "some parameters are empty",
        40066 => "invalid party list",
        40068 => "invalid tagid",
        40091 => "secret is invalid",
        41001 => "access_token missing",
        41002 => "corpid missing",
        41004 => "secret missing",
        41005 => "media data missing",
        41006 => "media_id missing",
        41009 => "userid missing",
        41011 => "agentid missing",
        42001 => "access_token expired",
        44001 => "empty media data",
        44004 => "text content is empty",
        45001 => "media size out of limit",
        45009 => "api freq out of limit",
        45024 => "account count out of limit",
        45033 => "api concurrent out of limit",
        48002 => "api forbidden",
        60020 => "not allow to access from your ip",
        60008 => "department existed",
        60102 => "userid existed",
        60104 => "mobile existed",
        60111 => "userid not found",
        60123 => "invalid party id",
        81001 => "too many departments",
        81012 | 82001 => "touser & toparty & totag all empty",
        81013 => "user & party & tag all invalid",
        82002 => "invalid party list length",
        82003 => "invalid tag list length",
        91040 => "invalid ticket type",
        301_002 => "not allow operate another agent with this accesstoken",
        830_002 => "file size out of limit",
        _ => "request failed",
    }
}
