//! The append-only audit log, and the answers kept under idempotency keys.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::rows::{AuditLine, KeptAnswer};
use crate::store::schema::{audit_log, idempotency_key as k};

/// Appends one line.
pub async fn append(conn: &mut Conn, line: &AuditLine) -> Result<(), StoreError> {
    diesel::insert_into(audit_log::table).values(line).execute(conn).await?;
    Ok(())
}

/// The answer kept under a key, if any.
pub async fn kept_answer(
    conn: &mut Conn,
    actor: &str,
    route: &str,
    key: &str,
) -> Result<Option<KeptAnswer>, StoreError> {
    Ok(k::table
        .filter(k::actor.eq(actor))
        .filter(k::route.eq(route))
        .filter(k::request_key.eq(key))
        .select(KeptAnswer::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Keeps an answer; a duplicate key is an error of class Data.
pub async fn keep_answer(conn: &mut Conn, answer: &KeptAnswer) -> Result<(), StoreError> {
    diesel::insert_into(k::table).values(answer).execute(conn).await?;
    Ok(())
}
