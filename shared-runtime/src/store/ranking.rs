//! What the ranking of events is made of.

use std::collections::BTreeMap;

use shared_domain::{EventId, Millis};

use super::error_class::StoreError;
use super::{Store, on_connection};

impl Store {
    /// Entries accepted by each event that gateways show: committed ones. `closed_after` and `now` as in
    /// [`snapshot`](Self::snapshot).
    pub async fn accepted_totals(
        &self,
        closed_after: Millis,
        now: Millis,
    ) -> Result<BTreeMap<EventId, i64>, StoreError> {
        on_connection!(self, |q, conn| q::ranking::totals(conn, closed_after, now).await)
    }
}
