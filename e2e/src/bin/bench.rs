//! `make bench`: figures on the real stack, printed as one table. Exit code 1 if a bar was missed.
#![allow(clippy::print_stdout)] // its table is its purpose

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::bench::{
    Table, activities, capacity, decide, draw, gateway, http, memory, my_entries, raffle, replay, streams,
    winners,
};

/// Ours beside the raw ceiling, interleaved; median and range
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    /// Repetitions of each
    #[arg(long, global = true, default_value_t = 5)]
    repetitions: usize,
    /// Entries preloaded for parts (a), (f) and (j), sent in (k); activities for (i)
    #[arg(long, global = true, default_value_t = 200_000)]
    entries: i64,
    /// Requests a run in parts (b) and (g)
    #[arg(long, global = true, default_value_t = 100_000)]
    requests: i64,
    /// Records behind in part (c)
    #[arg(long, global = true, default_value_t = 1_000_000)]
    backlog: i64,
    /// Open connections in part (c)
    #[arg(long, global = true, default_value_t = 5_000)]
    connections: usize,
    /// Entrants in parts (d) and (f)
    #[arg(long, global = true, default_value_t = 1_000_000)]
    entrants: u64,
    /// Winners in part (e)
    #[arg(long, global = true, default_value_t = 100_000)]
    winners: i64,
    /// Streams in part (h)
    #[arg(long, global = true, default_value_t = 10_000)]
    streams: usize,
}

#[derive(Subcommand)]
enum Part {
    /// (a) Topic to row
    Decide,
    /// (b) Accepted and refused requests
    Gateway,
    /// (c) Memory of worker and gateway
    Memory,
    /// (d) Selection of a draw's winners; needs no stores
    Draw,
    /// (e) Export of winners
    Winners,
    /// (f) Entries and a whole draw of a raffle
    Raffle,
    /// (g) Members' lists of entries
    MyEntries,
    /// (h) Open result streams
    Streams,
    /// (i) Activities, topic to progress
    Activities,
    /// (j) Replay of a lane
    Replay,
    /// (k) What a million entries cost in CPU and bytes
    Capacity,
    /// The bare route that (b) and (g) compare with
    #[command(hide = true)]
    BareWarp { addr: SocketAddr, answer: PathBuf, route: http::BareRoute },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut table = Table::default();
    let part = |wanted: fn(&Part) -> bool| cli.part.as_ref().is_none_or(wanted);
    if let Some(Part::BareWarp { addr, answer, route }) = &cli.part {
        http::bare_warp(*addr, std::fs::read(answer).expect("the answer"), *route).await;
        return ExitCode::SUCCESS;
    }
    if part(|p| matches!(p, Part::Decide)) {
        println!("(a) decided entries");
        decide::bench(&mut table, cli.repetitions, cli.entries).await;
    }
    if part(|p| matches!(p, Part::Gateway)) {
        println!("(b) gateway");
        gateway::bench(&mut table, cli.repetitions, cli.requests).await;
    }
    if part(|p| matches!(p, Part::Memory)) {
        println!("(c) memory");
        memory::bench(&mut table, cli.backlog, cli.connections).await;
    }
    if part(|p| matches!(p, Part::Draw)) {
        println!("(d) draw");
        draw::bench(&mut table, cli.repetitions, cli.entrants);
    }
    if part(|p| matches!(p, Part::Winners)) {
        println!("(e) winners");
        winners::bench(&mut table, cli.repetitions, cli.winners).await;
    }
    if part(|p| matches!(p, Part::Raffle)) {
        println!("(f) raffle");
        let entrants = i64::try_from(cli.entrants).expect("fits");
        raffle::bench(&mut table, cli.repetitions, cli.entries, entrants).await;
    }
    if part(|p| matches!(p, Part::MyEntries)) {
        println!("(g) members' lists");
        my_entries::bench(&mut table, cli.repetitions, cli.requests).await;
    }
    if part(|p| matches!(p, Part::Streams)) {
        println!("(h) streams");
        streams::bench(&mut table, cli.repetitions, cli.streams).await;
    }
    if part(|p| matches!(p, Part::Activities)) {
        println!("(i) activities");
        activities::bench(&mut table, cli.repetitions, cli.entries).await;
    }
    if part(|p| matches!(p, Part::Replay)) {
        println!("(j) replay");
        replay::bench(&mut table, cli.repetitions, cli.entries).await;
    }
    if part(|p| matches!(p, Part::Capacity)) {
        println!("(k) capacity");
        capacity::bench(&mut table, cli.repetitions, cli.entries).await;
    }
    let (text, missed) = table.finish();
    println!("\nmedian (range) of {} repetitions{text}", cli.repetitions);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
