//! The rows that stand beside an event from its draft and its scheduling on: made by staff, or by a worker where the database
//! does not know the event.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EventDefinition, EventId, Lifecycle, Reward};

use super::{Conn, draw, erasure, mission};
use crate::store::error_class::{StoreError, is_duplicate_key};
use crate::store::schema::{event_lock, event_reward, events};

/// Makes the rows of an event that this database does not know: a replay, or a restore from before it was scheduled.
pub async fn recreate_event(
    conn: &mut Conn,
    event: EventId,
    definition: &EventDefinition,
    record: &[u8],
    now: i64,
) -> Result<(), StoreError> {
    // A backup from before its scheduling, of an event that is deleted by now: the list of deletions was there first.
    let is_deleted = !erasure::among(conn, &[event], &[]).await?.is_empty();
    let bare = if is_deleted { Some(erasure::without_salt(event, record)?) } else { None };
    let made = diesel::insert_into(events::table)
        .values((
            events::event_id.eq(event),
            events::lifecycle.eq(Lifecycle::Scheduled.code()),
            events::paused.eq(false),
            events::title.eq(&definition.title),
            events::content.eq(&definition.content),
            events::event_type.eq(definition.event_type as i16),
            events::starts_at.eq(definition.period.starts_at()),
            events::ends_at.eq(definition.period.ends_at()),
            events::scheduled.eq(Some(bare.as_deref().unwrap_or(record))),
            events::topic.eq(Some(&definition.topic)),
            events::lane_count.eq(definition.lanes.len() as i32),
            events::salt.eq(Some(&definition.salt).filter(|_| !is_deleted)),
            events::claim_until.eq(Some(definition.claim_until)),
            events::deleted_at.eq(Some(now).filter(|_| is_deleted)),
            events::version.eq(1i64),
            events::created_at.eq(now),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await;
    match made {
        Ok(_) => {}
        // Another lane of the same event was faster.
        Err(error) if is_duplicate_key(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    insert_lock_and_reward(conn, event, definition.reward).await?;
    insert_at_scheduling(conn, event, definition).await
}

/// What scheduling made for the event: its wrapped reward key, its missions, and a raffle's draw.
pub async fn insert_at_scheduling(
    conn: &mut Conn,
    event: EventId,
    definition: &EventDefinition,
) -> Result<(), StoreError> {
    let key = &definition.wrapped_keys.reward_key;
    if !key.is_empty() {
        diesel::update(event_reward::table.filter(event_reward::event_id.eq(event)))
            .set(event_reward::wrapped_key.eq(Some(key)))
            .execute(conn)
            .await?;
    }
    mission::insert(conn, event, &definition.missions).await?;
    draw::insert(conn, event, definition).await
}

/// The rows that stand beside an event from its scheduling on.
pub async fn insert_lock_and_reward(
    conn: &mut Conn,
    event: EventId,
    reward: Reward,
) -> Result<(), StoreError> {
    diesel::insert_into(event_lock::table)
        .values((
            event_lock::event_id.eq(event),
            event_lock::lock_key.eq(format!("EVENT_DRAW_{event}")),
            event_lock::next_ordinal.eq(1i64),
        ))
        .execute(conn)
        .await?;
    insert_reward(conn, event, reward).await
}

/// The reward policy, for people who look at the database.
pub async fn insert_reward(conn: &mut Conn, event: EventId, reward: Reward) -> Result<(), StoreError> {
    let (name, fixed, range, target) = match reward {
        Reward::Fixed(amount) => ("FIXED", Some(amount), None, None),
        Reward::Random(range) => ("RANDOM", None, Some(range), None),
        Reward::AverageRandom(aim) => ("AVERAGE_RANDOM", None, Some(aim.range()), Some(aim.target())),
    };
    diesel::insert_into(event_reward::table)
        .values((
            event_reward::event_id.eq(event),
            event_reward::reward_type.eq(name),
            event_reward::fixed_amount.eq(fixed),
            event_reward::min_amount.eq(range.map(|r| r.min())),
            event_reward::max_amount.eq(range.map(|r| r.max())),
            event_reward::target_average.eq(target),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
