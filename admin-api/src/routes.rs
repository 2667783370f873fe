//! The routes of the admin listener (API "Admin listener").

use std::sync::Arc;

use shared_runtime::config::ConfigError;
use shared_runtime::http::{HttpLimits, Problem, Response, Router};
use warp::http::Method;

use crate::{Admin, commands, deletion, desk, events, stats, winners};

pub(crate) const READ: &str = "events:read";
pub(crate) const WRITE: &str = "events:write";
pub(crate) const OPS: &str = "ops:write";
pub(crate) const CONTACTS: &str = "contacts:read";

pub(crate) type Answer = Result<Response, Problem>;

/// All routes.
pub(crate) fn router(admin: Arc<Admin>, limits: HttpLimits) -> Result<Router<Admin>, ConfigError> {
    Ok(Router::new(admin, limits)?
        .route(Method::POST, "/admin/v1/events", events::create)
        .route(Method::GET, "/admin/v1/events", events::list)
        .route(Method::GET, "/admin/v1/events/{event_id}", events::get)
        .route(Method::PATCH, "/admin/v1/events/{event_id}", events::patch)
        .route(Method::DELETE, "/admin/v1/events/{event_id}", deletion::delete)
        .route(Method::GET, "/admin/v1/events/{event_id}/deletion", deletion::get)
        .route(Method::POST, "/admin/v1/events/{event_id}/schedule", commands::schedule)
        .route(Method::POST, "/admin/v1/events/{event_id}/pause", commands::pause)
        .route(Method::POST, "/admin/v1/events/{event_id}/resume", commands::resume)
        .route(Method::POST, "/admin/v1/events/{event_id}/close", commands::close)
        .route(Method::POST, "/admin/v1/events/{event_id}/stock", commands::add_stock)
        .route(Method::PUT, "/admin/v1/events/{event_id}/limits", commands::limits)
        .route(Method::PUT, "/admin/v1/events/{event_id}/high-traffic", commands::high_traffic)
        .route(Method::PUT, "/admin/v1/events/{event_id}/approval", commands::approval)
        .route(Method::GET, "/admin/v1/events/{event_id}/winners", winners::get)
        .route(Method::GET, "/admin/v1/events/{event_id}/stats", stats::get)
        .route(Method::GET, "/admin/v1/events/{event_id}/stats/stream", stats::stream)
        .route(Method::GET, "/admin/v1/members/{member_id}/entries", desk::member_entries)
        .route(Method::DELETE, "/admin/v1/members/{member_id}/contacts", deletion::erase_member)
        .route(Method::GET, "/admin/v1/commands/{command_id}", commands::get)
        .route(Method::GET, "/admin/v1/parked", commands::parked)
        .route(Method::POST, "/admin/v1/parked/{event_id}/unpark", commands::unpark)
        .route(Method::GET, "/admin/v1/audit", desk::audit))
}
