//! From a token to who it speaks for.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::dev_key::{DEV_ISSUER, DEV_MEMBER_AUDIENCE, DEV_STAFF_AUDIENCE, DevKey};
use super::jwks::{REFRESH, Source};
use super::keys::{KeySet, NoKey};
use super::principal::{Claims, Verified};
use super::{AuthError, Caller, Member, Staff};
use crate::config::{ConfigError, StartError};

const LEEWAY_SECONDS: u64 = 30;
/// Far above any token seen, far below what hashing and parsing would cost.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Issuer and audiences that tokens must have.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) members: Option<String>,
    pub(super) staff: Option<String>,
}

/// Checks tokens, and remembers the good ones until they expire.
pub struct Verifier {
    expected: Expected,
    allowed: Vec<Algorithm>,
    validations: HashMap<Algorithm, Validation>,
    keys: ArcSwap<Loaded>,
    source: Option<Source>,
    me: Weak<Self>,
    // By hash: a token may have 8 KiB, an entry here stays small whatever it has.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

struct Loaded {
    text: Bytes,
    keys: KeySet,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("expected", &self.expected).field("allowed", &self.allowed).finish()
    }
}

impl Verifier {
    /// Tokens of the development key. Whether it may be used is decided by [`AuthArgs`](super::AuthArgs).
    pub fn development(key: &DevKey, cache_entries: usize) -> Arc<Self> {
        let expected = Expected {
            issuer: DEV_ISSUER.to_owned(),
            members: Some(DEV_MEMBER_AUDIENCE.to_owned()),
            staff: Some(DEV_STAFF_AUDIENCE.to_owned()),
        };
        let loaded = Loaded { text: Bytes::new(), keys: KeySet::development(key.secret()) };
        Self::new(expected, vec![Algorithm::HS256], loaded, None, cache_entries)
    }

    /// Tokens of a published key set, which is read now and then every 5 minutes for as long as the verifier lives.
    /// Must run inside a tokio runtime. Errors: the set cannot be read or has no usable key.
    pub(super) async fn of_jwks(
        source: Source,
        expected: Expected,
        allowed: Vec<Algorithm>,
        cache_entries: usize,
    ) -> Result<Arc<Self>, StartError> {
        let text = source.load().await?;
        let keys =
            KeySet::from_jwks(&text, &allowed).map_err(|problem| ConfigError::new("AUTH_JWKS", problem))?;
        let verifier = Self::new(expected, allowed, Loaded { text, keys }, Some(source), cache_entries);
        tokio::spawn(refresh_forever(Arc::downgrade(&verifier)));
        Ok(verifier)
    }

    fn new(
        expected: Expected,
        allowed: Vec<Algorithm>,
        loaded: Loaded,
        source: Option<Source>,
        cache_entries: usize,
    ) -> Arc<Self> {
        let audiences: Vec<&String> = expected.members.iter().chain(&expected.staff).collect();
        let validations = allowed.iter().map(|algorithm| {
            let mut validation = Validation::new(*algorithm);
            validation.leeway = LEEWAY_SECONDS;
            validation.validate_nbf = true;
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            validation.set_issuer(&[&expected.issuer]);
            validation.set_audience(&audiences);
            (*algorithm, validation)
        });
        let validations = validations.collect();
        Arc::new_cyclic(|me| Self {
            validations,
            expected,
            allowed,
            keys: ArcSwap::from_pointee(loaded),
            source,
            me: me.clone(),
            verified: Cache::new(cache_entries.max(1)),
        })
    }

    /// The member that a token speaks for. Errors: 401.
    pub async fn verify_member(&self, token: impl Into<Option<&str>>) -> Result<Member, AuthError> {
        self.verify(token.into()).await?.member()
    }

    /// Who on the staff a token speaks for. Errors: 401; 403 for a member's good token.
    pub async fn verify_staff(&self, token: impl Into<Option<&str>>) -> Result<Staff, AuthError> {
        self.verify(token.into()).await?.staff()
    }

    /// A member, or anybody (member's or staff's audience) whose token has `scope`. Errors: 401; 403 for staff without it.
    pub async fn verify_caller(
        &self,
        token: impl Into<Option<&str>>,
        scope: &'static str,
    ) -> Result<Caller, AuthError> {
        self.verify(token.into()).await?.caller(scope)
    }

    async fn verify(&self, token: Option<&str>) -> Result<Arc<Verified>, AuthError> {
        let token = token.ok_or(AuthError::Missing)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Invalid("the token is too long"));
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(verified) = self.verified.get(&key) {
            if now_seconds() < verified.exp {
                return Ok(verified);
            }
            // Within the leeway it may still be good, by the long way.
            self.verified.remove(&key);
        }
        let loaded = self.keys.load_full();
        let (verified, loaded) = match self.check(&loaded.keys, token) {
            Err(Failure::UnknownKid) => {
                // Rare, and boxed so that the future of every other request stays small.
                let newer = Box::pin(self.refresh_if_due()).await;
                (self.check(&newer.keys, token), newer)
            }
            other => (other, loaded),
        };
        match verified {
            Ok(verified) => {
                let verified = Arc::new(verified);
                self.verified.insert(key, Arc::clone(&verified));
                // A refresh in between may have withdrawn the key and emptied the cache.
                if !Arc::ptr_eq(&loaded, &self.keys.load()) {
                    self.verified.remove(&key);
                }
                Ok(verified)
            }
            Err(Failure::UnknownKid) => Err(AuthError::Invalid("the token's key is not known")),
            Err(Failure::Final(error)) => Err(error),
        }
    }

    fn check(&self, keys: &KeySet, token: &str) -> Result<Verified, Failure> {
        const NO_TOKEN: Failure =
            Failure::Final(AuthError::Invalid("the token is no JWT of an accepted kind"));
        let header = decode_header(token).map_err(|_| NO_TOKEN)?;
        // Extensions marked critical must be understood, and we understand none (RFC 7515, 4.1.11).
        let validation =
            self.validations.get(&header.alg).filter(|_| header.crit.is_none()).ok_or(NO_TOKEN)?;
        let key = keys.find(header.kid.as_deref(), header.alg).map_err(|no_key| match no_key {
            NoKey::UnknownKid => Failure::UnknownKid,
            NoKey::Unusable => Failure::Final(AuthError::Invalid("no key fits the token")),
        })?;
        let claims =
            decode::<Claims>(token, key, validation).map_err(|error| Failure::Final(reason(error.kind())))?;
        Ok(Verified::new(claims.claims, self.expected.members.as_ref(), self.expected.staff.as_ref()))
    }

    /// The newest keys, read again if that was not done just now.
    async fn refresh_if_due(&self) -> Arc<Loaded> {
        if let (Some(me), Some(_)) = (self.me.upgrade(), &self.source) {
            // In a task of its own: the client that caused it may hang up, and others wait for the result.
            let refresh = tokio::spawn(async move {
                if let Some(source) = &me.source {
                    source.load_if_due(|text| me.take(text)).await;
                }
            });
            if let Err(error) = refresh.await {
                tracing::error!(%error, "the refresh of the key set died");
            }
        }
        self.keys.load_full()
    }

    /// Takes a newly read set; what cannot be used leaves the old keys in place.
    fn take(&self, text: Result<Bytes, StartError>) {
        let outcome = text.map_err(|error| error.to_string()).and_then(|text| {
            if text == self.keys.load().text {
                return Ok(());
            }
            let keys = KeySet::from_jwks(&text, &self.allowed)?;
            self.keys.store(Arc::new(Loaded { text, keys }));
            // A key that was withdrawn must not live on in the tokens that it signed.
            self.verified.clear();
            tracing::info!("the key set has changed");
            Ok(())
        });
        let label = if outcome.is_ok() { "ok" } else { "failed" };
        metrics::counter!("event_auth_jwks_refreshes_total", "outcome" => label).increment(1);
        if let Err(problem) = outcome {
            tracing::warn!(problem, "the key set could not be refreshed; the old keys stay");
        }
    }

    /// How many tokens are remembered.
    pub fn remembered(&self) -> usize {
        self.verified.len()
    }
}

enum Failure {
    UnknownKid,
    Final(AuthError),
}

fn reason(kind: &ErrorKind) -> AuthError {
    AuthError::Invalid(match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => "the token lacks a claim",
        _ => "the token is not good",
    })
}

fn now_seconds() -> i64 {
    // A clock before 1970 makes every remembered token good until the process ends, and none is: decode checks too.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64)
}

async fn refresh_forever(verifier: Weak<Verifier>) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let Some(verifier) = verifier.upgrade() else { return };
        if let Some(source) = &verifier.source {
            let text = source.load().await;
            verifier.take(text);
        }
    }
}
