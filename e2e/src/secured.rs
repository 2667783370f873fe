//! Servers that take nobody who does not prove who they are: a native stack of its own with TLS, users and rights.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use shared_runtime::keys::{DecisionKey, KeyEncryptionKey};
use shared_runtime::store::{DatabaseArgs, DatabaseTlsArgs};
use tempfile::TempDir;

use crate::process::{Process, free_port, run};
use crate::system::{Ground, System, at, clean, key_file};

/// Who a program is to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// api-gateway.
    Gateway,
    /// Both workers.
    Worker,
    /// admin-api, which has the key store too.
    Admin,
    /// The tools.
    Operator,
    /// `migrate`.
    Owner,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }

    /// Each by another one, so that all are tried.
    fn mechanism(self) -> &'static str {
        match self {
            Self::Gateway | Self::Operator | Self::Owner => "SCRAM-SHA-512",
            Self::Admin => "SCRAM-SHA-256",
            Self::Worker => "PLAIN",
        }
    }
}

/// Database users, one a role, and what the server asks of them.
struct Users {
    prefix: &'static str,
    require: &'static str,
}

const BY_TLS: Users = Users { prefix: "event_", require: "SSL" };
const BY_CERTIFICATE: Users = Users { prefix: "cert_", require: "X509" };

/// The servers; stopped and forgotten when dropped.
pub struct SecuredStack {
    folder: TempDir,
    script: PathBuf,
    mysql: u16,
    redis: u16,
    kafka: u16,
}

impl SecuredStack {
    /// Starts the servers, with users of least privilege in each. `None`, and a word why, where they cannot be had: the
    /// other tests run in containers, and the native servers are not installed.
    pub fn start() -> Option<Self> {
        let named =
            PathBuf::from(std::env::var("STACK_SCRIPT").expect("STACK_SCRIPT is not set; run `make test`"));
        let script = named.with_file_name("stack.sh");
        let kafka = loop {
            let port = free_port();
            // Kafka takes a second one for client certificates.
            if std::net::TcpListener::bind(("127.0.0.1", port + 10)).is_ok() {
                break port;
            }
        };
        let folder = tempfile::tempdir().expect("folder");
        let stack = Self { folder, script, mysql: free_port(), redis: free_port(), kafka };
        if named != stack.script {
            let missing = stack.stack(&["missing"], "");
            if !missing.trim().is_empty() {
                println!(
                    "SKIPPED: secured servers need the native stack, which lacks {}",
                    missing.replace('\n', " ")
                );
                return None;
            }
        }
        stack.stack(&["up"], "");
        stack.make_users();
        Some(stack)
    }

    /// A file beside the servers' certificates.
    pub fn tls(&self, name: &str) -> PathBuf {
        self.folder.path().join("tls").join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.script);
        command
            .env("STACK_DIR", self.folder.path())
            .env("STACK_SECURED", "1")
            .env("STACK_BROKERS", "1")
            .env("STACK_DB", "events")
            .env("STACK_DB_USER", "event")
            .env("STACK_DB_PASS", "event")
            .env("STACK_MYSQL_PORT", self.mysql.to_string())
            .env("STACK_REDIS_PORT", self.redis.to_string())
            .env("STACK_KAFKA_PORT", self.kafka.to_string())
            .env("STACK_KAFKA_CTRL_PORT", free_port().to_string())
            .env("STACK_MYSQL_BUFFER", "64M")
            .env("STACK_KAFKA_HEAP", "256m");
        command
    }

    /// Runs the stack's script with an input; what it printed.
    pub fn stack(&self, args: &[&str], input: &str) -> String {
        let mut command = self.command();
        command.args(args);
        ended(command, input)
    }

    /// A command of Redis's own client, as the user that may do everything.
    pub fn redis(&self, args: &[&str]) {
        let mut command = Command::new("redis-cli");
        command
            .args(["--tls", "--insecure", "--user", "event", "-p", &self.redis.to_string()])
            .arg("--cert")
            .arg(self.tls("client.crt"))
            .arg("--key")
            .arg(self.tls("client.key"))
            .args(args)
            .env("REDISCLI_AUTH", "event");
        assert_eq!(ended(command, "").trim(), "OK", "{args:?}");
    }

    fn users(&self, users: &Users, command: &str) -> String {
        let mut script = Command::new(self.script.with_file_name("../migrations/users/users.sh"));
        script
            .args(command.split(' '))
            .env("SECRETS", self.folder.path().join(users.prefix))
            .env("USER_PREFIX", users.prefix)
            .env("KEY_DATABASE", "event_keys")
            .env("REQUIRE", users.require);
        ended(script, "")
    }

    fn make_users(&self) {
        for users in [&BY_TLS, &BY_CERTIFICATE] {
            self.stack(&["sqlroot"], &self.users(users, "accounts"));
            self.users(users, &format!("urls 127.0.0.1:{}", self.mysql));
        }
        let mut migrate = self.program("event-system", Role::Owner);
        migrate.arg("migrate");
        ended(migrate, "");
        for users in [&BY_TLS, &BY_CERTIFICATE] {
            self.stack(&["sqlroot"], &self.users(users, "grants"));
        }
    }

    fn url(&self, users: &Users, name: &str) -> String {
        read(&self.folder.path().join(users.prefix).join("urls").join(name))
    }

    /// `DATABASE_URL` of a role's other user, who has to show a client certificate.
    pub fn url_by_certificate(&self, role: Role) -> String {
        self.url(&BY_CERTIFICATE, &format!("{}-url", role.name()))
    }

    /// The database of a role, for code in this process.
    pub fn database(&self, role: Role) -> DatabaseArgs {
        let tls =
            DatabaseTlsArgs { database_ca_file: Some(self.tls("ca.crt")), ..DatabaseTlsArgs::default() };
        DatabaseArgs {
            database_url: Some(self.url(&BY_TLS, &format!("{}-url", role.name()))),
            tls,
            ..DatabaseArgs::default()
        }
    }

    /// A program with the settings of its role, and no others.
    pub fn program(&self, program: &str, role: Role) -> Command {
        let mut command = clean(program);
        let ca = self.tls("ca.crt");
        let user = if role == Role::Owner { Role::Operator.name() } else { role.name() };
        let key_store = if role == Role::Owner { "key-store-owner-url" } else { "key-store-url" };
        command
            .env("LOG", "info")
            .env("DATABASE_URL", self.url(&BY_TLS, &format!("{}-url", role.name())))
            .env("DATABASE_CA_FILE", &ca)
            .env("KAFKA_BROKERS", format!("127.0.0.1:{}", self.kafka))
            .env("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")
            .env("KAFKA_SASL_MECHANISM", role.mechanism())
            .env("KAFKA_SASL_USERNAME", user)
            .env("KAFKA_SASL_PASSWORD_FILE", self.tls(&format!("{user}.password")))
            .env("KAFKA_CA_FILE", &ca)
            .env("KAFKA_SESSION_TIMEOUT", "6s")
            .env("ALLOW_UNSAFE_LOG", "true")
            .env("OPS_ADDR", "127.0.0.1:0");
        if matches!(role, Role::Admin | Role::Owner) {
            command.env("KEY_STORE_URL", self.url(&BY_TLS, key_store));
        }
        if matches!(role, Role::Gateway | Role::Admin) {
            let password = read(&self.tls(&format!("{user}.password")));
            command
                .env("REDIS_URL", format!("rediss://{user}:{password}@127.0.0.1:{}/0", self.redis))
                .env("REDIS_CA_FILE", &ca);
        }
        command
    }

    /// A second gateway that shows a client certificate to every server, in place of Kafka's password, and its address.
    pub fn gateway_by_certificate(&self, system: &System) -> (Command, SocketAddr) {
        let (mut command, addr) = self.gateway(system);
        command.env("DATABASE_URL", self.url_by_certificate(Role::Gateway));
        for store in ["DATABASE", "REDIS", "KAFKA"] {
            command.env(format!("{store}_CLIENT_CERT_FILE"), self.tls("client.crt"));
            command.env(format!("{store}_CLIENT_KEY_FILE"), self.tls("client.key"));
        }
        self.at_certificate_port(&mut command);
        (command, addr)
    }

    /// Kafka where a certificate is the user.
    pub fn at_certificate_port(&self, command: &mut Command) {
        for name in ["MECHANISM", "USERNAME", "PASSWORD_FILE"] {
            command.env_remove(format!("KAFKA_SASL_{name}"));
        }
        command
            .env("KAFKA_SECURITY_PROTOCOL", "ssl")
            .env("KAFKA_BROKERS", format!("127.0.0.1:{}", self.kafka + 10));
    }

    /// Settings of admin-api, api-gateway and workers beyond the stores.
    fn service(&self, program: &str, role: Role, ground: &Ground) -> Command {
        let mut command = self.program(program, role);
        let key = |name: &str| ground.folder.path().join(name);
        at(&mut command, ground.public, ground.admin);
        command
            .env("AUTH_DEV_KEY_FILE", key_file(ground.folder.path()))
            .env("DECISION_KEY_FILE", key("decision.key"))
            .env("KEY_ENCRYPTION_KEY_FILE", key("key-encryption.key"));
        command
    }

    /// Makes the topics, and starts every service as its own user.
    pub async fn system(&self) -> System {
        let mut topics = self.program("event-system", Role::Operator);
        topics.args(["topics", "create"]).env("TOPIC_PARTITIONS", "2");
        let (code, said) = run(topics).await;
        assert_eq!(code, Some(0), "{said}");
        let ground = Ground::new();
        DecisionKey::read_or_create(&ground.folder.path().join("decision.key")).expect("key");
        KeyEncryptionKey::read_or_create(&ground.folder.path().join("key-encryption.key")).expect("key");
        let services = [
            ("apply-worker", Role::Worker),
            ("raffle-worker", Role::Worker),
            ("admin-api", Role::Admin),
            ("api-gateway", Role::Gateway),
        ]
        .map(|(program, role)| Process::spawn(self.service(program, role, &ground), program));
        System::up(services.into(), None, ground, &self.database(Role::Admin)).await
    }

    /// A second gateway that knows tokens by the same key, and its address.
    pub fn gateway(&self, system: &System) -> (Command, SocketAddr) {
        let mut command = self.program("api-gateway", Role::Gateway);
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        command.env("PUBLIC_ADDR", addr.to_string()).env("AUTH_DEV_KEY_FILE", system.key_file());
        (command, addr)
    }

    /// An authority that nobody here knows, and a client's certificate of it.
    pub fn stranger(&self) -> (PathBuf, PathBuf) {
        let (cert, key) = (self.tls("stranger.crt"), self.tls("stranger.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=gateway"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert);
        ended(openssl, "");
        (cert, key)
    }

    /// Gives every server a certificate that has ended, of the authority that is known.
    pub fn expire(&self) {
        let tls = |name: &str| self.tls(name).display().to_string();
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-subj", "/CN=server", "-key", &tls("server.key")]);
        request.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        let request = ended(request, "");
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "-1", "-copy_extensions", "copy", "-CA", &tls("ca.crt")]);
        sign.args(["-CAkey", &tls("ca.key"), "-out", &tls("server.crt")]);
        ended(sign, &request);
        let both = [self.tls("server.key"), self.tls("server.crt")].map(|path| read(&path));
        std::fs::write(self.tls("server.pem"), both.concat()).expect("written");
        self.stack(&["sqlroot"], "FLUSH SSL;");
        self.redis(&["CONFIG", "SET", "tls-cert-file", &tls("server.crt")]);
        self.stack(&["restart", "kafka-1"], "");
    }
}

impl Drop for SecuredStack {
    fn drop(&mut self) {
        let mut down = self.command();
        drop(down.args(["down", "--wipe"]).stdout(Stdio::null()).status());
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

/// Runs a command that must succeed; what it printed.
fn ended(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Who asks for nothing may be gone already.
    drop(child.stdin.take().expect("stdin").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
