//! `reconcile` on the embedded column: SQLite beside a log in memory.
#![allow(clippy::expect_used)]

use e2e::column::Column;
use e2e::reconciled::names_each_difference;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconcile_names_each_difference_and_puts_right_what_only_counts() {
    names_each_difference(&Column::embedded().await).await;
}
