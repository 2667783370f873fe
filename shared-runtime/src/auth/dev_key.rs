//! The development key: tokens without an identity provider, on loopback only.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use shared_domain::MemberId;

/// Issuer of development tokens.
pub const DEV_ISSUER: &str = "event-system-dev";
/// Audience of members' development tokens.
pub const DEV_MEMBER_AUDIENCE: &str = "event-members";
/// Audience of staff's development tokens.
pub const DEV_STAFF_AUDIENCE: &str = "event-staff";

const KEY_BYTES: usize = 32;

/// A key file or a token that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevKeyError {
    /// The file cannot be read or made; making never overwrites.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no key.
    #[error("{path}: a key file has exactly 32 bytes")]
    Length {
        /// The file.
        path: String,
    },
    /// Signing failed.
    #[error("the token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// 32 random bytes that sign (HS256) and check development tokens.
#[derive(Clone)]
pub struct DevKey([u8; KEY_BYTES]);

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevKey(..)")
    }
}

#[derive(Serialize)]
struct DevClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
}

impl DevKey {
    /// A key from its bytes.
    pub fn new(secret: [u8; KEY_BYTES]) -> Self {
        Self(secret)
    }

    /// Reads a key file. Errors: it is missing, unreadable or not 32 bytes long.
    pub fn read(path: &Path) -> Result<Self, DevKeyError> {
        Ok(Self(read_secret_file(path)?))
    }

    /// Makes a key file with mode 0600. Errors: it exists already, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, DevKeyError> {
        let secret = rand::random();
        write_secret_file(path, &secret)?;
        Ok(Self(secret))
    }

    /// Reads the file, or makes it when there is none.
    pub fn read_or_create(path: &Path) -> Result<Self, DevKeyError> {
        match Self::create(path) {
            Err(DevKeyError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::read(path)
            }
            made => made,
        }
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.0
    }

    /// A member's token, good from now for `ttl`.
    pub fn issue_member(&self, member: MemberId, ttl: Duration) -> Result<String, DevKeyError> {
        self.issue(DEV_MEMBER_AUDIENCE, &member.to_string(), "", ttl)
    }

    /// A staff token with space-separated scopes, good from now for `ttl`.
    pub fn issue_staff(&self, name: &str, scopes: &str, ttl: Duration) -> Result<String, DevKeyError> {
        self.issue(DEV_STAFF_AUDIENCE, name, scopes, ttl)
    }

    fn issue(&self, aud: &str, sub: &str, scope: &str, ttl: Duration) -> Result<String, DevKeyError> {
        let iat = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let claims =
            DevClaims { iss: DEV_ISSUER, aud, sub, iat, exp: iat.saturating_add(ttl.as_secs()), scope };
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&self.0))?)
    }
}

/// Reads a file of exactly 32 bytes.
pub fn read_secret_file(path: &Path) -> Result<[u8; KEY_BYTES], DevKeyError> {
    let mut bytes = Vec::new();
    // One byte more than a key, so that a longer file is seen and never read whole.
    let limit = KEY_BYTES as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| DevKeyError::File { path: path.display().to_string(), source })?;
    bytes.try_into().map_err(|_| DevKeyError::Length { path: path.display().to_string() })
}

/// Writes 32 bytes into a new file with mode 0600, and syncs it. Errors: the file exists already, or cannot be written.
pub fn write_secret_file(path: &Path, secret: &[u8; KEY_BYTES]) -> Result<(), DevKeyError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(secret).and_then(|()| file.sync_all()))
        .map_err(|source| DevKeyError::File { path: path.display().to_string(), source })
}
