//! The routes of the admin listener (API "Admin listener").

use std::sync::Arc;

use shared_runtime::config::ConfigError;
use shared_runtime::http::{HttpLimits, Problem, Response, Router};
use shared_runtime::traces::Callers;
use warp::http::Method;

use crate::{Admin, commands, deletion, desk, docs, draws, events, stats, winners};

pub(crate) const READ: &str = "events:read";
pub(crate) const WRITE: &str = "events:write";
pub(crate) const OPS: &str = "ops:write";
pub(crate) const DRAWS: &str = "draws:run";
pub(crate) const CONTACTS: &str = "contacts:read";

pub(crate) type Answer = Result<Response, Problem>;

/// All routes.
pub(crate) fn router(admin: Arc<Admin>, limits: HttpLimits) -> Result<Router<Admin>, ConfigError> {
    let limit = limits.body_limit;
    Ok(Router::new(admin, limits)?
        .route(Method::POST, "/admin/v1/events", events::create, docs::create_event())
        .route(Method::GET, "/admin/v1/events", events::list, docs::list_events())
        .route(Method::GET, "/admin/v1/events/{event_id}", events::get, docs::get_event())
        .route(Method::PATCH, "/admin/v1/events/{event_id}", events::patch, docs::patch_event())
        .route(Method::DELETE, "/admin/v1/events/{event_id}", deletion::delete, docs::delete_event(limit))
        .route(Method::GET, "/admin/v1/events/{event_id}/deletion", deletion::get, docs::get_deletion())
        .route(
            Method::POST,
            "/admin/v1/events/{event_id}/schedule",
            commands::schedule,
            docs::schedule(limit),
        )
        .route(Method::POST, "/admin/v1/events/{event_id}/pause", commands::pause, docs::pause(limit))
        .route(Method::POST, "/admin/v1/events/{event_id}/resume", commands::resume, docs::resume(limit))
        .route(Method::POST, "/admin/v1/events/{event_id}/close", commands::close, docs::close(limit))
        .route(Method::POST, "/admin/v1/events/{event_id}/stock", commands::add_stock, docs::add_stock(limit))
        .route(Method::PUT, "/admin/v1/events/{event_id}/limits", commands::limits, docs::limits(limit))
        .route(
            Method::PUT,
            "/admin/v1/events/{event_id}/high-traffic",
            commands::high_traffic,
            docs::high_traffic(limit),
        )
        .route(Method::PUT, "/admin/v1/events/{event_id}/approval", commands::approval, docs::approval(limit))
        .route(Method::POST, "/admin/v1/events/{event_id}/draw", draws::run, docs::run_draw(limit))
        .route(Method::GET, "/admin/v1/events/{event_id}/draw", draws::get, docs::get_draw())
        .route(
            Method::POST,
            "/admin/v1/events/{event_id}/draw/publish",
            draws::publish,
            docs::publish_draw(limit),
        )
        .route(Method::PUT, "/admin/v1/events/{event_id}/draw/beacon", draws::beacon, docs::put_beacon(limit))
        .route(
            Method::POST,
            "/admin/v1/events/{event_id}/entries/{entry_id}/disqualify",
            draws::disqualify,
            docs::disqualify(limit),
        )
        .route(Method::GET, "/admin/v1/events/{event_id}/winners", winners::get, docs::winners())
        .route(Method::GET, "/admin/v1/events/{event_id}/stats", stats::get, docs::stats())
        .route(Method::GET, "/admin/v1/events/{event_id}/stats/stream", stats::stream, docs::stats_stream())
        .route(
            Method::GET,
            "/admin/v1/members/{member_id}/entries",
            desk::member_entries,
            docs::member_entries(),
        )
        .route(
            Method::DELETE,
            "/admin/v1/members/{member_id}/contacts",
            deletion::erase_member,
            docs::erase_member(limit),
        )
        .route(Method::GET, "/admin/v1/commands/{command_id}", commands::get, docs::get_command())
        .route(Method::GET, "/admin/v1/parked", commands::parked, docs::parked())
        .route(Method::POST, "/admin/v1/parked/{event_id}/unpark", commands::unpark, docs::unpark(limit))
        .route(Method::GET, "/admin/v1/audit", desk::audit, docs::audit())
        .documented(docs::ABOUT)
        .traced(Callers::Staff))
}
