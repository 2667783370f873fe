//! `event-system serve`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use shared_runtime::service::{self, Process, ServiceArgs};

use crate::Failure;
use crate::system::{System, SystemArgs};

const FLUSH: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    system: SystemArgs,
    #[command(flatten)]
    service: ServiceArgs,
}

pub async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let start = async |process: &Process| {
        let system = System::start(args.system, &process.life).await?;
        println!("public   http://{}", system.public);
        println!("admin    http://{}", system.admin);
        println!("ops      http://{}", process.ops_addr);
        println!("stores   {}", if system.embedded { "embedded" } else { "real" });
        for key in &system.wrapping_keys {
            println!("key      {}", key.display());
        }
        if let Some(key) = &system.dev_key {
            println!("dev key  {}", key.display());
            println!("try      curl -s http://{}/v1/events", system.public);
        }
        println!("ready");
        process.at_end(async move {
            system.producer.flush(FLUSH).await;
            // And with it the embedded servers.
            drop(system);
        });
        Ok(())
    };
    Ok(service::run(env!("CARGO_PKG_NAME"), args.service, start).await?)
}
