//! Settings of authentication, and what they must be together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::jwks::Source;
use super::jwt::Expected;
use super::{DevKey, Verifier};
use crate::config::{ConfigError, StartError, not_empty};

/// Whose tokens a process must be able to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audiences {
    /// The public listener; staff too where `AUTH_ADMIN_AUDIENCE` is set.
    Members,
    /// The admin listener; `AUTH_AUDIENCE`, if set, tells a member's token (403) from a foreign one (401).
    Staff,
    /// Both listeners in one process.
    Both,
}

/// Settings of authentication.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthArgs {
    /// Public keys of the identity provider: a file or an https address of a JWK set
    #[arg(long, env, value_parser = not_empty)]
    pub auth_jwks: Option<String>,
    /// Issuer that tokens must have (`iss`)
    #[arg(long, env)]
    pub auth_issuer: Option<String>,
    /// Audience of members' tokens (`aud`)
    #[arg(long, env)]
    pub auth_audience: Option<String>,
    /// Audience of staff's tokens (`aud`)
    #[arg(long, env)]
    pub auth_admin_audience: Option<String>,
    /// Signature algorithms that are accepted, of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
    #[arg(long, env, value_delimiter = ',', default_value = "RS256,ES256,EdDSA")]
    pub auth_algorithms: Vec<String>,
    /// Development key (32 bytes) instead of AUTH_JWKS; only while every listener is on loopback
    #[arg(long, env)]
    pub auth_dev_key_file: Option<PathBuf>,
    /// Verified tokens that are remembered until they expire
    #[arg(long, env, default_value_t = 65_536)]
    pub auth_cache_entries: usize,
}

impl AuthArgs {
    /// Checks the settings and loads the keys. Must run inside a tokio runtime.
    ///
    /// Errors: settings that contradict or lack each other, the development key with a `listeners` address that is not
    /// loopback (exit 2); a key server that does not answer (exit 3).
    pub async fn build(
        &self,
        audiences: Audiences,
        listeners: &[SocketAddr],
    ) -> Result<Arc<Verifier>, StartError> {
        match (&self.auth_jwks, &self.auth_dev_key_file) {
            (Some(_), Some(_)) => {
                Err(ConfigError::new("AUTH_DEV_KEY_FILE", "give this or AUTH_JWKS, not both").into())
            }
            (None, None) => {
                Err(ConfigError::new("AUTH_JWKS", "give this, or AUTH_DEV_KEY_FILE on loopback").into())
            }
            (None, Some(path)) => {
                if let Some(open) = listeners.iter().find(|addr| !addr.ip().is_loopback()) {
                    let problem = format!(
                        "the development key works on loopback only, and {open} is not; use AUTH_JWKS"
                    );
                    return Err(ConfigError::new("AUTH_DEV_KEY_FILE", problem).into());
                }
                let key = DevKey::read(path).map_err(|error| ConfigError::new("AUTH_DEV_KEY_FILE", error))?;
                Ok(Verifier::development(&key, self.auth_cache_entries))
            }
            (Some(jwks), None) => {
                let (expected, allowed) = (self.expected(audiences)?, self.algorithms()?);
                Verifier::of_jwks(Source::parse(jwks)?, expected, allowed, self.auth_cache_entries).await
            }
        }
    }

    pub(super) fn expected(&self, audiences: Audiences) -> Result<Expected, ConfigError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let needed = |setting: &str, text: Option<String>| {
            text.ok_or_else(|| ConfigError::new(setting, "is required with AUTH_JWKS"))
        };
        let issuer = needed("AUTH_ISSUER", given(&self.auth_issuer))?;
        let (mut members, mut staff) = (given(&self.auth_audience), given(&self.auth_admin_audience));
        if audiences != Audiences::Staff {
            members = Some(needed("AUTH_AUDIENCE", members)?);
        }
        if audiences != Audiences::Members {
            staff = Some(needed("AUTH_ADMIN_AUDIENCE", staff)?);
        }
        if members.is_some() && members == staff {
            return Err(ConfigError::new(
                "AUTH_ADMIN_AUDIENCE",
                "must differ from AUTH_AUDIENCE, or members are staff",
            ));
        }
        Ok(Expected { issuer, members, staff })
    }

    pub(super) fn algorithms(&self) -> Result<Vec<Algorithm>, ConfigError> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        const KNOWN: [Algorithm; 9] = [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];
        let names = self.auth_algorithms.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let list: Vec<Algorithm> = names
            .map(|name| {
                let known = KNOWN.into_iter().find(|algorithm| format!("{algorithm:?}") == name);
                known.ok_or_else(|| {
                    ConfigError::new("AUTH_ALGORITHMS", format!("{name:?} is not one of {KNOWN:?}"))
                })
            })
            .collect::<Result<_, _>>()?;
        if list.is_empty() {
            return Err(ConfigError::new("AUTH_ALGORITHMS", "names no algorithm"));
        }
        Ok(list)
    }
}
