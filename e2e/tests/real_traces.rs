//! Traces on the real column: each service a process of its own.
#![allow(clippy::expect_used)]

use e2e::system::System;
use e2e::traces;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_followed_from_its_caller_to_the_transaction() {
    let (system, collector) = traces::traced(false).await;
    traces::from_the_caller_to_the_transaction(&system, &collector).await;
    traces::a_wrong_context_is_ignored(&system, &collector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_not_trace_makes_up_no_context() {
    let system = System::real("traces").await;
    traces::off_nothing_is_made_up(&system, system.column().expect("real")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_collector_costs_nobody_time() {
    traces::a_hanging_collector_costs_nobody_time(false).await;
}
