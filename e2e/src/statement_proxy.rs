//! A TCP proxy before MariaDB that knows which statement is on its way, so that a process can be killed at any of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::proxy::{listen_before, read_packet};

/// Where a connection stops for good, until its client is gone. The text is a part of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The statement never reaches the server.
    Before(&'static str),
    /// The COMMIT of the transaction that ran the statement never reaches the server.
    BeforeCommit(&'static str),
    /// That COMMIT is done, and its answer never reaches the client.
    BehindCommit(&'static str),
}

struct Control {
    point: Mutex<Option<Point>>,
    held: watch::Sender<bool>,
}

impl Control {
    fn point(&self) -> Option<Point> {
        *self.point.lock().expect("no panic")
    }

    /// The armed point is reached; the next connection passes.
    fn hold(&self) {
        *self.point.lock().expect("no panic") = None;
        self.held.send_replace(true);
    }
}

/// A running proxy.
pub struct StatementProxy {
    url: String,
    control: Arc<Control>,
    stop: CancellationToken,
}

impl StatementProxy {
    /// Listens before the server of this `mysql://` URL.
    pub async fn start(database_url: &str) -> Self {
        let control = Arc::new(Control { point: Mutex::new(None), held: watch::Sender::new(false) });
        let shared = control.clone();
        let (url, stop) =
            listen_before(database_url, move |client, server| connection(client, server, shared.clone()))
                .await;
        Self { url, control, stop }
    }

    /// The database's URL through this proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first connection that comes to this point stops there.
    pub fn arm(&self, point: Point) {
        self.control.held.send_replace(false);
        *self.control.point.lock().expect("no panic") = Some(point);
    }

    /// Waits until one has.
    pub async fn held(&self) {
        let mut held = self.control.held.subscribe();
        held.wait_for(|held| *held).await.expect("the proxy runs");
    }
}

impl Drop for StatementProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What both directions of a connection know.
#[derive(Default)]
struct Shared {
    /// Text of a statement whose id is in the next answer.
    preparing: Mutex<Option<String>>,
    statements: Mutex<HashMap<u32, String>>,
    swallow: Mutex<bool>,
}

async fn connection(mut client: TcpStream, server: String, control: Arc<Control>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let shared = Shared::default();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    // Whichever ends first takes both sockets with it. Ends are errors of no interest.
    tokio::select! {
        _ = questions(from_client, to_server, &control, &shared) => {}
        _ = answers(from_server, to_client, &control, &shared) => {}
    }
}

async fn questions(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
    shared: &Shared,
) -> std::io::Result<()> {
    const COM_QUERY: u8 = 0x03;
    const COM_STMT_PREPARE: u8 = 0x16;
    const COM_STMT_EXECUTE: u8 = 0x17;
    let mut ran: Vec<String> = Vec::new();
    loop {
        let packet = read_packet(&mut from).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let runs = match packet[4..].split_first() {
            Some((&COM_QUERY, query)) => Some(text(query)),
            Some((&COM_STMT_PREPARE, query)) => {
                *shared.preparing.lock().expect("no panic") = Some(text(query));
                None
            }
            Some((&COM_STMT_EXECUTE, rest)) if rest.len() >= 4 => {
                let id = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
                shared.statements.lock().expect("no panic").get(&id).cloned()
            }
            _ => None,
        };
        if let Some(statement) = runs {
            let commit = statement.starts_with("COMMIT");
            let stop = match control.point() {
                Some(Point::Before(part)) => statement.contains(part),
                Some(Point::BeforeCommit(part)) => commit && ran.iter().any(|s| s.contains(part)),
                Some(Point::BehindCommit(part)) => {
                    let reached = commit && ran.iter().any(|s| s.contains(part));
                    *shared.swallow.lock().expect("no panic") |= reached;
                    false
                }
                None => false,
            };
            if stop {
                control.hold();
                // Its client says nothing more; when it is gone, so is the session, and the server rolls back.
                from.read_u8().await?;
            }
            if statement.starts_with("BEGIN") || commit {
                ran.clear();
            }
            ran.push(statement);
        }
        to.write_all(&packet).await?;
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 65_536];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return Ok(());
        }
        // COM_STMT_PREPARE_OK: header (4), 0x00, statement id (4, little-endian). One question, one answer.
        if let Some(text) = shared.preparing.lock().expect("no panic").take()
            && n >= 9
            && bytes[4] == 0
        {
            let id = u32::from_le_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
            shared.statements.lock().expect("no panic").insert(id, text);
        }
        if *shared.swallow.lock().expect("no panic") {
            control.hold();
            std::future::pending::<()>().await;
        }
        to.write_all(&bytes[..n]).await?;
    }
}
