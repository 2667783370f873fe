//! Tokens, good and bad, against keys made here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::{rand::SystemRandom, rsa, signature};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::Method;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use signature::KeyPair;
use tokio_util::sync::CancellationToken;

use super::jwks::Source;
use super::jwt::Expected;
use super::*;
use crate::http::{HttpLimits, Problem, Response, Router, serve};

mod settings;

const ISSUER: &str = "https://id.example";

struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }

    fn sign_without_kid(&self, claims: &Value) -> String {
        encode(&Header::new(self.algorithm), claims, &self.key).unwrap()
    }
}

static RSA: LazyLock<rsa::KeyPair> = LazyLock::new(|| rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap());

fn rsa_signer() -> Signer {
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&*RSA).unwrap();
    let pem = pem("PRIVATE KEY", der.as_ref());
    Signer {
        kid: "rsa",
        algorithm: Algorithm::RS256,
        key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

fn ec_signer(kid: &'static str) -> Signer {
    let der = signature::EcdsaKeyPair::generate_pkcs8(
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &SystemRandom::new(),
    );
    Signer { kid, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(der.unwrap().as_ref()) }
}

fn ed_signer() -> Signer {
    let der = signature::Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    Signer { kid: "ed", algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(der.as_ref()) }
}

fn jwks(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "members", "sub": "42", "exp": get_current_timestamp() + 60})
}

fn claims_with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn expected() -> Expected {
    Expected {
        issuer: ISSUER.to_owned(),
        members: Some("members".to_owned()),
        staff: Some("staff".to_owned()),
    }
}

async fn verifier(set: &str) -> Arc<Verifier> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set).unwrap();
    let source = Source::parse(file.path().to_str().unwrap()).unwrap();
    let allowed = vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    Verifier::of_jwks(source, expected(), allowed, 100).await.unwrap()
}

fn status(error: AuthError) -> u16 {
    Problem::from(error).status().as_u16()
}

#[tokio::test]
async fn each_algorithm_is_accepted_with_its_own_key() {
    let (rsa, ec, ed) = (rsa_signer(), ec_signer("ec"), ed_signer());
    let verifier = verifier(&jwks(&[&rsa, &ec, &ed])).await;
    for signer in [&rsa, &ec, &ed] {
        let member = verifier.verify_member(&*signer.sign(&claims())).await.unwrap();
        assert_eq!(member.member_id, 42);
        // Without kid there is still exactly one key of that type.
        assert!(verifier.verify_member(&*signer.sign_without_kid(&claims())).await.is_ok());
        // A key id of another type's key.
        let mut header = Header::new(signer.algorithm);
        header.kid = Some(if signer.kid == "rsa" { "ec" } else { "rsa" }.to_owned());
        let crossed = encode(&header, &claims(), &signer.key).unwrap();
        assert!(verifier.verify_member(&*crossed).await.is_err());
    }
    assert_eq!(verifier.remembered(), 6);
}

#[tokio::test]
async fn without_kid_two_keys_are_one_too_many() {
    let (one, two) = (ec_signer("1"), ec_signer("2"));
    let verifier = verifier(&jwks(&[&one, &two])).await;
    assert!(verifier.verify_member(&*two.sign(&claims())).await.is_ok());
    assert!(verifier.verify_member(&*two.sign_without_kid(&claims())).await.is_err());
}

#[tokio::test]
async fn forged_headers_are_refused() {
    let signer = rsa_signer();
    let verifier = verifier(&jwks(&[&signer])).await;
    let base = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let good = signer.sign(&claims());
    let signature = good.rsplit_once('.').unwrap().1;

    let none = format!("{}.{}.", base(json!({"alg": "none", "typ": "JWT"})), base(claims()));
    let none_signed = format!("{none}{signature}");
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(RSA.public_key()).unwrap();
    let pem = pem("PUBLIC KEY", der.as_ref());
    let confused = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("rsa".to_owned());
        encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let mut critical = Header::new(Algorithm::RS256);
    critical.crit = Some(vec!["b64".to_owned()]);
    let rs512 = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::RS512) };
    let other = Signer { kid: "rsa", ..ec_signer("x") };
    for token in [
        none,
        none_signed,
        confused(pem.as_bytes()),
        confused(der.as_ref()),
        encode(&critical, &claims(), &signer.key).unwrap(),
        encode(&rs512, &claims(), &signer.key).unwrap(),
        other.sign(&claims()),
        format!("{}.{}.{signature}", good.split('.').next().unwrap(), base(claims_with("sub", "43"))),
        good[..good.len() - 8].to_owned(),
        "x".repeat(9000),
        "not.a.token".to_owned(),
        String::new(),
    ] {
        assert_eq!(status(verifier.verify_member(&*token).await.unwrap_err()), 401, "{token}");
    }
    assert_eq!(verifier.verify_member(None).await.unwrap_err(), AuthError::Missing);
    assert!(verifier.verify_member(&*good).await.is_ok());
}

#[tokio::test]
async fn claims_are_checked() {
    let signer = ec_signer("ec");
    let verifier = verifier(&jwks(&[&signer])).await;
    let now = get_current_timestamp();
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    for bad in [
        claims_with("exp", now - 32),
        claims_with("nbf", now + 40),
        claims_with("iss", "https://evil.example"),
        claims_with("aud", "others"),
        claims_with("aud", "staff"),
        claims_with("aud", json!([])),
        claims_with("sub", "mallory"),
        claims_with("sub", "+42"),
        claims_with("sub", "042"),
        claims_with("sub", "9223372036854775808"),
        claims_with("sub", 42),
        claims_with("exp", "soon"),
        without("exp"),
        without("sub"),
        without("aud"),
        without("iss"),
    ] {
        assert_eq!(status(verifier.verify_member(&*signer.sign(&bad)).await.unwrap_err()), 401, "{bad}");
    }
    for good in [
        claims_with("exp", now - 20),
        claims_with("nbf", now + 30),
        claims_with("exp", now as f64 + 9.5),
        claims_with("aud", json!(["others", "members"])),
        claims_with("jku", "https://evil.example/keys"),
    ] {
        assert!(verifier.verify_member(&*signer.sign(&good)).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn staff_members_and_callers_are_told_apart() {
    let signer = ec_signer("ec");
    let verifier = verifier(&jwks(&[&signer])).await;
    let token = |aud: &str, sub: &str, scope: &str| {
        let exp = get_current_timestamp() + 60;
        signer.sign(&json!({"iss": ISSUER, "aud": aud, "sub": sub, "exp": exp, "scope": scope}))
    };
    let staff =
        verifier.verify_staff(&*token("staff", "ann@example", "events:read draws:run")).await.unwrap();
    assert_eq!((&*staff.name, staff.scopes().count()), ("ann@example", 2));
    assert!(staff.require_scope("draws:run").is_ok());
    assert_eq!(status(staff.require_scope("draws").unwrap_err()), 403);

    assert_eq!(
        status(verifier.verify_staff(&*token("members", "42", "events:read")).await.unwrap_err()),
        403
    );
    assert_eq!(status(verifier.verify_staff(&*token("others", "ann", "")).await.unwrap_err()), 401);
    assert_eq!(status(verifier.verify_staff(&*token("staff", " ", "")).await.unwrap_err()), 401);
    assert_eq!(status(verifier.verify_staff(&*token("staff", &"x".repeat(201), "")).await.unwrap_err()), 401);

    let caller =
        async |aud, sub, scope| verifier.verify_caller(&*token(aud, sub, scope), "activities:write").await;
    assert_eq!(caller("members", "42", "").await.unwrap().member.unwrap().member_id, 42);
    for aud in ["members", "staff"] {
        let trusted = caller(aud, "step-service", "activities:write").await.unwrap();
        assert!(trusted.member.is_none() && trusted.has_scope("activities:write"));
    }
    assert_eq!(status(caller("staff", "ann", "events:read").await.unwrap_err()), 403);
    assert_eq!(status(caller("members", "ann", "").await.unwrap_err()), 401);
}

#[tokio::test]
async fn a_remembered_token_still_expires() {
    let signer = ec_signer("ec");
    let verifier = verifier(&jwks(&[&signer])).await;
    // Good for one more second of its leeway of 30.
    let token = signer.sign(&claims_with("exp", get_current_timestamp() - 28));
    assert!(verifier.verify_member(&*token).await.is_ok());
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(status(verifier.verify_member(&*token).await.unwrap_err()), 401);
}

#[derive(Default)]
struct KeyServer {
    set: Mutex<Option<String>>,
    asked: AtomicUsize,
}

async fn key_server(set: &str) -> (Arc<KeyServer>, String) {
    let state = Arc::new(KeyServer { set: Mutex::new(Some(set.to_owned())), asked: AtomicUsize::new(0) });
    let router = Router::new(Arc::clone(&state), HttpLimits::default()).unwrap().route(
        Method::GET,
        "/keys",
        |state: Arc<KeyServer>, _, _| async move {
            state.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let set = state.set.lock().unwrap().clone();
            Ok(Response::text(http::StatusCode::OK, set.ok_or_else(Problem::internal)?))
        },
        crate::http::Operation::new("keys", "Keys").empty(200, "Keys"),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, router, CancellationToken::new(), Duration::ZERO));
    (state, url)
}

#[tokio::test]
async fn an_unknown_kid_reads_the_keys_again_but_not_often() {
    let (old, new, stranger) = (ec_signer("old"), ec_signer("new"), ec_signer("stranger"));
    let (server, url) = key_server(&jwks(&[&old])).await;
    let source = Source::parse(&url).unwrap().with_min_interval(Duration::from_millis(300));
    let verifier = Verifier::of_jwks(source, expected(), vec![Algorithm::ES256], 100).await.unwrap();
    let by_old = old.sign(&claims());
    assert!(verifier.verify_member(&*by_old).await.is_ok());
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);

    // The provider rotates; many come at once with the new key: one reading serves all, and withdraws the old.
    *server.set.lock().unwrap() = Some(jwks(&[&new]));
    let by_new = new.sign(&claims());
    let many = futures::future::join_all((0..20).map(|_| verifier.verify_member(&*by_new))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    assert_eq!(status(verifier.verify_member(&*by_old).await.unwrap_err()), 401);

    // Strangers cannot make us ask; a provider that fails takes no key away.
    for _ in 0..20 {
        assert!(verifier.verify_member(&*stranger.sign(&claims())).await.is_err());
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    for broken in [None, Some("<html>".to_owned()), Some(r#"{"keys":[]}"#.to_owned())] {
        *server.set.lock().unwrap() = broken;
        tokio::time::sleep(Duration::from_millis(320)).await;
        assert!(verifier.verify_member(&*stranger.sign(&claims())).await.is_err());
        assert!(verifier.verify_member(&*by_new).await.is_ok());
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 5);
}

#[test]
fn keys_for_encryption_and_symmetric_keys_are_left_out() {
    let mut encryption = ec_signer("e").jwk();
    encryption["use"] = "enc".into();
    let secret = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"});
    let strange = json!({"kty": "AKP", "kid": "x"});
    let read = |keys: Value| {
        keys::KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes(), &[Algorithm::ES256])
    };
    assert!(read(json!([encryption, secret, strange])).is_err());
    assert!(read(json!([encryption, secret, strange, ec_signer("g").jwk()])).is_ok());
    // RSA allowed or not is the list's to say, whatever the key's type.
    assert!(read(json!([rsa_signer().jwk()])).is_err());
}
