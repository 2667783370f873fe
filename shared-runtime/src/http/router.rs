//! From a request to its handler, and what every answer carries.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::poll;
use http::{HeaderValue, Method, header};
use shared_proto::TRACEPARENT;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Inside};
use super::measure::{NO_ROUTE, RouteMetrics};
use super::openapi::{self, Document};
use super::{About, Cors, HttpLimits, Operation, Params, Problem, Request, Response, request_id};
use crate::config::ConfigError;
use crate::telemetry::{catch_panic, catch_panics};
use crate::traces::{Callers, ListenerTraces, RequestTrace};

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
    /// Ends event streams.
    draining: CancellationToken,
    document: Document,
    /// None: no request is traced.
    traces: Option<ListenerTraces>,
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
            draining: CancellationToken::new(),
            document: Document::default(),
            traces: None,
        })
    }

    /// Requests have spans, where the process traces.
    pub fn traced(self, callers: Callers) -> Self {
        Self { traces: ListenerTraces::of(callers), ..self }
    }

    /// Event streams end when this is cancelled.
    pub(super) fn draining_at(self, draining: CancellationToken) -> Self {
        Self { draining, ..self }
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

    /// Answers a request. What needs no waiting is done before the future exists, which
    /// keeps it small: it is moved several times on its way through warp and hyper.
    pub(super) fn dispatch(
        self: Arc<Self>,
        mut request: Request,
    ) -> impl Future<Output = warp::reply::Response> + Send + use<S> {
        let started = Instant::now();
        let id = request.request_id_value().clone();
        let origin = self.cors.allowed(&request.headers);
        let trace = match &self.traces {
            Some(traces) => traces.begin(&request.method, || request.header(TRACEPARENT)),
            None => RequestTrace::default(),
        };
        request.trace = trace.clone();
        let (index, begun) = self.begin(request, origin.as_ref());
        async move {
            let entry = index.map(|index| &self.entries[index]);
            let answer = match begun {
                Begun::Answered(answer) => answer,
                Begun::Running(running) => running.end(&id, self.limits.request_timeout, entry).await,
            };
            let mut response = answer.unwrap_or_else(Response::from);
            response.headers_mut().insert(request_id::X_REQUEST_ID, id);
            self.cors.mark(origin, response.headers_mut());
            let metrics = entry.map_or(&self.no_route, |entry| &entry.metrics);
            metrics.record(response.status(), response.code(), started.elapsed());
            trace.answered(entry.map(|entry| entry.pattern), response.status(), response.code());
            response.into_warp(&self.draining)
        }
    }

    /// The route's place, and its handler called.
    fn begin(&self, request: Request, origin: Option<&HeaderValue>) -> (Option<usize>, Begun) {
        let Ok(found) = self.paths.at(&request.path) else {
            return (None, Begun::Answered(Err(Problem::not_found())));
        };
        let index = *found.value;
        let entry = &self.entries[index];
        if self.cors.is_preflight(&request.method, &request.headers) {
            return (Some(index), Begun::Answered(Ok(self.cors.preflight(origin, &entry.allow))));
        }
        let Some(handler) = entry.handler(&request.method) else {
            let response = Response::from(Problem::method_not_allowed());
            let response = response.with_header(header::ALLOW, entry.allow.clone());
            return (Some(index), Begun::Answered(Ok(response)));
        };
        let Some(inside) = self.gate.enter() else {
            return (Some(index), Begun::Answered(Err(Problem::unavailable("too many requests at once"))));
        };
        let values = found.params.iter().map(|(_, value)| value.to_owned());
        let params = Params(entry.names.iter().copied().zip(values).collect());
        let (is_safe, state) = (request.method.is_safe(), Arc::clone(&self.state));
        // A handler may panic before its future exists.
        let answer = catch_panic(|| handler(state, request, params));
        (Some(index), Begun::Running(Running { answer, is_safe, _inside: inside }))
    }
}

/// How far a request came without waiting.
enum Begun {
    Answered(Answer),
    Running(Running),
}

/// A handler that was called.
struct Running {
    /// Err: it panicked.
    answer: Result<BoxFuture<'static, Answer>, String>,
    is_safe: bool,
    _inside: Inside,
}

impl Running {
    async fn end<S>(self, id: &HeaderValue, timeout: Duration, entry: Option<&PathEntry<S>>) -> Answer {
        let answered = match self.answer {
            Ok(answer) => {
                let mut answer = pin!(catch_panics(answer));
                match poll!(answer.as_mut()) {
                    // Most answers are there at once, and need no clock.
                    Poll::Ready(answered) => Ok(answered),
                    Poll::Pending => tokio::time::timeout(timeout, answer).await,
                }
            }
            Err(panic) => Ok(Err(panic)),
        };
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                let route = entry.map_or(NO_ROUTE, |entry| entry.pattern);
                tracing::error!(route, request_id = ?id, %panic, "a handler panicked");
                Err(Problem::internal())
            }
            // What it has begun may still come to pass, so nobody may be told that nothing was written.
            Err(_) if !self.is_safe => Err(Problem::outcome_unknown()),
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
