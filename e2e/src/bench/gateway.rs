//! (b) Accepted requests a second and their CPU, and the answer when all is gone; beside a bare warp route.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use shared_runtime::auth::DevKey;

use super::http::{Answers, BareRoute, Connection, entry_request, run, status};
use super::{Bar, Meter, Runs, Sample, Series, Table, service};
use crate::column::Column;
use crate::log::{append, append_entries, scheduled};
use crate::process::Process;
use crate::promises::wait_for_entries;

const OPEN: i64 = 1;
const SOLD_OUT: i64 = 2;
const DAY: Duration = Duration::from_secs(86_400);
const ISSUER: &str = "bench";
const AUDIENCE: &str = "members";

/// Two events, one with prizes for all and one without any left, in a database that no worker changes any more.
async fn two_events() -> Column {
    let column = Column::real("bench_gateway").await;
    let lane = 0;
    append(&column, lane, OPEN, scheduled(&column, OPEN, 1_000_000_000, lane)).await;
    append(&column, lane, SOLD_OUT, scheduled(&column, SOLD_OUT, 10, lane)).await;
    append_entries(&column, lane, SOLD_OUT, (1..=10).map(|n| -n).collect()).await;
    let mut worker = Process::apply_worker(&column, &column.database_url, "bench");
    wait_for_entries(&column.store, SOLD_OUT, lane, 10, Duration::from_secs(60)).await;
    worker.signal("TERM");
    worker.ended(Duration::from_secs(30)).await;
    column
}

struct EdKey {
    key: EncodingKey,
    jwks: String,
}

impl EdKey {
    fn new() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.as_ref()).expect("a key");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwks =
            format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"ed","alg":"EdDSA","x":"{x}"}}]}}"#);
        Self { key: EncodingKey::from_ed_der(der.as_ref()), jwks }
    }

    fn token(&self, member: i64) -> String {
        let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock") + DAY;
        let claims = serde_json::json!({
            "sub": member.to_string(), "iss": ISSUER, "aud": AUDIENCE, "exp": exp.as_secs(),
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("ed".to_owned());
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token")
    }
}

/// Sends the requests and measures the process that answers.
pub(super) async fn measure(
    pid: u32,
    addr: SocketAddr,
    connections: usize,
    requests: Vec<Vec<u8>>,
    wanted: u16,
) -> (Sample, Answers) {
    let items = requests.len() as u64;
    let meter = Meter::start(pid);
    let answers = run(addr, connections, Arc::new(requests), wanted).await;
    (meter.stop(items), answers)
}

/// The answer to one request, as a bare route will give it. Waits until the event is open or sold out.
pub(super) async fn answer_of(addr: SocketAddr, request: &[u8], wanted: u16) -> Vec<u8> {
    let until = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let mut connection = Connection::open(addr).await.expect("connects");
        let answer = connection.ask(request).await.expect("an answer");
        if status(answer) == wanted {
            return answer.to_vec();
        }
        assert!(std::time::Instant::now() < until, "{}", String::from_utf8_lossy(answer));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, requests: i64) {
    let column = two_events().await;
    let folder = tempfile::tempdir().expect("folder");
    let (key_file, jwks_file) = (folder.path().join("dev.key"), folder.path().join("jwks.json"));
    let key = DevKey::create(&key_file).expect("a key");
    let ed = EdKey::new();
    std::fs::write(&jwks_file, &ed.jwks).expect("file");

    let (process, addr) =
        service::gateway(&column, &[("AUTH_DEV_KEY_FILE", key_file.to_str().expect("UTF-8"))]).await;
    let ed_auth = [
        ("AUTH_JWKS", jwks_file.to_str().expect("UTF-8")),
        ("AUTH_ISSUER", ISSUER),
        ("AUTH_AUDIENCE", AUDIENCE),
    ];
    let (ed_process, ed_addr) = service::gateway(&column, &ed_auth).await;
    let token = |member: i64| key.issue_member(member, DAY).expect("a token");

    let mut members = 1i64..;
    let accepted = answer_of(addr, &entry_request(OPEN, &token(members.next().expect("one"))), 202).await;
    answer_of(ed_addr, &entry_request(OPEN, &ed.token(members.next().expect("one"))), 202).await;
    let known: Vec<Vec<u8>> =
        (1..=1_000).map(|n| entry_request(SOLD_OUT, &token(1_000_000_000 + n))).collect();
    let refused = answer_of(addr, &known[0], 409).await;
    let (mut bare, bare_addr, _kept) = service::bare_warp(&accepted, BareRoute::Enter).await;
    let (mut bare_409, bare_409_addr, _kept_too) = service::bare_warp(&refused, BareRoute::Enter).await;

    for connections in [64, 256] {
        let [mut ours, mut ours_bare, mut gone, mut gone_bare, mut eddsa] = [(); 5].map(|()| Runs::default());
        let mut p99 = Series::default();
        // The first pass over the known tokens verifies them.
        run(addr, 1, Arc::new(known.clone()), 409).await;
        for n in 1..=repetitions {
            let fresh: Vec<Vec<u8>> = members
                .by_ref()
                .take(requests as usize)
                .map(|member| entry_request(OPEN, &token(member)))
                .collect();
            let again: Vec<Vec<u8>> = known.iter().cycle().take(requests as usize).cloned().collect();
            let signed: Vec<Vec<u8>> = members
                .by_ref()
                .take(requests as usize / 4)
                .map(|member| entry_request(OPEN, &ed.token(member)))
                .collect();
            let (sample, answers) = measure(process.pid(), addr, connections, fresh.clone(), 202).await;
            let (sample_bare, _) = measure(bare.id(), bare_addr, connections, fresh, 202).await;
            let (sample_gone, _) = measure(process.pid(), addr, connections, again.clone(), 409).await;
            let (sample_gone_bare, _) = measure(bare_409.id(), bare_409_addr, connections, again, 409).await;
            let (sample_ed, _) = measure(ed_process.pid(), ed_addr, connections, signed, 202).await;
            println!(
                "  {connections} connections {n}/{repetitions}: accepted {:.0}/s {:.1} us, bare {:.0}/s {:.1} us; sold out {:.0}/s {:.1} us, bare {:.0}/s {:.1} us; EdDSA {:.0}/s {:.1} us",
                sample.rate(),
                sample.cpu_us(),
                sample_bare.rate(),
                sample_bare.cpu_us(),
                sample_gone.rate(),
                sample_gone.cpu_us(),
                sample_gone_bare.rate(),
                sample_gone_bare.cpu_us(),
                sample_ed.rate(),
                sample_ed.cpu_us(),
            );
            p99.push(answers.quantile(0.99).as_secs_f64() * 1e3);
            ours.push(&sample);
            ours_bare.push(&sample_bare);
            gone.push(&sample_gone);
            gone_bare.push(&sample_gone_bare);
            eddsa.push(&sample_ed);
        }
        table.heading(&format!(
            "(b) gateway, {connections} connections, {requests} requests a run; CPU is the measured process's own"
        ));
        table.runs("accepted and acknowledged, HS256 first seen", &ours);
        table.runs("bare warp route, the same bytes", &ours_bare);
        table.runs("the same, EdDSA first seen", &eddsa);
        table.runs("sold out, known token", &gone);
        table.runs("bare warp route, the same bytes", &gone_bare);
        table.figure("latency of the accepted, p99", &p99, 1, " ms");
        let ratio = ours.cpu_us.relative_to(&ours_bare.cpu_us);
        table.against("CPU of an accepted entry / bare", &ratio, 2, "x", Bar::Most(3.0));
        let ratio = gone.cpu_us.relative_to(&gone_bare.cpu_us);
        table.against("CPU of a sold-out answer / bare", &ratio, 2, "x", Bar::Most(1.3));
    }
    for child in [&mut bare, &mut bare_409] {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
