//! Answers of our own in WeCom's shape: HTTP 200 and `{"errcode":…,"errmsg":…}`, because SDKs branch on `errcode` and
//! treat any other status as a broken network.

use serde::Serialize;

use super::errcodes;

/// The content type of WeCom's own JSON answers.
pub const CONTENT_TYPE: &str = "application/json; charset=UTF-8";

/// An answer that WeCom never saw the question to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    pub errcode: i64,
    pub errmsg: String,
}

impl Reply {
    /// 45009. `detail` names the limit and when it has room again.
    pub fn over_limit(detail: &str) -> Self {
        Self::new(errcodes::FREQUENCY_LIMIT, "api freq out of limit, 接口调用超过限制", detail)
    }

    /// 45009 or 45033: WeCom itself blocks this API for the time that goes with such a limit.
    pub fn blocked(errcode: i64, api: &str, level: &str, seconds: i64) -> Self {
        let detail = format!(
            "WeCom blocks {api} since it said that a limit per {level} is used up; nothing was sent; \
             one call may try again in {seconds} s"
        );
        if errcode == errcodes::CONCURRENCY_LIMIT {
            return Self::new(errcode, "api concurrent out of limit, 接口并发调用超过限制", &detail);
        }
        Self::over_limit(&detail)
    }

    /// 41001.
    pub fn token_missing(detail: &str) -> Self {
        Self::new(errcodes::TOKEN_MISSING, "access_token missing, 缺少access_token参数", detail)
    }

    /// 40014: unknown or revoked.
    pub fn token_invalid(detail: &str) -> Self {
        Self::new(errcodes::INVALID_TOKEN, "invalid access_token, 不合法的access_token", detail)
    }

    /// 42001: past its life.
    pub fn token_expired(detail: &str) -> Self {
        Self::new(errcodes::TOKEN_EXPIRED, "access_token expired, access_token已过期", detail)
    }

    /// 40001: neither an API key nor the app's secret, or a key for another app.
    pub fn secret_invalid(detail: &str) -> Self {
        Self::new(errcodes::INVALID_SECRET, "invalid credential, 不合法的secret参数", detail)
    }

    /// 48002: the key may not use this app or API.
    pub fn api_forbidden(detail: &str) -> Self {
        Self::new(errcodes::API_FORBIDDEN, "api forbidden, API接口无权限调用", detail)
    }

    /// 40035.
    pub fn parameter_invalid(detail: &str) -> Self {
        Self::new(errcodes::INVALID_PARAMETER, "invalid parameter, 不合法的参数", detail)
    }

    /// -1: nothing was sent, or repeating is harmless.
    pub fn try_again(detail: &str) -> Self {
        Self::new(errcodes::BUSY, "system busy, 系统繁忙", detail)
    }

    /// -9001. Deliberately a code that no SDK retries: the message may already be on somebody's phone.
    pub fn outcome_unknown(detail: &str) -> Self {
        Self::new(
            errcodes::OUTCOME_UNKNOWN,
            "outcome unknown, the call may have taken effect, do not repeat it blindly, 结果未知，请勿直接重试",
            detail,
        )
    }

    /// -9002: too large a body and the like.
    pub fn refused(detail: &str) -> Self {
        Self::new(
            errcodes::REFUSED_BY_LEDGER,
            "request refused, nothing was sent, 请求被网关拒绝，未发送",
            detail,
        )
    }

    fn new(errcode: i64, base: &str, detail: &str) -> Self {
        // Who reads this in a log must see at once that WeCom did not say it.
        let by = "from wecom-ledger";
        let errmsg =
            if detail.is_empty() { format!("{base}, {by}") } else { format!("{base}, {by}: {detail}") };
        Self { errcode, errmsg }
    }

    pub fn to_json(&self) -> Vec<u8> {
        // A struct of a number and a string always serialises; the fallback keeps this free of panics.
        serde_json::to_vec(self).unwrap_or_else(|_| br#"{"errcode":-1,"errmsg":"system busy"}"#.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_the_shape_that_sdks_read() {
        let json = Reply::over_limit("corp_api_minute, 1000 calls per 60 s; room in 12 s").to_json();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"errcode\":45009,\"errmsg\":\"api freq out of limit, 接口调用超过限制, \
             from wecom-ledger: corp_api_minute, 1000 calls per 60 s; room in 12 s\"}"
        );
        assert_eq!(Reply::try_again("").errmsg, "system busy, 系统繁忙, from wecom-ledger");
    }

    #[test]
    fn every_code_that_we_answer_is_in_the_table() {
        for reply in [
            Reply::over_limit(""),
            Reply::blocked(45033, "user/get", "concurrent", 1),
            Reply::token_missing(""),
            Reply::token_invalid(""),
            Reply::token_expired(""),
            Reply::secret_invalid(""),
            Reply::api_forbidden(""),
            Reply::parameter_invalid(""),
            Reply::try_again(""),
            Reply::outcome_unknown(""),
            Reply::refused(""),
        ] {
            let known = errcodes::lookup(reply.errcode).unwrap();
            assert!(reply.errmsg.contains(known.chinese), "{}: {}", reply.errmsg, known.chinese);
        }
    }

    #[test]
    fn a_detail_with_quotes_stays_valid_json() {
        let json = Reply::refused("a \"quoted\"\nline").to_json();
        let back: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(back["errcode"], -9002);
    }
}
