//! Public randomness: rounds of drand chains, verified without a network (<https://docs.drand.love/>).

use chrono::{DateTime, Utc};
use drand_verify::{G1Pubkey, G2PubkeyFastnet, G2PubkeyRfc, Pubkey, derive_randomness};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{BeaconRound, Trust};
use crate::{Hex32, HexBytes, Millis, Violation};

/// A list counts as frozen before a round when it was frozen so long before: milliseconds.
pub const BEACON_LEAD_MS: i64 = 30_000;

/// The chain that is built in: the League of Entropy's quicknet, in drand's `/info` form.
const QUICKNET: &str = r#"[{
  "public_key": "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
  "period": 3, "genesis_time": 1692803367,
  "hash": "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
  "groupHash": "f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e",
  "schemeID": "bls-unchained-g1-rfc9380", "metadata": {"beaconID": "quicknet"}
}]"#;

/// Why a round's signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeaconError {
    /// Neither built in nor in `DRAND_CHAINS_FILE`.
    #[error("the chain {0} is not known here (DRAND_CHAINS_FILE names more)")]
    UnknownChain(Hex32),
    /// Rounds count from 1.
    #[error("there is no round {0}")]
    NoSuchRound(u64),
    /// Not the chain's signature of this round.
    #[error("the signature is not the chain's for round {0}")]
    BadSignature(u64),
}

/// Why a chains file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainsError {
    /// Not JSON of the right form.
    #[error("must be a JSON list of drand chain infos: {0}")]
    Form(String),
    /// The hash is not the hash of the other fields.
    #[error("chain {0}: its hash is not that of its parameters")]
    Hash(Hex32),
    /// Needs the previous signature, which a draw record does not carry, or is not known.
    #[error("chain {0}: the scheme {1} is not supported, only unchained ones are")]
    Scheme(Hex32, String),
    /// The key is no point of its curve, or the period is 0.
    #[error("chain {0}: the key or the period is wrong")]
    Parameters(Hex32),
}

/// A chain's parameters as drand serves them: `/{hash}/info`, or `/v2/chains/{hash}/info`.
#[derive(Debug, Deserialize)]
struct Info {
    public_key: HexBytes,
    period: u32,
    genesis_time: i64,
    #[serde(alias = "chain_hash")]
    hash: Hex32,
    #[serde(rename = "groupHash", alias = "genesis_seed")]
    group_hash: HexBytes,
    #[serde(rename = "schemeID", alias = "scheme")]
    scheme: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    beacon_id: String,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(rename = "beaconID", default)]
    beacon_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// Keys on G1, signatures on G2.
    Unchained,
    /// Keys on G2, signatures on G1, hashed as fastnet did.
    OnG1,
    /// The same, hashed as RFC 9380 says.
    G1Rfc9380,
}

/// A drand chain.
#[derive(Debug, Clone)]
pub struct Chain {
    hash: Hex32,
    public_key: Vec<u8>,
    period_ms: i64,
    genesis_ms: Millis,
    scheme: Scheme,
}

impl Chain {
    fn from_info(info: Info) -> Result<Self, ChainsError> {
        let id = if info.beacon_id.is_empty() { &info.metadata.beacon_id } else { &info.beacon_id };
        // As drand's chain.Info.Hash: the default beacon's name is left out.
        let hash = Sha256::new()
            .chain_update(info.period.to_be_bytes())
            .chain_update(info.genesis_time.to_be_bytes())
            .chain_update(&info.public_key.0)
            .chain_update(&info.group_hash.0)
            .chain_update(if id == "default" { "" } else { id });
        if <[u8; 32]>::from(hash.finalize()) != info.hash.0 {
            return Err(ChainsError::Hash(info.hash));
        }
        let scheme = match info.scheme.as_str() {
            "pedersen-bls-unchained" => Scheme::Unchained,
            "bls-unchained-on-g1" => Scheme::OnG1,
            "bls-unchained-g1-rfc9380" => Scheme::G1Rfc9380,
            _ => return Err(ChainsError::Scheme(info.hash, info.scheme)),
        };
        let genesis_ms = info.genesis_time.checked_mul(1_000);
        let (Some(genesis_ms), 1..) = (genesis_ms, info.period) else {
            return Err(ChainsError::Parameters(info.hash));
        };
        let chain = Self {
            hash: info.hash,
            public_key: info.public_key.0,
            period_ms: i64::from(info.period) * 1_000,
            genesis_ms,
            scheme,
        };
        // A wrong key is found here rather than at the first draw.
        chain.check(1, &[]).map(|_| chain).map_err(|_| ChainsError::Parameters(info.hash))
    }

    /// When a round is made, in ms: nobody knows it earlier.
    pub fn round_time(&self, round: u64) -> Result<Millis, BeaconError> {
        let none = BeaconError::NoSuchRound(round);
        let before = i64::try_from(round).ok().and_then(|r| r.checked_sub(1)).filter(|r| *r >= 0);
        before
            .and_then(|rounds| rounds.checked_mul(self.period_ms))
            .and_then(|ms| ms.checked_add(self.genesis_ms))
            .ok_or(none)
    }

    /// The randomness of a round, if the signature is the chain's.
    pub fn verify(&self, round: u64, signature: &[u8]) -> Result<Hex32, BeaconError> {
        self.round_time(round)?;
        match self.check(round, signature) {
            Ok(true) => Ok(Hex32(derive_randomness(signature))),
            _ => Err(BeaconError::BadSignature(round)),
        }
    }

    /// Whether the signature is right; the error says that the key is no point of its curve.
    fn check(&self, round: u64, signature: &[u8]) -> Result<bool, drand_verify::InvalidPoint> {
        fn with<P: Pubkey>(
            key: &[u8],
            round: u64,
            signature: &[u8],
        ) -> Result<bool, drand_verify::InvalidPoint> {
            Ok(P::from_variable(key)?.verify(round, b"", signature).unwrap_or(false))
        }
        match self.scheme {
            Scheme::Unchained => with::<G1Pubkey>(&self.public_key, round, signature),
            Scheme::OnG1 => with::<G2PubkeyFastnet>(&self.public_key, round, signature),
            Scheme::G1Rfc9380 => with::<G2PubkeyRfc>(&self.public_key, round, signature),
        }
    }
}

/// The chains that are known: quicknet, and those of `DRAND_CHAINS_FILE`.
#[derive(Debug, Clone)]
pub struct Chains(Vec<Chain>);

impl Default for Chains {
    fn default() -> Self {
        Self(Self::parse(QUICKNET).unwrap_or_default())
    }
}

impl Chains {
    /// Quicknet and the chains of a JSON list in drand's `/info` form. Each chain's hash must be that of its parameters,
    /// so that a record's `chain_hash` names exactly one key.
    pub fn with(json: &str) -> Result<Self, ChainsError> {
        let mut chains = Self::default();
        chains.0.extend(Self::parse(json)?);
        Ok(chains)
    }

    fn parse(json: &str) -> Result<Vec<Chain>, ChainsError> {
        let infos: Vec<Info> = serde_json::from_str(json).map_err(|e| ChainsError::Form(e.to_string()))?;
        infos.into_iter().map(Chain::from_info).collect()
    }

    /// A chain by its hash.
    pub fn get(&self, hash: &Hex32) -> Result<&Chain, BeaconError> {
        self.0.iter().find(|c| c.hash == *hash).ok_or(BeaconError::UnknownChain(*hash))
    }

    /// The randomness of a posted round (`PUT .../draw/beacon`).
    pub fn verify(&self, round: &BeaconRound, signature: &[u8]) -> Result<Hex32, BeaconError> {
        self.get(&round.chain_hash)?.verify(round.round, signature)
    }

    /// Whether a draft may name this round: the chain is known, and the list can be frozen [`BEACON_LEAD_MS`] before it,
    /// which is never before the event's end. (Closing takes its grace on top; later is safer.)
    pub fn check_round(&self, round: &BeaconRound, ends_at: Millis) -> Result<(), Violation> {
        let chain = self.get(&round.chain_hash).map_err(|e| Violation::new("/draw/beacon/chain_hash", e))?;
        let at = chain.round_time(round.round).map_err(|e| Violation::new("/draw/beacon/round", e))?;
        if at.saturating_sub(BEACON_LEAD_MS) > ends_at {
            Ok(())
        } else {
            let text =
                "must be made more than 30 s after the event's end, or the list is frozen too late for it";
            Err(Violation::new("/draw/beacon/round", text))
        }
    }
}

/// Whom to trust: a named round counts unless the list was frozen later than [`BEACON_LEAD_MS`] before it was made.
/// Errors: the chain is unknown or has no such round.
pub fn trust(
    chains: &Chains,
    beacon: Option<&BeaconRound>,
    frozen_at: Option<DateTime<Utc>>,
) -> Result<Trust, BeaconError> {
    let Some(beacon) = beacon else { return Ok(Trust::Operator) };
    let made = chains.get(&beacon.chain_hash)?.round_time(beacon.round)?;
    let late = frozen_at.is_some_and(|at| at.timestamp_millis() > made.saturating_sub(BEACON_LEAD_MS));
    Ok(if late { Trust::Operator } else { Trust::Beacon })
}
