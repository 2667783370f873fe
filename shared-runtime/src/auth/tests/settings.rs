//! Settings that fit together, and those that do not.

use std::net::SocketAddr;

use clap::Parser;

use super::*;
use crate::config::StartError;

const LOOPBACK: &str = "127.0.0.1:8080";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    auth: AuthArgs,
}

async fn build(args: &[&str], audiences: Audiences, listener: &str) -> Result<Arc<Verifier>, StartError> {
    let listeners: [SocketAddr; 2] = ["127.0.0.1:9090".parse().unwrap(), listener.parse().unwrap()];
    Cli::parse_from([&["x"], args].concat()).auth.build(audiences, &listeners).await
}

async fn refused(args: &[&str], audiences: Audiences, listener: &str) -> (u8, String) {
    let error = build(args, audiences, listener).await.unwrap_err();
    (error.exit_code(), error.to_string().split(':').next().unwrap().to_owned())
}

#[tokio::test]
async fn the_development_key_works_on_loopback_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev.key");
    let file = path.to_str().unwrap();
    let args = ["--auth-dev-key-file", file];
    assert_eq!(refused(&args, Audiences::Both, LOOPBACK).await, (2, "AUTH_DEV_KEY_FILE".to_owned()));
    let key = DevKey::create(&path).unwrap();
    assert!(DevKey::create(&path).is_err(), "never over an existing file");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(DevKey::read_or_create(&path).unwrap().secret(), key.secret());

    for open in ["0.0.0.0:8080", "10.0.0.1:8080", "[::]:8080"] {
        assert_eq!(refused(&args, Audiences::Both, open).await, (2, "AUTH_DEV_KEY_FILE".to_owned()));
    }
    let verifier = build(&args, Audiences::Both, "[::1]:8080").await.unwrap();
    let hour = Duration::from_secs(3600);
    let member = key.issue_member(-7, hour).unwrap();
    assert_eq!(verifier.verify_member(&*member).await.unwrap().member_id, -7);
    assert_eq!(verifier.verify_staff(&*member).await.unwrap_err(), AuthError::NotStaff);
    let staff = verifier.verify_staff(&*key.issue_staff("ann", "a b", hour).unwrap()).await.unwrap();
    assert!(staff.has_scope("b"));
    let foreign = DevKey::new([1; 32]).issue_member(7, hour).unwrap();
    assert_eq!(status(verifier.verify_member(&*foreign).await.unwrap_err()), 401);
    std::fs::write(&path, [0; 33]).unwrap();
    assert_eq!(refused(&args, Audiences::Both, LOOPBACK).await, (2, "AUTH_DEV_KEY_FILE".to_owned()));
}

#[tokio::test]
async fn settings_must_agree() {
    let (_server, url) = key_server(&jwks(&[&ec_signer("k")])).await;
    let full =
        ["--auth-jwks", &url, "--auth-issuer", ISSUER, "--auth-audience", "m", "--auth-admin-audience", "s"];
    assert!(build(&full, Audiences::Both, "0.0.0.0:1").await.is_ok());
    assert!(build(&full[..6], Audiences::Members, "0.0.0.0:1").await.is_ok());
    let wrong = async |args: &[&str], audiences| refused(args, audiences, "0.0.0.0:1").await;
    let named = |setting: &str| (2, setting.to_owned());
    assert_eq!(wrong(&[], Audiences::Both).await, named("AUTH_JWKS"));
    assert_eq!(wrong(&full[..2], Audiences::Both).await, named("AUTH_ISSUER"));
    assert_eq!(wrong(&full[..4], Audiences::Members).await, named("AUTH_AUDIENCE"));
    assert_eq!(wrong(&full[..6], Audiences::Staff).await, named("AUTH_ADMIN_AUDIENCE"));
    let same = [&full[..6], &["--auth-admin-audience", "m"]].concat();
    assert_eq!(wrong(&same, Audiences::Both).await, named("AUTH_ADMIN_AUDIENCE"));
    let both = [&full[..], &["--auth-dev-key-file", "x"]].concat();
    assert_eq!(wrong(&both, Audiences::Both).await, named("AUTH_DEV_KEY_FILE"));
    for algorithms in ["HS256", "none", "RS256,HS512", ""] {
        let args = [&full[..], &["--auth-algorithms", algorithms]].concat();
        assert_eq!(wrong(&args, Audiences::Both).await, named("AUTH_ALGORITHMS"), "{algorithms}");
    }
    // The set has an EC key alone.
    let useless = [&full[..], &["--auth-algorithms", "RS256"]].concat();
    assert_eq!(wrong(&useless, Audiences::Both).await, named("AUTH_JWKS"));
    for place in ["http://id.example/keys", "ftp://x/keys", "/no/such/file"] {
        let args = [&["--auth-jwks", place], &full[2..]].concat();
        assert_eq!(wrong(&args, Audiences::Both).await, named("AUTH_JWKS"), "{place}");
    }
    let silent = [&["--auth-jwks", "http://127.0.0.1:1/keys"], &full[2..]].concat();
    assert_eq!(wrong(&silent, Audiences::Both).await, (3, "AUTH_JWKS".to_owned()));
}
