//! `event-system serve`.

use std::process::ExitCode;

use clap::Args;
use shared_runtime::config::ConfigError;
use shared_runtime::lifecycle::{LifecycleArgs, OpsArgs, serve_ops};
use shared_runtime::telemetry::TelemetryArgs;
use tokio::net::TcpListener;

use crate::Failure;
use crate::system::{System, SystemArgs};

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    system: SystemArgs,
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    lifecycle: LifecycleArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

pub async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let metrics = args.telemetry.init()?;
    let life = args.lifecycle.build();
    life.listen_for_signals().map_err(|e| ConfigError::new("SIGTERM", e))?;
    let addr = args.ops.ops_addr;
    let ops =
        TcpListener::bind(addr).await.map_err(|e| ConfigError::new("OPS_ADDR", format!("{addr}: {e}")))?;
    // Until every role has started, /readyz must not say yes.
    let start = life.component("start");
    let ops = tokio::spawn(serve_ops(ops, life.clone(), metrics));
    let system = System::start(args.system, &life).await?;
    start.ready();
    println!("public   http://{}", system.public);
    println!("admin    http://{}", system.admin);
    println!("ops      http://{addr}");
    println!("stores   {}", if system.embedded { "embedded" } else { "real" });
    if let Some(key) = &system.dev_key {
        println!("dev key  {}", key.display());
        println!("try      curl -s http://{}/v1/events", system.public);
    }
    println!("ready");
    let code = life.run().await;
    system.producer.flush(std::time::Duration::from_secs(5)).await;
    drop(ops.await);
    Ok(code)
}
