//! A block of winners and alternates as INSERT text, for the same reason as a batch of entries: 7,000 parameters to prepare
//! cost more than a thousand rows. Every value is a number or hexadecimal.

use std::fmt::Write as _;

use diesel::QueryResult;
use diesel::result::Error;
use diesel_async::SimpleAsyncConnection;

use super::Conn;
use super::entry_insert::push_nullable;
use crate::store::rows::DrawResultRow;

const HEAD: &str = "INSERT INTO `draw_result` (event_id, place, entry_id, entry_rank, alternate, reward_amount, \
                    disqualified) VALUES ";
/// Enough for a row of usual numbers.
const ROW_BYTES: usize = 96;

/// Inserts all rows, or none.
pub async fn insert_result_rows(conn: &mut Conn, rows: Vec<DrawResultRow>) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = statement(&rows).map_err(|e| Error::QueryBuilderError(e.into()))?;
    conn.batch_execute(&sql).await
}

fn statement(rows: &[DrawResultRow]) -> Result<String, std::fmt::Error> {
    let mut sql = String::with_capacity(HEAD.len() + rows.len() * ROW_BYTES);
    sql.push_str(HEAD);
    for (n, row) in rows.iter().enumerate() {
        // Every field by name: a new column does not compile until it stands here.
        let DrawResultRow { event_id, place, entry_id, entry_rank, alternate, reward_amount, disqualified } =
            row;
        let comma = if n == 0 { "" } else { "," };
        write!(sql, "{comma}({event_id},{place},x'")?;
        for byte in entry_id {
            write!(sql, "{byte:02x}")?;
        }
        sql.push_str("',");
        push_nullable(&mut sql, *entry_rank)?;
        push_nullable(&mut sql, *alternate)?;
        write!(sql, "{reward_amount},{})", u8::from(*disqualified))?;
    }
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_one_statement() {
        let winner = DrawResultRow {
            event_id: 7,
            place: 1,
            entry_id: vec![0, 0xff],
            entry_rank: Some(1),
            alternate: None,
            reward_amount: i64::MAX,
            disqualified: false,
        };
        let alternate = DrawResultRow {
            place: 2,
            entry_rank: None,
            alternate: Some(1),
            reward_amount: 0,
            disqualified: true,
            ..winner.clone()
        };
        let sql = statement(&[winner, alternate]).unwrap();
        let rows = "VALUES (7,1,x'00ff',1,NULL,9223372036854775807,0),(7,2,x'00ff',NULL,1,0,1)";
        assert!(sql.ends_with(rows), "{sql}");
    }
}
