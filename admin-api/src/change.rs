//! The way of every change: who, which event, what, and the answer that is kept.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use shared_domain::EventId;
use shared_runtime::auth::Staff;
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::store::Store;
use shared_runtime::store::commands::{
    Answered, Change, Changed, CommandError, EventFacts, RequestKey, StaffRequest,
};
use shared_runtime::store::error_class::StoreError;

use crate::{Admin, certificate, problem, view};

const KEY_MAX: usize = 64;

impl Admin {
    /// First of all: who asks, and whether they may.
    // A request is not Sync, so its parts are taken before the future begins.
    pub(crate) fn staff(
        &self,
        request: &Request,
        scope: &'static str,
    ) -> impl Future<Output = Result<Staff, Problem>> + Send + use<> {
        let (verifier, token) = (Arc::clone(&self.parts.verifier), request.bearer().map(str::to_owned));
        let is_open = self.eraser.is_open();
        async move {
            let staff = verifier.verify_staff(token.as_deref()).await.map_err(problem::of_auth)?;
            staff.require_scope(scope).map_err(problem::of_auth)?;
            // A restored database may still hold what was erased.
            if is_open { Ok(staff) } else { Err(Problem::unavailable("starting")) }
        }
    }

    /// Then: which event. Before the body is looked at.
    pub(crate) async fn event_of(&self, params: &Params) -> Result<EventId, Problem> {
        let id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
        let row = self.ask(move |store| async move { store.event(id).await }).await?;
        row.map(|row| row.event_id).ok_or_else(Problem::event_not_found)
    }

    /// Asks the store in a task of its own: a client that hangs up must not cancel a query.
    pub(crate) async fn ask<T, F, A>(&self, question: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> A,
        A: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match tokio::spawn(question(self.parts.store.clone())).await {
            Ok(answer) => answer.map_err(|error| problem::of_store(&error)),
            Err(died) => {
                tracing::error!(%died, "a query died");
                Err(Problem::internal())
            }
        }
    }

    /// Makes a change and answers with `status`.
    pub(crate) fn make<B: Serialize>(
        &self,
        request: &Request,
        staff: &Staff,
        body: &B,
        status: u16,
        change: Change,
    ) -> impl Future<Output = Result<Answered, Problem>> + Send + use<B> {
        let now = self.parts.clock.now_ms();
        let key = request.only_query(&[]).and_then(|()| key_of(request, body));
        let asked = key.map(|key| StaffRequest {
            actor: staff.name.clone(),
            request_id: request.request_id().to_owned(),
            route: format!("{} {}", request.method, request.path),
            key,
            now,
        });
        let (admin, trace) = (self.clone(), request.trace());
        async move {
            let work = admin.work(asked?, status, change);
            match tokio::spawn(work).await {
                Ok(answer) => {
                    let answered = answer.map_err(problem::of_command)?;
                    if let Some(Changed::Command(command)) = &answered.changed {
                        trace.made_command(command.command_id);
                    }
                    Ok(answered)
                }
                Err(died) => {
                    tracing::error!(%died, "a change died");
                    Err(Problem::internal())
                }
            }
        }
    }

    async fn work(self, asked: StaffRequest, status: u16, change: Change) -> Result<Answered, CommandError> {
        let now = asked.now;
        let parts = &self.parts;
        let lives = (parts.backup_life, parts.log_life);
        let render = move |changed: &Changed| (status, render(changed, now, lives));
        let answered = parts.store.change(&asked, &change, &*parts.random, &render).await?;
        self.wake.notify_one();
        self.wake_draws.notify_one();
        if matches!(change, Change::Delete(_)) {
            self.eraser.wake();
        }
        if let (Change::Limits(event, _) | Change::HighTraffic(event, _), Some(_)) =
            (&change, &answered.changed)
        {
            self.mirror(*event).await;
        }
        Ok(answered)
    }
}

fn render(changed: &Changed, now: i64, lives: (Duration, Option<Duration>)) -> String {
    let text = match changed {
        Changed::Event(row) => serde_json::to_string(&view::event(row, &EventFacts::default(), now)),
        Changed::Command(command) => serde_json::to_string(&view::command(command)),
        Changed::Draw(_, draw_id) => serde_json::to_string(&view::DrawRequested { draw_id: *draw_id }),
        Changed::Erasure(erasure) => {
            serde_json::to_string(&certificate::of_member(erasure, lives.0, lives.1))
        }
    };
    // Strings, numbers and maps under string keys always serialise.
    text.unwrap_or_default()
}

/// The Idempotency-Key with the hash of what was asked: bodies that mean the same are the same.
pub(crate) fn key_of<B: Serialize>(request: &Request, body: &B) -> Result<Option<RequestKey>, Problem> {
    let Some(value) = request.headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    let printable = key.bytes().all(|b| (b' '..=b'~').contains(&b));
    if key.is_empty() || key.len() > KEY_MAX || !printable {
        let detail = format_args!("must be 1 to {KEY_MAX} printable characters");
        return Err(Problem::invalid("header:Idempotency-Key", detail));
    }
    let bytes = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(Some(RequestKey { key: key.to_owned(), body_hash: Sha256::digest(bytes).to_vec() }))
}

/// The answer over HTTP.
pub(crate) fn answer(answered: Answered) -> Response {
    let status = http_status(answered.status);
    Response::bytes(status, warp::http::HeaderValue::from_static("application/json"), answered.body.into())
}

fn http_status(status: u16) -> warp::http::StatusCode {
    warp::http::StatusCode::from_u16(status).unwrap_or(warp::http::StatusCode::OK)
}
