//! Beacons besides the built-in one.

use std::path::PathBuf;

use shared_domain::draw::Chains;

use crate::config::ConfigError;

/// Which drand chains are known.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DrandArgs {
    /// drand chains besides quicknet: a JSON list of what their nodes serve as `/info`
    #[arg(long, env, value_name = "FILE")]
    pub drand_chains_file: Option<PathBuf>,
}

impl DrandArgs {
    /// Quicknet, and the chains of the file. Errors: a file that is missing or wrong.
    pub fn read(&self) -> Result<Chains, ConfigError> {
        let Some(path) = &self.drand_chains_file else { return Ok(Chains::default()) };
        let bad = |e: &dyn std::fmt::Display| {
            ConfigError::new("DRAND_CHAINS_FILE", format_args!("{}: {e}", path.display()))
        };
        Chains::with(&std::fs::read_to_string(path).map_err(|e| bad(&e))?).map_err(|e| bad(&e))
    }
}
