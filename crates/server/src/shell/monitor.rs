//! Metrics and health over HTTP, for those who watch the server. Two addresses and nothing else;
//! connections, headers and time are bounded.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::hub::Hub;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 16;

/// Bytes of a request's head.
const HEAD_MAX: usize = 8 << 10;

/// A whole question and answer takes no longer.
const TIME: Duration = Duration::from_secs(5);

/// After the system could not accept (it has no more files, mostly).
const REST: Duration = Duration::from_millis(200);

/// How often the lag of the timers is measured.
const TICK: Duration = Duration::from_millis(100);

/// What is told.
pub(super) struct Monitor {
    hub: Arc<Hub>,
    /// Transports that accept.
    listening: Arc<AtomicUsize>,
    transports: usize,
}

/// What `/healthz` answers.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

impl Monitor {
    pub(super) fn new(hub: Arc<Hub>, listening: Arc<AtomicUsize>, transports: usize) -> Self {
        Self { hub, listening, transports }
    }

    /// Answers for as long as it is awaited.
    pub(super) async fn run(self, listener: TcpListener) {
        let monitor = Arc::new(self);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut asked = JoinSet::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            while asked.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let monitor = Arc::clone(&monitor);
                    asked.spawn(async move {
                        let _in_time = timeout(TIME, monitor.serve(stream)).await;
                        drop(slot);
                    });
                }
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
    }

    /// Measures how late timers go off, for as long as it is awaited.
    pub(super) async fn measure_lag(hub: Arc<Hub>) {
        loop {
            let due = Instant::now() + TICK;
            tokio::time::sleep_until(due).await;
            hub.meter.late(due.elapsed());
        }
    }

    async fn serve(&self, stream: TcpStream) {
        let answering = service_fn(|request| async move { self.answer(&request) });
        // Whoever asks wrongly is told by hyper; whoever goes away is not missed.
        let _ended = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD_MAX)
            .timer(TokioTimer::new())
            .header_read_timeout(TIME)
            .serve_connection(TokioIo::new(stream), answering)
            .await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        let response = match (request.uri().path(), is_read) {
            ("/metrics", true) => self.metrics(),
            ("/healthz", true) => self.health(),
            ("/metrics" | "/healthz", false) => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
                let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(ALLOW, allowed);
                response
            }
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
        };
        Ok(response)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let text = self.hub.meter.expose(&self.hub.gauges());
        respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let mut reasons = self.hub.ailments();
        if self.listening.load(Ordering::Relaxed) < self.transports {
            reasons.push("a transport does not accept any more");
        }
        let (code, status) = match reasons.is_empty() {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let body = serde_json::to_string(&Health { status, reasons }).unwrap_or_default();
        respond(code, "application/json", body)
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
