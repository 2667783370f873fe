//! Settings of a process's life.

use std::net::SocketAddr;
use std::time::Duration;

/// Time to end. Statement timeout < drain < global < the orchestrator's grace period.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Shutdown")]
pub struct LifecycleArgs {
    /// Time for one part of the process to finish what it has begun
    #[arg(long, env, default_value = "15s", value_parser = humantime::parse_duration)]
    pub drain_budget: Duration,
    /// Time for all of them together; stay below the orchestrator's grace period
    #[arg(long, env, default_value = "30s", value_parser = humantime::parse_duration)]
    pub shutdown_budget: Duration,
}

impl LifecycleArgs {
    /// A life with these budgets.
    pub fn build(&self) -> super::Lifecycle {
        super::Lifecycle::new(self.drain_budget, self.shutdown_budget)
    }
}

impl Default for LifecycleArgs {
    fn default() -> Self {
        Self { drain_budget: Duration::from_secs(15), shutdown_budget: Duration::from_secs(30) }
    }
}

/// The ops listener.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Operations")]
pub struct OpsArgs {
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env, default_value = "127.0.0.1:9090")]
    pub ops_addr: SocketAddr,
}

impl OpsArgs {
    /// Gives a binary (and its subcommands) its own default address, so that `--help` shows it.
    pub fn with_default(command: clap::Command, addr: &'static str) -> clap::Command {
        let own = |command: clap::Command| {
            let has = command.get_arguments().any(|arg| arg.get_id() == "ops_addr");
            if has { command.mut_arg("ops_addr", |arg| arg.default_value(addr)) } else { command }
        };
        own(command).mut_subcommands(own)
    }
}
