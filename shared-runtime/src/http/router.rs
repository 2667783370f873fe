//! From a request to its handler, and what every answer carries.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::poll;
use http::{HeaderValue, Method, header};
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::measure::{NO_ROUTE, RouteMetrics};
use super::openapi::{self, Document};
use super::{About, Cors, HttpLimits, Operation, Params, Problem, Request, Response, request_id};
use crate::config::ConfigError;
use crate::telemetry::catch_panics;

type Answer = Result<Response, Problem>;
type Handler<S> = Box<dyn Fn(Arc<S>, Request, Params) -> BoxFuture<'static, Answer> + Send + Sync>;

struct PathEntry<S> {
    pattern: &'static str,
    /// The names of the pattern's `{name}` parts, in order.
    names: Vec<&'static str>,
    methods: Vec<(Method, Handler<S>)>,
    allow: HeaderValue,
    metrics: RouteMetrics,
}

/// A listener's routes over a shared state, with the listener's limits.
///
/// Unknown path 404, known path with another method 405 with `Allow`, HEAD answered by GET. Every answer carries
/// `X-Request-Id` and is counted; a panic in a handler is a 500.
pub struct Router<S> {
    state: Arc<S>,
    paths: matchit::Router<usize>,
    entries: Vec<PathEntry<S>>,
    no_route: RouteMetrics,
    cors: Cors,
    gate: Gate,
    limits: HttpLimits,
    document: Document,
}

impl<S> std::fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| entry.pattern)).finish()
    }
}

impl<S: Send + Sync + 'static> Router<S> {
    /// No routes yet. Errors: a CORS origin that is none.
    pub fn new(state: Arc<S>, limits: HttpLimits) -> Result<Self, ConfigError> {
        Ok(Self {
            state,
            paths: matchit::Router::new(),
            entries: Vec::new(),
            no_route: RouteMetrics::new(NO_ROUTE),
            cors: Cors::new(&limits.cors_allowed_origins)?,
            gate: Gate::new(limits.max_in_flight),
            limits,
            document: Document::default(),
        })
    }

    /// Adds a handler for a method and a pattern such as `/v1/events/{event_id}`, which is also the metric's label, and
    /// what the document says about it.
    ///
    /// # Panics
    /// When the pattern is malformed, or conflicts with another or with the operation: a mistake in the program, seen at
    /// its first start.
    pub fn route<H, F>(
        mut self,
        method: Method,
        pattern: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self
    where
        H: Fn(Arc<S>, Request, Params) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        self.document.add(&method, pattern, operation);
        let index = match self.entries.iter().position(|entry| entry.pattern == pattern) {
            Some(index) => index,
            None => {
                if let Err(error) = self.paths.insert(pattern, self.entries.len()) {
                    panic!("route {pattern}: {error}");
                }
                self.entries.push(PathEntry::new(pattern));
                self.entries.len() - 1
            }
        };
        let handler: Handler<S> =
            Box::new(move |state, request, params| Box::pin(handler(state, request, params)));
        self.entries[index].add(method, handler);
        self
    }

    /// Adds `/openapi.json` and `/docs`, which tell of all routes; call it when they are there.
    pub fn documented(self, about: About) -> Self {
        let served = openapi::Served::default();
        let mut router = openapi::add_routes(self, about, &served);
        let document = std::mem::take(&mut router.document).finish(&about);
        served.get_or_init(|| document.to_string().into());
        router
    }

    /// The limits that the listener keeps.
    pub fn limits(&self) -> &HttpLimits {
        &self.limits
    }

    /// Answers a request; `draining` ends event streams.
    pub(super) async fn dispatch(
        &self,
        request: Request,
        draining: &CancellationToken,
    ) -> warp::reply::Response {
        let started = Instant::now();
        let id = request.request_id_value().clone();
        let origin = self.cors.allowed(&request.headers);

        let (metrics, answer) = match self.paths.at(&request.path) {
            Ok(found) => {
                let entry = &self.entries[*found.value];
                let values = found.params.iter().map(|(_, value)| value.to_owned());
                let params = Params(entry.names.iter().copied().zip(values).collect());
                let answer = if self.cors.is_preflight(&request.method, &request.headers) {
                    Ok(self.cors.preflight(origin.as_ref(), &entry.allow))
                } else {
                    self.handle(entry, request, params).await
                };
                (&entry.metrics, answer)
            }
            Err(_) => (&self.no_route, Err(Problem::not_found())),
        };
        let mut response = answer.unwrap_or_else(Response::from);

        response.headers_mut().insert(request_id::X_REQUEST_ID, id);
        self.cors.mark(origin, response.headers_mut());
        metrics.record(response.status(), response.code(), started.elapsed());
        response.into_warp(draining)
    }

    async fn handle(&self, entry: &PathEntry<S>, request: Request, params: Params) -> Answer {
        let Some(handler) = entry.handler(&request.method) else {
            let response = Response::from(Problem::method_not_allowed());
            return Ok(response.with_header(header::ALLOW, entry.allow.clone()));
        };
        let Some(_inside) = self.gate.enter() else {
            return Err(Problem::unavailable("too many requests at once"));
        };
        let (id, method) = (request.request_id_value().clone(), request.method.clone());
        let state = Arc::clone(&self.state);
        // The call stands inside: a handler may panic before its future exists.
        let mut answer = pin!(catch_panics(async move { handler(state, request, params).await }));
        let answered = match poll!(answer.as_mut()) {
            // Most answers are there at once, and need no clock.
            Poll::Ready(answered) => Ok(answered),
            Poll::Pending => tokio::time::timeout(self.limits.request_timeout, answer).await,
        };
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                tracing::error!(route = entry.pattern, request_id = ?id, %panic, "a handler panicked");
                Err(Problem::internal())
            }
            // What it has begun may still come to pass, so nobody may be told that nothing was written.
            Err(_) if !method.is_safe() => Err(Problem::outcome_unknown()),
            Err(_) => Err(Problem::unavailable("no answer in time")),
        }
    }
}

impl<S> PathEntry<S> {
    fn new(pattern: &'static str) -> Self {
        let names = pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        Self {
            pattern,
            names: names.map(|name| name.trim_start_matches('*')).collect(),
            methods: Vec::new(),
            allow: HeaderValue::from_static(""),
            metrics: RouteMetrics::new(pattern),
        }
    }

    fn add(&mut self, method: Method, handler: Handler<S>) {
        assert!(self.exact(&method).is_none(), "route {method} {} stands twice", self.pattern);
        self.methods.push((method, handler));
        let mut names: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        // Method names are always header text.
        self.allow = HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""));
    }

    fn exact(&self, method: &Method) -> Option<&Handler<S>> {
        self.methods.iter().find(|(m, _)| m == method).map(|(_, handler)| handler)
    }

    fn handler(&self, method: &Method) -> Option<&Handler<S>> {
        self.exact(method).or_else(|| if method == Method::HEAD { self.exact(&Method::GET) } else { None })
    }
}
