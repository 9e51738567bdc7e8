//! The requests that a dashboard answers.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;

use super::access::{new_token, parameter};
use super::model::shown_pools;
use super::report;
use super::state::{STREAMS, ServerRef};
use super::stream::SentThings;
use crate::engine::SharedPool;
use crate::insights::{Insights, escaped};
use crate::poison::IgnorePoison;
use crate::sys::clock;

pub(super) fn router(shared: ServerRef) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/report", get(whole_report))
        .route("/pools/{pool}/report", get(pool_report))
        .route("/pools/{pool}/timeline.svg", get(timeline))
        .route("/pools/{pool}/trace", get(trace))
        .route("/pools/{pool}/workers", post(resize))
        .route("/pools/{pool}/calls/{call}/cancel", post(cancel))
        .fallback(|| async { missing("there is no such page") })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), check))
        .with_state(shared)
}

fn missing(what: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("{what}\n")).into_response()
}

/// Refuses requests, and tells browsers what answers may not be used for.
async fn check(State(shared): State<ServerRef>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let refusal = shared.access.refusal(request.method(), query, request.headers());
    let mut response = match refusal {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    };
    let rules = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in rules {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let strict = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().entry(header::CONTENT_SECURITY_POLICY).or_insert(strict);
    response
}

async fn page() -> Response {
    let Ok(nonce) = new_token() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "there are no random numbers\n").into_response();
    };
    let page = include_str!("page.html")
        .replace("{{style}}", include_str!("style.css"))
        .replace("{{script}}", include_str!("script.js"))
        .replace("{{nonce}}", &nonce)
        .replace("{{pid}}", &std::process::id().to_string())
        .replace("{{program}}", &escaped(&report::program()));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

async fn events(State(shared): State<ServerRef>) -> Response {
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let text = format!("{STREAMS} pages are open already\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let mut ticks = shared.ticks.subscribe();
    // The first message has what there is.
    ticks.mark_changed();
    let state = (shared, ticks, SentThings::default(), permit);
    let messages = stream::unfold(state, |(shared, mut ticks, mut sent, permit)| async move {
        ticks.changed().await.ok()?;
        ticks.borrow_and_update();
        let (tick, message) = {
            let model = shared.model.lock().ignore_poison();
            (model.tick(), sent.message(&model))
        };
        let event = Event::default().id(tick.to_string()).data(message);
        let event = event.retry(std::time::Duration::from_secs(1));
        Some((Ok::<_, Infallible>(event), (shared, ticks, sent, permit)))
    });
    Sse::new(messages).keep_alive(KeepAlive::default()).into_response()
}

fn find(id: u64) -> Option<Arc<SharedPool>> {
    shown_pools().into_iter().find(|pool| pool.id == id)
}

/// Returns the insights of a pool.
fn insights(pool: &SharedPool) -> Insights {
    let collected = pool.lock().collected(pool);
    let (name, method) = (&pool.settings.name, pool.settings.method.name());
    collected.map_or_else(Insights::none, |it| Insights::new(name, method, clock::now(), it))
}

const NO_POOL: &str = "this pool does not exist any more";

/// Answers with a file that a browser saves.
fn file(kind: &'static str, name: &str, bytes: impl IntoResponse) -> Response {
    let headers: [(HeaderName, String); 2] = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, bytes).into_response()
}

async fn trace(Path(id): Path<u64>) -> Response {
    match find(id).and_then(|pool| insights(&pool).trace()) {
        Some(bytes) => file("application/octet-stream", &format!("pool-{id}.pftrace"), bytes),
        None => missing(NO_POOL),
    }
}

async fn timeline(Path(id): Path<u64>) -> Response {
    match find(id).and_then(|pool| insights(&pool).timeline()) {
        Some(svg) => ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response(),
        None => missing(NO_POOL),
    }
}

async fn pool_report(Path(id): Path<u64>) -> Response {
    match find(id) {
        Some(pool) => {
            let page = report::of(&[insights(&pool)]);
            file("text/html; charset=utf-8", &format!("pool-{id}.html"), page)
        }
        None => missing(NO_POOL),
    }
}

async fn whole_report() -> Html<String> {
    let pools: Vec<Insights> = shown_pools().iter().map(|pool| insights(pool)).collect();
    Html(report::of(&pools))
}

async fn resize(Path(id): Path<u64>, RawQuery(query): RawQuery) -> Response {
    let Some(pool) = find(id) else { return missing(NO_POOL) };
    let query = query.unwrap_or_default();
    let Some(count) = parameter(&query, "count").and_then(|count| count.parse().ok()) else {
        return (StatusCode::BAD_REQUEST, "the number of workers is missing\n").into_response();
    };
    let outcome = pool.lock().resize(&pool, count);
    match outcome {
        Ok(()) => format!("The pool is going to have {count} workers.\n").into_response(),
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
    }
}

async fn cancel(Path((id, call)): Path<(u64, u64)>) -> Response {
    let Some(pool) = find(id) else { return missing(NO_POOL) };
    let cancelled = pool.lock().cancel_by_number(&pool, call);
    match cancelled {
        Some(inputs) => {
            format!("{inputs} inputs that had not started were cancelled.\n").into_response()
        }
        None => missing("this call has ended"),
    }
}
