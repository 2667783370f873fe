//! Pages of several members' lists in one query. A limit for each member is a subquery for each, as many as there are
//! members: that is no expression of the query builder, so the text stands here, once for both databases.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, SmallInt, Text};
use diesel_async::{AsyncConnectionCore, RunQueryDsl};

use super::Conn;
use super::entries::shown;
use crate::store::error_class::StoreError;
use crate::store::member_entries::{ListPage, ListedEntry};
use crate::store::rows::EntryRow;

type Backend = <Conn as AsyncConnectionCore>::Backend;

/// By (`member_id`, `event_id`): a member's entries are found by the index and sorted.
const PAGE: &str = "FROM event_entry e \
    JOIN events v ON v.event_id = e.event_id \
    LEFT JOIN event_stock s \
      ON s.event_id = e.event_id AND s.lane = e.lane AND s.option_index = e.option_index \
    WHERE e.member_id = ? AND v.deleted_at IS NULL \
      AND NOT EXISTS (SELECT 1 FROM event_lane l WHERE l.event_id = e.event_id AND l.deleted_offset IS NOT NULL) \
      AND (e.accepted_at < ? OR (e.accepted_at = ? AND (e.event_id < ? OR (e.event_id = ? \
        AND (e.lane < ? OR (e.lane = ? AND e.seq < ?)))))) \
    ORDER BY e.accepted_at DESC, e.event_id DESC, e.lane DESC, e.seq DESC LIMIT ?";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    page: i64,
    #[diesel(embed)]
    entry: EntryRow,
    #[diesel(sql_type = Nullable<Text>)]
    option_name: Option<String>,
    #[diesel(sql_type = SmallInt)]
    event_type: i16,
    #[diesel(sql_type = SmallInt)]
    lifecycle: i16,
}

/// The pages, in their order.
pub async fn pages(conn: &mut Conn, pages: &[ListPage]) -> Result<Vec<Vec<ListedEntry>>, StoreError> {
    if pages.is_empty() {
        return Ok(Vec::new());
    }
    let parts = (0..pages.len()).map(|page| {
        format!(
            "SELECT * FROM (SELECT {page} AS page, e.event_id, e.lane, e.seq, e.entry_id, e.member_id, e.status, e.reason, \
             e.option_index, e.reward_amount, e.entry_rank, e.log_offset, e.accepted_at, e.decided_at, e.missions, s.option_name, \
             v.event_type, v.lifecycle {PAGE}) AS one"
        )
    });
    let text = parts.collect::<Vec<_>>().join(" UNION ALL ");
    let mut query = diesel::sql_query(text).into_boxed::<Backend>();
    for ListPage { member, after, limit } in pages {
        query = query
            .bind::<BigInt, _>(*member)
            .bind::<BigInt, _>(after.accepted_at)
            .bind::<BigInt, _>(after.accepted_at)
            .bind::<BigInt, _>(after.event)
            .bind::<BigInt, _>(after.event)
            .bind::<Integer, _>(after.lane)
            .bind::<Integer, _>(after.lane)
            .bind::<BigInt, _>(after.seq)
            .bind::<BigInt, _>(*limit);
    }
    let found: Vec<Found> = query.load(conn).await?;
    let mut lists = vec![Vec::new(); pages.len()];
    for Found { page, entry, option_name, event_type, lifecycle } in found {
        let list = usize::try_from(page).ok().and_then(|page| lists.get_mut(page));
        let entry = ListedEntry { row: shown((entry, (event_type, lifecycle))), option: option_name };
        list.ok_or_else(|| StoreError::fatal("a page that was not asked for"))?.push(entry);
    }
    for list in &mut lists {
        // A union has no order of its own.
        list.sort_unstable_by_key(|ListedEntry { row, .. }| {
            std::cmp::Reverse((row.accepted_at, row.event_id, row.lane, row.seq))
        });
    }
    Ok(lists)
}
