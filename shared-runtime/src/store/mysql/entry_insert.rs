//! The one statement that everything waits for: a batch of entries as INSERT text.
//!
//! Diesel's batch insert prepares a statement with 14 parameters a row each time, which costs about as much again as the
//! rows themselves (`make bench` shows both). Every value here is a number or hexadecimal, so nothing can be injected.

use std::fmt::Write as _;

use diesel::QueryResult;
use diesel::result::Error;
use diesel_async::SimpleAsyncConnection;

use super::Conn;
use crate::store::rows::EntryRow;

const HEAD: &str = "INSERT INTO event_entry (event_id, lane, seq, entry_id, member_id, status, reason, option_index, \
                    reward_amount, entry_rank, log_offset, accepted_at, decided_at, missions) VALUES ";
/// Enough for a row of usual numbers.
const ROW_BYTES: usize = 160;

/// Inserts all rows, or none.
pub async fn insert_entry_rows(conn: &mut Conn, rows: &[EntryRow]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = statement(rows).map_err(|e| Error::QueryBuilderError(e.into()))?;
    conn.batch_execute(&sql).await
}

fn statement(rows: &[EntryRow]) -> Result<String, std::fmt::Error> {
    let mut sql = String::with_capacity(HEAD.len() + rows.len() * ROW_BYTES);
    sql.push_str(HEAD);
    for (n, row) in rows.iter().enumerate() {
        // Every field by name: a new column does not compile until it stands here.
        let EntryRow {
            event_id,
            lane,
            seq,
            entry_id,
            member_id,
            status,
            reason,
            option_index,
            reward_amount,
            entry_rank,
            log_offset,
            accepted_at,
            decided_at,
            missions,
        } = row;
        let comma = if n == 0 { "" } else { "," };
        write!(sql, "{comma}({event_id},{lane},{seq},x'")?;
        for byte in entry_id {
            write!(sql, "{byte:02x}")?;
        }
        write!(sql, "',{member_id},{status},")?;
        push_nullable(&mut sql, reason.map(i64::from))?;
        push_nullable(&mut sql, option_index.map(i64::from))?;
        write!(sql, "{reward_amount},")?;
        push_nullable(&mut sql, *entry_rank)?;
        write!(sql, "{log_offset},{accepted_at},{decided_at},{missions})")?;
    }
    Ok(sql)
}

/// A number or NULL, and a comma.
pub(super) fn push_nullable(sql: &mut String, value: Option<i64>) -> std::fmt::Result {
    match value {
        Some(value) => write!(sql, "{value},"),
        None => sql.write_str("NULL,"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_one_statement() {
        let row = EntryRow {
            event_id: 7,
            lane: 0,
            seq: 1,
            entry_id: vec![0, 0xff],
            member_id: -3,
            status: 2,
            reason: None,
            option_index: Some(0),
            reward_amount: i64::MAX,
            entry_rank: None,
            log_offset: 9,
            accepted_at: 10,
            decided_at: 11,
            missions: 5,
        };
        let loser =
            EntryRow { seq: 2, reason: Some(4), option_index: None, entry_rank: Some(1), ..row.clone() };
        let sql = statement(&[row, loser]).unwrap();
        assert!(
            sql.ends_with(
                "VALUES (7,0,1,x'00ff',-3,2,NULL,0,9223372036854775807,NULL,9,10,11,5),\
             (7,0,2,x'00ff',-3,2,4,NULL,9223372036854775807,1,9,10,11,5)"
            ),
            "{sql}"
        );
    }
}
