//! `verify`: recomputes a published draw from its record and its list, with no network.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use shared_domain::draw::{DrawRecord, ENTRANTS_HEADER, Entrant, Report, Verifier};
use shared_runtime::config::ConfigError;
use shared_runtime::draw::DrandArgs;

use crate::Failure;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Draw record (the JSON of `GET /v1/events/{id}/draw`), or `-` for standard input
    record: PathBuf,
    /// List of entrants (the CSV of `GET /v1/events/{id}/draw/entrants`); without it winners cannot be recomputed
    #[arg(long, value_name = "FILE")]
    entrants: Option<PathBuf>,
    #[command(flatten)]
    drand: DrandArgs,
}

pub fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let record = read_record(&args.record)?;
    let chains = args.drand.read()?;
    let verifier = Verifier::new(&record, &chains);
    let report = match &args.entrants {
        None => verifier.without_list(),
        Some(path) => with_list(verifier, path)?,
    };
    println!("event {}, draw {}, phase {:?}", record.event_id, record.draw_id, record.phase);
    report.checks.iter().for_each(|check| println!("{check}"));
    verdict(&report)
}

fn verdict(report: &Report) -> Result<ExitCode, Failure> {
    let (failed, open) = (report.failed().count(), report.not_checked().count());
    if failed > 0 {
        let names: Vec<_> = report.failed().map(|c| c.name.as_str()).collect();
        return Err(Failure::Check(format!("the draw does not verify: {}", names.join(", "))));
    }
    match open {
        0 => println!("the draw verifies"),
        n => println!("nothing failed, but {n} checks could not be made"),
    }
    Ok(ExitCode::SUCCESS)
}

fn read_record(path: &Path) -> Result<DrawRecord, ConfigError> {
    let bad = |e: &dyn std::fmt::Display| ConfigError::new("RECORD", format_args!("{}: {e}", path.display()));
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(|e| bad(&e))?;
    } else {
        text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
    }
    serde_json::from_str(&text).map_err(|e| bad(&format_args!("is no draw record: {e}")))
}

fn with_list(mut verifier: Verifier<'_>, path: &Path) -> Result<Report, ConfigError> {
    let bad = |at: usize, e: &dyn std::fmt::Display| {
        ConfigError::new("--entrants", format_args!("{}, line {at}: {e}", path.display()))
    };
    let file = File::open(path)
        .map_err(|e| ConfigError::new("--entrants", format_args!("{}: {e}", path.display())))?;
    let mut lines = BufReader::new(file).lines().zip(1..).map(|(line, at)| (at, line));
    let header = lines.next().and_then(|(_, line)| line.ok()).unwrap_or_default();
    if header.trim_end_matches('\r') != ENTRANTS_HEADER {
        return Err(bad(1, &format_args!("must be the header `{ENTRANTS_HEADER}`")));
    }
    for (at, line) in lines {
        let line = line.map_err(|e| bad(at, &e))?;
        let entrant = Entrant::parse(line.trim_end_matches('\r')).map_err(|e| bad(at, &e))?;
        verifier.push(&entrant);
    }
    Ok(verifier.finish())
}
