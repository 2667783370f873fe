//! How Kafka is reached: TLS, SASL, both or neither.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rdkafka::ClientConfig;

use crate::config::{ConfigError, not_empty};
use crate::tls::{TlsSettings, read_secret};

const TLS: TlsSettings = TlsSettings {
    ca: "KAFKA_CA_FILE",
    client_cert: "KAFKA_CLIENT_CERT_FILE",
    client_key: "KAFKA_CLIENT_KEY_FILE",
};
const PROTOCOL: &str = "KAFKA_SECURITY_PROTOCOL";
const MECHANISM: &str = "KAFKA_SASL_MECHANISM";
const USERNAME: &str = "KAFKA_SASL_USERNAME";
const PASSWORD: &str = "KAFKA_SASL_PASSWORD_FILE";

/// What a connection to a broker is made of; Kafka's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither.
    #[default]
    Plaintext,
    /// TLS; a user, if the broker asks for one, by a client certificate.
    Ssl,
    /// A user by SCRAM, in the open.
    SaslPlaintext,
    /// TLS, and a user in it.
    SaslSsl,
}

impl SecurityProtocol {
    fn tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }
}

/// How a user proves a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SaslMechanism {
    /// By telling it: in TLS only.
    #[value(name = "PLAIN")]
    Plain,
    /// By a proof that does not tell it.
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with a longer hash.
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Settings of TLS and SASL to Kafka.
#[derive(Debug, Clone, Default, Args)]
pub struct KafkaSecurityArgs {
    /// How brokers are reached
    #[arg(long, env = PROTOCOL, value_enum, ignore_case = true, default_value_t)]
    pub kafka_security_protocol: SecurityProtocol,
    /// How the user proves its password
    #[arg(long, env = MECHANISM, value_enum, ignore_case = true)]
    pub kafka_sasl_mechanism: Option<SaslMechanism>,
    /// The user
    #[arg(long, env = USERNAME, value_parser = not_empty)]
    pub kafka_sasl_username: Option<String>,
    /// File with the user's password; a line end behind it is not part of it
    #[arg(long, env = PASSWORD)]
    pub kafka_sasl_password_file: Option<PathBuf>,
    /// Certificate authorities (PEM) that brokers' certificates are checked against; unset: the system's
    #[arg(long, env = TLS.ca)]
    pub kafka_ca_file: Option<PathBuf>,
    /// Certificate (PEM, with its chain) that is shown to brokers
    #[arg(long, env = TLS.client_cert)]
    pub kafka_client_cert_file: Option<PathBuf>,
    /// Its private key (PEM, not encrypted)
    #[arg(long, env = TLS.client_key)]
    pub kafka_client_key_file: Option<PathBuf>,
}

impl KafkaSecurityArgs {
    /// The name of a setting that asks for more than plain text, if one does: an embedded log has neither TLS nor users.
    pub fn given(&self) -> Option<&'static str> {
        let secured = (self.kafka_security_protocol != SecurityProtocol::Plaintext).then_some(PROTOCOL);
        secured.or_else(|| self.sasl_given()).or_else(|| self.tls_given())
    }

    fn tls_given(&self) -> Option<&'static str> {
        TLS.given(
            self.kafka_ca_file.as_deref(),
            self.kafka_client_cert_file.as_deref(),
            self.kafka_client_key_file.as_deref(),
        )
    }

    fn sasl_given(&self) -> Option<&'static str> {
        let settings = [
            (MECHANISM, self.kafka_sasl_mechanism.is_some()),
            (USERNAME, self.kafka_sasl_username.is_some()),
            (PASSWORD, self.kafka_sasl_password_file.is_some()),
        ];
        settings.iter().find(|(_, given)| *given).map(|(setting, _)| *setting)
    }

    /// Sets what a client is told. Errors: settings that make no sense together, or a file that cannot be used.
    pub(super) fn apply(&self, config: &mut ClientConfig) -> Result<(), ConfigError> {
        let protocol = self.kafka_security_protocol;
        if protocol != SecurityProtocol::Plaintext && !cfg!(feature = "kafka-tls") {
            let problem = "this program was built without TLS and SASL to Kafka (feature kafka-tls, which `make demo` and \
                           `make serve` leave out); build it by `make build`";
            return Err(ConfigError::new(PROTOCOL, problem));
        }
        let surplus = |setting, kind| {
            let problem = format!("makes no sense with {PROTOCOL}={}, which has no {kind}", protocol.name());
            Err(ConfigError::new(setting, problem))
        };
        config.set("security.protocol", protocol.name());
        match self.tls_given() {
            Some(setting) if !protocol.tls() => return surplus(setting, "TLS"),
            _ if protocol.tls() => self.apply_tls(config)?,
            _ => {}
        }
        match self.sasl_given() {
            Some(setting) if !protocol.sasl() => return surplus(setting, "SASL"),
            _ if protocol.sasl() => self.apply_sasl(config)?,
            _ => {}
        }
        Ok(())
    }

    fn apply_tls(&self, config: &mut ClientConfig) -> Result<(), ConfigError> {
        let (ca, cert, key) = (
            self.kafka_ca_file.as_deref(),
            self.kafka_client_cert_file.as_deref(),
            self.kafka_client_key_file.as_deref(),
        );
        let files = TLS.read(ca, cert, key)?;
        let pem = |setting, bytes| {
            String::from_utf8(bytes).map_err(|_| ConfigError::new(setting, "the file is no text"))
        };
        // The defaults, but here a changed default must not turn them off.
        config.set("enable.ssl.certificate.verification", "true");
        config.set("ssl.endpoint.identification.algorithm", "https");
        match files.ca {
            Some(ca) => config.set("ssl.ca.pem", pem(TLS.ca, ca)?),
            // OpenSSL is linked in and knows no folder of this system: librdkafka looks in the usual ones.
            None => config.set("ssl.ca.location", "probe"),
        };
        if let Some((cert, key)) = files.client {
            config.set("ssl.certificate.pem", pem(TLS.client_cert, cert)?);
            config.set("ssl.key.pem", pem(TLS.client_key, key)?);
        }
        Ok(())
    }

    fn apply_sasl(&self, config: &mut ClientConfig) -> Result<(), ConfigError> {
        let protocol = self.kafka_security_protocol;
        let missing =
            |setting| ConfigError::new(setting, format!("is needed with {PROTOCOL}={}", protocol.name()));
        let mechanism = self.kafka_sasl_mechanism.ok_or_else(|| missing(MECHANISM))?;
        if mechanism == SaslMechanism::Plain && !protocol.tls() {
            let problem = "PLAIN tells the password to whoever listens; take a SCRAM mechanism, or sasl_ssl";
            return Err(ConfigError::new(MECHANISM, problem));
        }
        let username = self.kafka_sasl_username.as_deref().ok_or_else(|| missing(USERNAME))?;
        let password = self.kafka_sasl_password_file.as_deref().ok_or_else(|| missing(PASSWORD))?;
        config
            .set("sasl.mechanism", mechanism.name())
            .set("sasl.username", username)
            .set("sasl.password", read_secret(PASSWORD, password)?);
        Ok(())
    }
}
