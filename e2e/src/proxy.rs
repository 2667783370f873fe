//! A TCP proxy before MariaDB that can lose the answer to a COMMIT, hold a transaction right behind its BEGIN, or keep
//! every answer to itself for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Control {
    cut: AtomicBool,
    cuts: AtomicU64,
    hold: AtomicBool,
    held: AtomicU64,
    release: CancellationToken,
    frozen: AtomicBool,
    thawed: Notify,
}

impl Control {
    async fn thaw(&self) {
        loop {
            let thawed = self.thawed.notified();
            if !self.frozen.load(Ordering::SeqCst) {
                return;
            }
            thawed.await;
        }
    }
}

/// A running proxy.
pub struct Proxy {
    url: String,
    control: Arc<Control>,
    stop: CancellationToken,
}

impl Proxy {
    /// Listens before the server of this `mysql://` URL.
    pub async fn start(database_url: &str) -> Self {
        let control = Arc::new(Control::default());
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

    /// The next COMMIT reaches the server; its answer is lost with the connection.
    pub fn cut_at_commit(&self) {
        self.control.cut.store(true, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.control.cuts.load(Ordering::SeqCst)
    }

    /// What follows any BEGIN from now on is held until `release`: no lock is taken any more.
    pub fn hold_behind_begin(&self) {
        self.control.hold.store(true, Ordering::SeqCst);
    }

    /// How many transactions are being held.
    pub fn held(&self) -> u64 {
        self.control.held.load(Ordering::SeqCst)
    }

    /// No answer reaches the client from now on: it knows what it knew.
    pub fn freeze(&self) {
        self.control.frozen.store(true, Ordering::SeqCst);
    }

    /// Lets the answers through again.
    pub fn thaw(&self) {
        self.control.frozen.store(false, Ordering::SeqCst);
        self.control.thawed.notify_waiters();
    }

    /// Lets the held transaction go on.
    pub fn release(&self) {
        self.control.release.cancel();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens before the server of a `mysql://` URL until the token is cancelled, and runs `connection` for each client and
/// the server's address. Gives the URL through it.
pub(crate) async fn listen_before<C, F>(database_url: &str, connection: C) -> (String, CancellationToken)
where
    C: Fn(TcpStream, String) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (login, rest) = database_url.rsplit_once('@').expect("a login in the URL");
    let (server, database) = rest.split_once('/').expect("a database in the URL");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("address").port();
    // Not over the server's socket file, which clients prefer on one host.
    let url = format!("{login}@127.0.0.1:{port}/{database}?prefer_socket=false");
    let (stop, server) = (CancellationToken::new(), server.to_owned());
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(connection(client, server.clone()));
        }
    }));
    (url, stop)
}

/// One packet of MySQL's protocol with its header: length (3, little-endian), sequence number, payload.
pub(crate) async fn read_packet(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet).await?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

async fn connection(mut client: TcpStream, server: String, control: Arc<Control>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let swallow = AtomicBool::new(false);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    // Whichever ends first takes both sockets with it. Ends are errors of no interest.
    tokio::select! {
        _ = questions(from_client, to_server, &control, &swallow) => {}
        _ = answers(from_server, to_client, &control, &swallow) => {}
    }
}

async fn questions(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
    swallow: &AtomicBool,
) -> std::io::Result<()> {
    const COM_QUERY: u8 = 3;
    let mut hold = false;
    loop {
        let packet = read_packet(&mut from).await?;
        if hold {
            control.held.fetch_add(1, Ordering::SeqCst);
            control.release.cancelled().await;
            hold = false;
        }
        let query = packet[4..].split_first().filter(|(kind, _)| **kind == COM_QUERY).map(|(_, text)| text);
        if query.is_some_and(|q| q.starts_with(b"COMMIT")) && control.cut.swap(false, Ordering::SeqCst) {
            swallow.store(true, Ordering::SeqCst);
        }
        if query.is_some_and(|q| q.starts_with(b"BEGIN")) {
            hold = control.hold.load(Ordering::SeqCst);
        }
        to.write_all(&packet).await?;
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
    swallow: &AtomicBool,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 65_536];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return Ok(());
        }
        control.thaw().await;
        if swallow.load(Ordering::SeqCst) {
            control.cuts.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        to.write_all(&bytes[..n]).await?;
    }
}
