//! What is counted over all events.

use shared_domain::EventId;
use shared_domain::draw::DrawPhase;

use super::error_class::StoreError;
use super::rows::DrawRow;
use super::{Store, on_connection};

/// Events asked for at once.
const IDS: usize = 1_000;

impl Store {
    /// Events that are parked in a lane, and their records that wait.
    pub async fn parked_totals(&self) -> Result<(i64, i64), StoreError> {
        on_connection!(self, |q, conn| q::oversight::parked(conn).await)
    }

    /// How many draws are in each phase.
    pub async fn draws_by_phase(&self) -> Result<Vec<(DrawPhase, i64)>, StoreError> {
        let found = on_connection!(self, |q, conn| q::oversight::draws_by_phase(conn).await)?;
        let draws = |phase| {
            let code = DrawRow::phase_code(phase);
            found.iter().filter(|(other, _)| *other == code).map(|(_, draws)| draws).sum()
        };
        Ok(DrawPhase::ALL.into_iter().map(|phase| (phase, draws(phase))).collect())
    }

    /// Prizes of each option and lane of these events, unsummed.
    pub async fn prizes(&self, events: &[EventId]) -> Result<Vec<(EventId, i64)>, StoreError> {
        let mut prizes = Vec::new();
        for events in events.chunks(IDS) {
            prizes.extend(on_connection!(self, |q, conn| q::oversight::prizes(conn, events).await)?);
        }
        Ok(prizes)
    }
}
