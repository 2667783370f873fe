//! Processes that are measured: the shipped binaries.

use std::net::SocketAddr;

use super::http::BareRoute;
use crate::column::Column;
use crate::process::{Process, free_port};

/// An `api-gateway` on a column, open as wide as it goes. `auth` is how it knows members.
pub async fn gateway(column: &Column, auth: &[(&str, &str)]) -> (Process, SocketAddr) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let public = addr.to_string();
    let redis = std::env::var("REDIS_URL").expect("REDIS_URL is not set; run `make bench`");
    let mut settings = vec![
        ("PUBLIC_ADDR", public.as_str()),
        ("REDIS_URL", &redis),
        ("RATE_LIMIT_PER_SECOND", "1000000000"),
        ("MEMBER_RATE_LIMIT_PER_SECOND", "1000000"),
    ];
    settings.extend_from_slice(auth);
    let process = Process::start("api-gateway", column, &column.database_url, "bench", &settings);
    super::http::until_ready(addr).await;
    (process, addr)
}

/// This program again, as a bare warp route that always answers `answer` (an HTTP/1.1 response as bytes).
pub async fn bare_warp(
    answer: &[u8],
    route: BareRoute,
) -> (std::process::Child, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("answer");
    std::fs::write(&file, answer).expect("file");
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let own = std::env::current_exe().expect("own path");
    let child = std::process::Command::new(own)
        .args(["bare-warp", &addr.to_string()])
        .arg(&file)
        .arg(route.to_string())
        .spawn()
        .expect("starts");
    super::http::until_ready(addr).await;
    (child, addr, folder)
}
