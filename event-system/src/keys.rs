//! `event-system keys`: key files, and the rotation of the key-encryption key.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared_domain::Hex32;
use shared_runtime::auth::write_secret_file;
use shared_runtime::clock::{Random, SystemRandom};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::keys::{KeyEncryptionArgs, KeyEncryptionKey};
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs, KeyStoreError};

use crate::Failure;

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make dev.key, key-encryption.key and decision.key; never over an existing file
    Init {
        /// Folder
        #[arg(long, default_value = "./data")]
        dir: PathBuf,
    },
    /// Wrap every contact key in the key store by a new key-encryption key. Stop admin-api before, and start it with the
    /// new file behind; what was interrupted is run again
    Rotate(RotateArgs),
    /// Print the public key that certificates of deletion are checked by
    Show(KeyEncryptionArgs),
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    #[command(flatten)]
    key_encryption: KeyEncryptionArgs,
    /// The new key file (32 bytes), which KEY_ENCRYPTION_KEY_FILE is to name afterwards
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    key_store: KeyStoreArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(command: KeysCommand) -> Result<ExitCode, Failure> {
    match command {
        KeysCommand::Init { dir } => init(&dir),
        KeysCommand::Rotate(args) => rotate(args).await,
        KeysCommand::Show(args) => {
            println!("{}", Hex32(args.read()?.verifying_key()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn init(dir: &std::path::Path) -> Result<ExitCode, Failure> {
    let bad = |e: &dyn std::fmt::Display| ConfigError::new("--dir", e.to_string());
    std::fs::create_dir_all(dir).map_err(|e| bad(&e))?;
    for name in ["dev.key", "key-encryption.key", "decision.key"] {
        let path = dir.join(name);
        if path.exists() {
            println!("kept {}", path.display());
            continue;
        }
        let mut key = [0; 32];
        key[..16].copy_from_slice(&SystemRandom.id());
        key[16..].copy_from_slice(&SystemRandom.id());
        write_secret_file(&path, &key).map_err(|e| bad(&e))?;
        println!("made {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate(args: RotateArgs) -> Result<ExitCode, Failure> {
    let from = args.key_encryption.read()?;
    let to = KeyEncryptionKey::read(&args.to).map_err(|e| ConfigError::new("--to", e))?;
    if from.id() == to.id() {
        return Err(ConfigError::new("--to", "is the same key as KEY_ENCRYPTION_KEY_FILE").into());
    }
    let keys = KeyStore::of(&args.key_store, &args.database)?;
    let done = keys.rotate(&from, &to).await.map_err(|error| match error {
        KeyStoreError::Store(error) => StartError::unreachable("KEY_STORE_URL", error),
        error => ConfigError::new("KEY_ENCRYPTION_KEY_FILE", error.to_string()).into(),
    })?;
    println!("{done} keys are wrapped by {}", args.to.display());
    Ok(ExitCode::SUCCESS)
}
