//! The public keys that tokens are checked against.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Keys, each with the algorithms it may be used for: never more than its type and its `alg` say.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// No key for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// A key id that is not in the set; a newer set may have it.
    UnknownKid,
    /// A key of another type, or no key id where there are several keys.
    Unusable,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// One symmetric key: the development key.
    pub(super) fn development(secret: &[u8]) -> Self {
        let decoding = DecodingKey::from_secret(secret);
        Self { keys: vec![Key { kid: None, algorithms: vec![Algorithm::HS256], decoding }] }
    }

    /// Reads a JWK set, leaving out what is not a signature key of an allowed asymmetric algorithm (other keys in it
    /// are none of our business). Errors: no JWK set, or nothing usable in it.
    pub(super) fn from_jwks(text: &[u8], allowed: &[Algorithm]) -> Result<Self, String> {
        let set: RawSet = serde_json::from_slice(text).map_err(|error| format!("no JWK set: {error}"))?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(|value| Key::from_jwk(value, allowed)).collect();
        if keys.is_empty() {
            return Err(format!("no key in it is usable with AUTH_ALGORITHMS {allowed:?}"));
        }
        Ok(Self { keys })
    }

    /// The key for a token's header. Without `kid` only when exactly one key fits the algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, NoKey> {
        let named = |key: &&Key| kid.is_none() || key.kid.as_deref() == kid;
        if !self.keys.iter().any(|key| named(&key)) {
            return Err(NoKey::UnknownKid);
        }
        let mut fitting = self.keys.iter().filter(named).filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.decoding),
            _ => Err(NoKey::Unusable),
        }
    }
}

impl Key {
    fn from_jwk(value: serde_json::Value, allowed: &[Algorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = by_type(&jwk.algorithm)?.to_vec();
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| same(*algorithm, only));
        }
        algorithms.retain(|algorithm| allowed.contains(algorithm));
        if algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algorithms, decoding })
    }
}

/// What a key of this type can be used for. A symmetric key in a published set is nobody's secret.
fn by_type(parameters: &AlgorithmParameters) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => Some(&[RS256, RS384, RS512, PS256, PS384, PS512]),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Some(&[ES256]),
            EllipticCurve::P384 => Some(&[ES384]),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(key) => (key.curve == EllipticCurve::Ed25519).then_some(&[EdDSA]),
        _ => None,
    }
}

fn same(algorithm: Algorithm, key: KeyAlgorithm) -> bool {
    matches!(
        (algorithm, key),
        (Algorithm::RS256, KeyAlgorithm::RS256)
            | (Algorithm::RS384, KeyAlgorithm::RS384)
            | (Algorithm::RS512, KeyAlgorithm::RS512)
            | (Algorithm::PS256, KeyAlgorithm::PS256)
            | (Algorithm::PS384, KeyAlgorithm::PS384)
            | (Algorithm::PS512, KeyAlgorithm::PS512)
            | (Algorithm::ES256, KeyAlgorithm::ES256)
            | (Algorithm::ES384, KeyAlgorithm::ES384)
            | (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
    )
}
