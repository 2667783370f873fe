//! `/openapi.json`, and `/docs`: Swagger UI out of the binary, which asks no other host for anything.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use utoipa_swagger_ui::Config;

use super::super::{Params, Problem, Request, Response, Router};
use super::{About, Operation, text};

/// The document as it is served; set once all routes are known.
pub(in super::super) type Served = Arc<OnceLock<Bytes>>;

const TAG: &str = "This document";
/// What the page needs, of all that Swagger UI consists of.
const FILES: [(&str, &str); 2] = [
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
];
const START: &str = "start.js";
/// `validatorUrl` would show the document to a server on the internet.
const START_JS: &str = "SwaggerUIBundle({url: 'openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null, \
                        docExpansion: 'list', defaultModelsExpandDepth: 0});\n";
/// Swagger UI styles elements one by one and draws its icons from `data:`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Adds the routes of the document and its page.
pub(in super::super) fn add_routes<S>(router: Router<S>, about: About, served: &Served) -> Router<S>
where
    S: Send + Sync + 'static,
{
    let document = Arc::clone(served);
    router
        .route(
            Method::GET,
            "/openapi.json",
            move |_, request: Request, _| {
                let document = document.get().cloned().unwrap_or_default();
                async move {
                    request.only_query(&[])?;
                    Ok(Response::bytes(StatusCode::OK, HeaderValue::from_static("application/json"), document))
                }
            },
            Operation::new("getOpenApi", "This document: OpenAPI 3.1").tag(TAG).content(
                200,
                "application/json",
                "The document",
                json!({"type": "object", "required": ["openapi", "info", "paths"]}),
                json!({"openapi": "3.1.0", "info": {"title": about.title, "version": about.version}, "paths": {}}),
            ),
        )
        .route(
            Method::GET,
            "/docs",
            move |_, request: Request, _| async move {
                request.only_query(&[])?;
                Ok(with_policy(Response::bytes(
                    StatusCode::OK,
                    HeaderValue::from_static("text/html; charset=utf-8"),
                    page(about.title).into(),
                )))
            },
            Operation::new("getDocs", "This document as a page; nothing is loaded from elsewhere").tag(TAG).content(
                200,
                "text/html",
                "The page",
                text(),
                Value::from("<!doctype html>…"),
            ),
        )
        .route(
            Method::GET,
            "/docs/{file}",
            |_, request: Request, params: Params| async move {
                request.only_query(&[])?;
                file(params.get("file")).map(with_policy)
            },
            Operation::new("getDocsFile", "A part of the page (Swagger UI)")
                .tag(TAG)
                .path("file", "Name of the file", text(), START)
                .content(200, "text/javascript", "A script", text(), Value::from(START_JS))
                .content(200, "text/css", "Styles", text(), Value::from("body{}"))
                .problem(404, "NOT_FOUND", "the page has no such part"),
        )
}

fn page(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"docs/{}\">\n</head>\n\
         <body>\n<div id=\"page\"></div>\n<script src=\"docs/{}\"></script>\n<script src=\"docs/{START}\"></script>\n\
         </body>\n</html>\n",
        FILES[0].0, FILES[1].0
    )
}

fn file(name: &str) -> Result<Response, Problem> {
    if name == START {
        let script = HeaderValue::from_static(FILES[1].1);
        return Ok(Response::bytes(StatusCode::OK, script, Bytes::from_static(START_JS.as_bytes())));
    }
    let (name, content_type) = FILES.into_iter().find(|(n, _)| *n == name).ok_or_else(Problem::not_found)?;
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from("openapi.json")));
    let file = file.ok().flatten().ok_or_else(Problem::internal)?;
    let content_type = HeaderValue::from_static(content_type);
    let response = Response::bytes(StatusCode::OK, content_type, Bytes::copy_from_slice(&file.bytes))
        .with_header(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    Ok(if file.gzpipped {
        response.with_header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
    } else {
        response
    })
}

fn with_policy(response: Response) -> Response {
    response
        .with_header(header::CONTENT_SECURITY_POLICY, POLICY)
        .with_header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with_header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}
