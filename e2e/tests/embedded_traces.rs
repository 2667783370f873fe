//! Traces on the embedded column: `event-system serve`.

use e2e::traces;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_followed_from_its_caller_to_the_transaction() {
    let (system, collector) = traces::traced(true).await;
    traces::from_the_caller_to_the_transaction(&system, &collector).await;
    traces::a_wrong_context_is_ignored(&system, &collector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_collector_costs_nobody_time() {
    traces::a_hanging_collector_costs_nobody_time(true).await;
}
