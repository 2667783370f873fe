//! `POST /v1/entries/{entry_id}/claim`: a winner says how to be reached. The one request that writes the database; it
//! never enters the log (DESIGN section 8).

use std::sync::Arc;

use http::StatusCode;
use shared_domain::{Contact, ContactCollection, EntryId, EntryStatus};
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::log::producer::Producer;
use shared_runtime::redis::Decision;
use shared_runtime::store::Claimed;

use crate::snapshot::EventView;
use crate::{Edge, contact};

/// The handler.
pub(crate) async fn post<P: Producer>(
    edge: Arc<Edge<P>>,
    mut request: Request,
    params: Params,
) -> Result<Response, Problem> {
    let member = edge.verifier.verify_member(request.bearer()).await?.member_id;
    let entry = EntryId::parse(params.get("entry_id")).ok_or_else(Problem::entry_not_found)?;
    request.only_query(&[])?;
    let row = edge.results.by_member(member, entry).await?.ok_or_else(Problem::entry_not_found)?;
    let (event_id, won) = (row.event_id, row.status == i16::from(EntryStatus::Win.code()));
    let open = |event: &EventView| takes_claims(event, won, edge.clock.now_ms());
    let event = |edge: &Edge<P>| {
        // Deleted events are not in the snapshot, and their entries are nobody's to see.
        edge.snapshots.get()?.event(event_id).cloned().ok_or_else(Problem::entry_not_found)
    };
    let seen = event(&edge)?;
    open(&seen)?;
    if let Decision::Limited { retry_after_s } = edge.member_limit.check(event_id, member, seen.member_limit)
    {
        return Err(Problem::try_again(retry_after_s));
    }
    let limit = request.body_limit();
    let given: Contact = request.json(limit).await?;
    let given = contact::checked(given, "")?;

    // The body may have taken its time: from here on everything is as it is now.
    let seen = event(&edge)?;
    open(&seen)?;
    let now = edge.clock.now_ms();
    let sealed = contact::sealed(event_id, &seen.facts.definition, entry, &given)?;
    drop(given);
    let store = edge.store.clone();
    // A client that hangs up must not cancel a query.
    let kept = tokio::spawn(async move { store.claim(event_id, entry, member, &sealed, now).await });
    match kept.await {
        Ok(Ok(Claimed::Kept)) => Ok(Response::empty(StatusCode::NO_CONTENT)),
        Ok(Ok(Claimed::NotAWinner)) => Err(not_a_winner()),
        Ok(Ok(Claimed::EventGone)) => Err(Problem::entry_not_found()),
        Ok(Ok(Claimed::ErasedSince)) => {
            Err(Problem::unavailable("this member's contacts have just been erased; nothing was written")
                .with_retry_after(5))
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a claim could not be written");
            // A COMMIT may have been lost. Again is safe: it replaces.
            Err(Problem::outcome_unknown())
        }
        Err(died) => {
            tracing::error!(%died, "a claim died");
            Err(Problem::internal())
        }
    }
}

/// Errors: 409 when this event, this entry or this moment takes no claim.
fn takes_claims(event: &EventView, won: bool, now: i64) -> Result<(), Problem> {
    let definition = &event.facts.definition;
    if definition.contact_collection != ContactCollection::AfterWin || definition.contact_key.is_none() {
        return Err(Problem::conflict("CONTACT_NOT_ALLOWED", "the event takes no contacts from winners"));
    }
    if !won {
        return Err(not_a_winner());
    }
    if now >= definition.claim_until {
        return Err(Problem::conflict("CLAIM_CLOSED", "the time for claims is over"));
    }
    Ok(())
}

fn not_a_winner() -> Problem {
    Problem::conflict("NOT_A_WINNER", "the entry has not won")
}
