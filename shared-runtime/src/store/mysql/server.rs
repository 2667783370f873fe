//! Reaching a MySQL server, by TLS where it is asked for.

use std::path::PathBuf;

use clap::Args;
use diesel::ConnectionError;
use diesel_async::AsyncConnection;
use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};

use super::Conn;
use crate::config::ConfigError;
use crate::tls::{TlsFiles, TlsSettings};

const TLS: TlsSettings = TlsSettings {
    ca: "DATABASE_CA_FILE",
    client_cert: "DATABASE_CLIENT_CERT_FILE",
    client_key: "DATABASE_CLIENT_KEY_FILE",
};
/// The driver's own words in an URL, of which some turn checks off.
const TLS_PARAMETERS: [&str; 4] = ["require_ssl", "verify_ca", "verify_identity", "built_in_roots"];

/// Settings of TLS to MySQL and MariaDB: for every `mysql://` URL of the process, the key store's included.
#[derive(Debug, Clone, Default, Args)]
pub struct DatabaseTlsArgs {
    /// Certificate authorities (PEM) that MySQL's certificate is checked against; set: every connection is made by TLS
    #[arg(long, env = TLS.ca)]
    pub database_ca_file: Option<PathBuf>,
    /// Certificate (PEM, with its chain) that is shown to MySQL
    #[arg(long, env = TLS.client_cert)]
    pub database_client_cert_file: Option<PathBuf>,
    /// Its private key (PEM, RSA in the form of PKCS#1, not encrypted)
    #[arg(long, env = TLS.client_key)]
    pub database_client_key_file: Option<PathBuf>,
}

impl DatabaseTlsArgs {
    /// The first of these settings that is given.
    pub fn given(&self) -> Option<&'static str> {
        TLS.given(
            self.database_ca_file.as_deref(),
            self.database_client_cert_file.as_deref(),
            self.database_client_key_file.as_deref(),
        )
    }

    fn read(&self) -> Result<Option<SslOpts>, ConfigError> {
        let Some(given) = self.given() else { return Ok(None) };
        let files = TLS.read(
            self.database_ca_file.as_deref(),
            self.database_client_cert_file.as_deref(),
            self.database_client_key_file.as_deref(),
        )?;
        let TlsFiles { ca: Some(ca), client } = files else {
            return Err(ConfigError::new(TLS.ca, format!("is needed with {given}")));
        };
        let mut tls = SslOpts::default().with_disable_built_in_roots(true).with_root_certs(vec![ca.into()]);
        if let Some((cert, key)) = client {
            // The driver reads no other form.
            if !key.windows(PKCS1.len()).any(|window| window == PKCS1) {
                let problem =
                    "must be an RSA key in the form of PKCS#1 (`openssl rsa -traditional` makes it so)";
                return Err(ConfigError::new(TLS.client_key, problem));
            }
            tls = tls.with_client_identity(Some(ClientIdentity::new(cert.into(), key.into())));
        }
        Ok(Some(tls))
    }
}

const PKCS1: &[u8] = b"-----BEGIN RSA PRIVATE KEY-----";

/// A server and its database, and how to get there.
#[derive(Clone)]
pub struct Server {
    url: String,
    tls: Option<Opts>,
}

impl Server {
    /// Reads an URL, which the setting of this name holds, and the files of TLS.
    pub fn new(setting: &'static str, url: &str, tls: &DatabaseTlsArgs) -> Result<Self, ConfigError> {
        // Never with the URL itself, which holds a password.
        let parsed = url::Url::parse(url).map_err(|error| ConfigError::new(setting, error))?;
        if parsed.host_str().is_none_or(str::is_empty) || parsed.path().len() < 2 {
            let problem = "must name a host and a database, mysql://user:password@host:port/database";
            return Err(ConfigError::new(setting, problem));
        }
        if let Some((key, _)) = parsed.query_pairs().find(|(key, _)| TLS_PARAMETERS.contains(&&**key)) {
            return Err(ConfigError::new(setting, format!("{key} is not taken: TLS is set by {}", TLS.ca)));
        }
        let secured = |tls: SslOpts| -> Result<Opts, ConfigError> {
            let opts = Opts::from_url(url).map_err(|error| ConfigError::new(setting, error))?;
            // What diesel-async sets where it connects by itself; and never by a socket of this machine instead.
            let builder = OptsBuilder::from_opts(opts).stmt_cache_size(0).client_found_rows(true);
            Ok(builder.prefer_socket(false).ssl_opts(tls).into())
        };
        Ok(Self { url: url.to_owned(), tls: tls.read()?.map(secured).transpose()? })
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Conn, ConnectionError> {
        let Some(opts) = &self.tls else { return Conn::establish(&self.url).await };
        let conn = mysql_async::Conn::new(opts.clone()).await;
        Conn::try_from(conn.map_err(|error| ConnectionError::BadConnection(error.to_string()))?).await
    }
}
