//! The data directory's keys: secrets are sealed, recognised and signed here and nowhere else.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ledger::{Fingerprint, Seq};

/// Prefix of the API keys that we hand out, so that a leaked one can be recognised.
pub const API_KEY_PREFIX: &str = "wlk_";

const NONCE_BYTES: usize = 24;
/// Names the key that sealed a secret, so that keys can be rotated later.
const SEAL_VERSION: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{0}: not a key file of this program (it must hold 64 hex digits); restore it from your backup")]
    NotAKey(String),
    #[error("{0} can be read by others; run: chmod 600 {0}")]
    TooOpen(String),
    #[error("no randomness from the operating system: {0}")]
    Random(String),
    #[error(
        "a sealed secret does not open: it was changed, belongs to another row, or was sealed with another key"
    )]
    Sealed,
}

/// Holds the derived keys; never shows them.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    fingerprint_key: Zeroizing<[u8; 32]>,
    gateway_token_key: Zeroizing<[u8; 32]>,
    recipient_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// Creates the master key file, readable by its owner only; fails if it exists.
    pub fn create(path: &Path) -> Result<Self, VaultError> {
        let master = Zeroizing::new(random::<32>()?);
        let io = |source| VaultError::Io { path: path.display().to_string(), source };
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let text = Zeroizing::new(crate::ledger::hex_bytes::encode(&*master) + "\n");
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        Self::from_master(&master)
    }

    pub fn open(path: &Path) -> Result<Self, VaultError> {
        use std::os::unix::fs::PermissionsExt as _;
        let shown = path.display().to_string();
        let io = |source| VaultError::Io { path: shown.clone(), source };
        let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(VaultError::TooOpen(shown));
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
        let master = crate::ledger::hex_bytes::decode::<32>(text.trim());
        Self::from_master(&Zeroizing::new(master.ok_or(VaultError::NotAKey(shown))?))
    }

    pub fn from_master(master: &[u8; 32]) -> Result<Self, VaultError> {
        let derive = |purpose: &str| {
            let mut key = Zeroizing::new([0; 32]);
            Hkdf::<Sha256>::new(None, master)
                .expand(purpose.as_bytes(), &mut *key)
                .map_err(|error| VaultError::Random(error.to_string()))?;
            Ok::<_, VaultError>(key)
        };
        let seal_key = derive("wecom-ledger seal v1")?;
        Ok(Self {
            cipher: XChaCha20Poly1305::new((&*seal_key).into()),
            fingerprint_key: derive("wecom-ledger fingerprint v1")?,
            gateway_token_key: derive("wecom-ledger gateway token v1")?,
            recipient_key: derive("wecom-ledger recipient v1")?,
        })
    }

    /// Seals a secret for exactly one row of one ledger.
    pub fn seal(&self, ledger_id: &str, seq: Seq, secret: &SecretString) -> Result<Vec<u8>, VaultError> {
        let nonce = random::<NONCE_BYTES>()?;
        let aad = associated_data(ledger_id, seq);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: aad.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Sealed)?;
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(SEAL_VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    pub fn open_sealed(&self, ledger_id: &str, seq: Seq, sealed: &[u8]) -> Result<SecretString, VaultError> {
        let (version, rest) = sealed.split_first().ok_or(VaultError::Sealed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Sealed)?;
        if *version != SEAL_VERSION {
            return Err(VaultError::Sealed);
        }
        let aad = associated_data(ledger_id, seq);
        let payload = Payload { msg: sealed, aad: aad.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Sealed)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| VaultError::Sealed)
    }

    /// Recognises a secret; `purpose` keeps equal strings of different kinds apart.
    pub fn fingerprint(&self, purpose: &str, secret: &str) -> Fingerprint {
        mac(&self.fingerprint_key, &[purpose.as_bytes(), b"\0", secret.as_bytes()])
    }

    /// Tells members of a corp apart without naming them; letter case does not matter.
    pub fn member_hash(&self, ledger_id: &str, corp_id: &str, userid: &str) -> u64 {
        self.recipient_hash("member", ledger_id, corp_id, &userid.to_ascii_lowercase())
    }

    /// The same for group chats.
    pub fn chat_hash(&self, ledger_id: &str, corp_id: &str, chat: &str) -> u64 {
        self.recipient_hash("chat", ledger_id, corp_id, chat)
    }

    /// The same for articles.
    pub fn article_hash(&self, ledger_id: &str, corp_id: &str, article: &str) -> u64 {
        self.recipient_hash("article", ledger_id, corp_id, article)
    }

    /// The same for group robots: whoever knows the key of one can speak as it.
    pub fn robot_hash(&self, ledger_id: &str, key: &str) -> u64 {
        self.recipient_hash("robot", ledger_id, "", key)
    }

    /// Never 0, which stands for nobody.
    fn recipient_hash(&self, what: &str, ledger_id: &str, corp_id: &str, id: &str) -> u64 {
        let parts = [what, ledger_id, corp_id, id].map(str::as_bytes);
        let whole = mac(&self.recipient_key, &[parts.join(&0).as_slice()]);
        whole.first_chunk().map_or(1, |first| u64::from_be_bytes(*first).max(1))
    }

    /// Signs the claims of a gateway token for one ledger: the numbers in it mean something else in another.
    pub fn sign_gateway_token(&self, ledger_id: &str, claims: &[u8]) -> [u8; 32] {
        mac(&self.gateway_token_key, &[ledger_id.as_bytes(), b"\0", claims])
    }
}

fn associated_data(ledger_id: &str, seq: Seq) -> String {
    format!("wecom-ledger/{ledger_id}/sealed_secret/{seq}")
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("any key length fits");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| VaultError::Random(error.to_string()))?;
    Ok(bytes)
}

/// A new API key: 256 random bits.
pub fn new_api_key() -> Result<SecretString, VaultError> {
    let bytes = Zeroizing::new(random::<32>()?);
    Ok(SecretString::from(format!("{API_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes))))
}
