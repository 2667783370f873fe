//! Small tools: migrations, topics, tokens.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use shared_runtime::auth::DevKey;
use shared_runtime::config::{ConfigError, StartError, not_empty};
use shared_runtime::log::{KafkaArgs, create_topics, inspect_topics};
use shared_runtime::store::{DatabaseTlsArgs, KeyStoreArgs, MigrateError, Migration};

use crate::Failure;
use crate::system::dev_key_path;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// `mysql://` or `sqlite://`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = not_empty)]
    database_url: String,
    #[command(flatten)]
    tls: DatabaseTlsArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
    /// Only print what is pending
    #[arg(long)]
    dry_run: bool,
}

pub async fn migrate(args: MigrateArgs) -> Result<ExitCode, Failure> {
    let failed = |setting: &'static str| {
        move |error| match error {
            MigrateError::Config(error) => StartError::Config(error),
            MigrateError::Unreachable(problem) => StartError::unreachable(setting, problem),
            MigrateError::Failed(problem) => ConfigError::new(setting, problem).into(),
        }
    };
    let of = |url| Migration { url, tls: &args.tls, dry_run: args.dry_run };
    let mut names = of(&args.database_url).database().await.map_err(failed("DATABASE_URL"))?;
    let keys = args.key_store.key_store_url.as_ref().unwrap_or(&args.database_url);
    names.extend(of(keys).key_store().await.map_err(failed("KEY_STORE_URL"))?);
    let verb = if args.dry_run { "pending" } else { "applied" };
    names.iter().for_each(|name| println!("{verb} {name}"));
    println!("{} {verb}", names.len());
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Make the topics that are missing
    Create {
        #[command(flatten)]
        kafka: KafkaArgs,
        /// Partitions of each new topic
        #[arg(long, env = "TOPIC_PARTITIONS", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
        partitions: i32,
    },
    /// Say which topics could lose acknowledged records; exit 1 when one could
    Check {
        #[command(flatten)]
        kafka: KafkaArgs,
    },
}

pub async fn topics(command: TopicsCommand) -> Result<ExitCode, Failure> {
    match command {
        TopicsCommand::Create { kafka, partitions } => match create_topics(&kafka, partitions).await {
            Ok(made) => {
                made.iter().for_each(|name| println!("created {name}"));
                println!("{} created", made.len());
                Ok(ExitCode::SUCCESS)
            }
            Err(StartError::Config(error)) if error.setting == "ALLOW_UNSAFE_LOG" => {
                Err(Failure::Check(error.to_string()))
            }
            Err(error) => Err(error.into()),
        },
        TopicsCommand::Check { kafka } => {
            let states = inspect_topics(&kafka).await?;
            for state in &states {
                let verdict =
                    if state.problems.is_empty() { "ok".to_owned() } else { state.problems.join("; ") };
                println!("{} ({} partitions): {verdict}", state.name, state.partitions);
            }
            if states.iter().all(|s| s.problems.is_empty() || (kafka.allow_unsafe_log && s.partitions > 0)) {
                Ok(ExitCode::SUCCESS)
            } else {
                Err(Failure::Check("a topic could lose acknowledged records".to_owned()))
            }
        }
    }
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Member id
    #[arg(long, required_unless_present = "staff", conflicts_with = "staff")]
    member: Option<i64>,
    /// Staff name
    #[arg(long)]
    staff: Option<String>,
    /// Scopes of staff, separated by spaces
    #[arg(long, default_value = "", conflicts_with = "member")]
    scope: String,
    /// How long it is valid
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Folder of the embedded development key
    #[arg(long, env, default_value = "./data")]
    data_dir: PathBuf,
    /// The key itself; default: `dev.key` in the data folder
    #[arg(long, env)]
    auth_dev_key_file: Option<PathBuf>,
}

pub fn token(args: &TokenArgs) -> Result<ExitCode, Failure> {
    let path = args.auth_dev_key_file.clone().unwrap_or_else(|| dev_key_path(&args.data_dir));
    let bad = |e| ConfigError::new("AUTH_DEV_KEY_FILE", e);
    let key = DevKey::read(&path).map_err(bad)?;
    let token = match (args.member, &args.staff) {
        (Some(member), _) => key.issue_member(member, args.ttl),
        (None, staff) => key.issue_staff(staff.as_deref().unwrap_or_default(), &args.scope, args.ttl),
    };
    println!("{}", token.map_err(bad)?);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        token: super::TokenArgs,
    }

    #[test]
    fn a_token_is_for_a_member_or_for_staff() {
        let parses = |args: &[&str]| Cli::try_parse_from([&["token"], args].concat()).is_ok();
        assert!(parses(&["--member", "42", "--ttl", "5m"]));
        assert!(parses(&["--staff", "me", "--scope", "events:read events:write"]));
        for wrong in [&[][..], &["--member", "1", "--staff", "me"], &["--member", "1", "--scope", "x"]] {
            assert!(!parses(wrong), "{wrong:?}");
        }
    }
}
