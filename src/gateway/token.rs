//! Gateway tokens: what we hand out in place of WeCom's. Signed and stateless, so they survive a restart; whether the
//! key behind one still counts is decided at each use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::ledger::Seq;
use crate::ledger::command::Caller;
use crate::vault::Vault;

/// Makes a leaked one recognisable.
pub const PREFIX: &str = "wlg_";

/// What a client is told, as WeCom would tell it.
pub const LIFE_SECS: i64 = 7200;

/// Clients that count the two hours from when the answer reached them must not be too late by the way it took.
const GRACE_MS: i64 = 60_000;

const VERSION: u8 = 1;
const BY_KEY: u8 = 1;
const BY_SECRET: u8 = 2;
const CLAIMS: usize = 26;
const SIGNATURE: usize = 32;

/// What a gateway token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    pub app: Seq,
    pub caller: Caller,
    pub expires_tick: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Not one of ours, or changed.
    Unknown,
    Expired,
}

/// A new token for `caller`, valid from `tick` on.
pub fn mint(vault: &Vault, ledger_id: &str, app: Seq, caller: Caller, tick: i64) -> String {
    let (by, who) = match caller {
        Caller::Key(key) => (BY_KEY, key),
        Caller::Secret(secret) => (BY_SECRET, secret),
    };
    let mut bytes = Vec::with_capacity(CLAIMS + SIGNATURE);
    bytes.extend_from_slice(&[VERSION, by]);
    bytes.extend_from_slice(&app.to_be_bytes());
    bytes.extend_from_slice(&who.to_be_bytes());
    bytes.extend_from_slice(&(tick + LIFE_SECS * 1000 + GRACE_MS).to_be_bytes());
    let signature = vault.sign_gateway_token(ledger_id, &bytes);
    bytes.extend_from_slice(&signature);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads a token; says nothing about whether its key was revoked meanwhile.
pub fn verify(vault: &Vault, ledger_id: &str, token: &str, tick: i64) -> Result<Claims, TokenError> {
    let text = token.strip_prefix(PREFIX).ok_or(TokenError::Unknown)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Unknown)?;
    let (claims, signature) = bytes.split_first_chunk::<CLAIMS>().ok_or(TokenError::Unknown)?;
    if !bool::from(vault.sign_gateway_token(ledger_id, claims).as_slice().ct_eq(signature))
        || claims[0] != VERSION
    {
        return Err(TokenError::Unknown);
    }
    let number =
        |at: usize| claims[at..at + 8].iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    let caller = match claims[1] {
        BY_KEY => Caller::Key(number(10)),
        BY_SECRET => Caller::Secret(number(10)),
        _ => return Err(TokenError::Unknown),
    };
    let claims = Claims { app: number(2), caller, expires_tick: number(18) as i64 };
    if tick < claims.expires_tick { Ok(claims) } else { Err(TokenError::Expired) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: &str = "0123456789abcdef";
    const TICK: i64 = 1_790_000_000_000;

    fn vault() -> Vault {
        Vault::from_master(&[7; 32]).unwrap()
    }

    #[test]
    fn a_token_says_who_and_for_which_app_until_it_ends() {
        for caller in [Caller::Key(12), Caller::Secret(9)] {
            let token = mint(&vault(), LEDGER, 8, caller, TICK);
            assert!((64..=512).contains(&token.len()));
            let claims = verify(&vault(), LEDGER, &token, TICK + LIFE_SECS * 1000).unwrap();
            assert_eq!((claims.app, claims.caller), (8, caller));
            assert_eq!(
                verify(&vault(), LEDGER, &token, TICK + LIFE_SECS * 1000 + GRACE_MS),
                Err(TokenError::Expired)
            );
        }
    }

    #[test]
    fn a_token_with_any_changed_character_is_unknown() {
        let token = mint(&vault(), LEDGER, 8, Caller::Key(12), TICK);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character may hold unused bits; changing those is an invalid encoding.
            assert_eq!(verify(&vault(), LEDGER, &changed, TICK), Err(TokenError::Unknown), "position {at}");
        }
    }

    #[test]
    fn a_token_of_another_ledger_is_unknown() {
        let other = Vault::from_master(&[8; 32]).unwrap();
        let token = mint(&other, LEDGER, 8, Caller::Key(12), TICK);
        assert_eq!(verify(&vault(), LEDGER, &token, TICK), Err(TokenError::Unknown));
        // The same keys, but begun anew: the numbers stand for other apps and keys.
        let token = mint(&vault(), "another ledger", 8, Caller::Key(12), TICK);
        assert_eq!(verify(&vault(), LEDGER, &token, TICK), Err(TokenError::Unknown));
    }
}
