//! The API of several sites: each below `/sites/NAME` as a campon of its own, and all together.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use tokio::time::timeout;

use crate::api::metrics;
use crate::api::problem::Problem;
use crate::api::status::{Process, Status};
use crate::io::process;
use crate::shard::Report;
use crate::time::Timestamp;

use super::gate::{Gate, Rate};
use super::{ANSWER, Asker, JSON, SiteApi, refuse, respond};

/// Each site by its name.
type Askers = Arc<[(Box<str>, Asker)]>;

/// The resources of all sites; a file without any has one, whose paths begin at the root.
pub(super) fn router(sites: Vec<SiteApi>) -> Router {
    let mut askers = Vec::new();
    let mut all = Router::new();
    for site in sites {
        let SiteApi {
            site,
            asker,
            access,
            news,
        } = site;
        let gate = Gate::new(asker.clock, access, Rate::default());
        let resources = super::router(asker.clone(), gate, news);
        let Some(name) = site else {
            return resources;
        };
        all = all.nest(&format!("/sites/{name}"), resources);
        askers.push((name, asker));
    }
    let askers: Askers = askers.into();
    let of_all = Router::new()
        .route(
            "/v1/status",
            get(status).fallback(async || refuse(&Problem::METHOD)),
        )
        .route(
            "/metrics",
            get(metrics).fallback(async || refuse(&Problem::METHOD)),
        )
        .with_state::<()>(askers);
    all.merge(of_all).fallback(async || refuse(&Problem::PATH))
}

async fn status(State(askers): State<Askers>) -> Response {
    let reports = reports(&askers).await;
    match process(&askers).filter(|_| !reports.is_empty()) {
        Some(process) => {
            let document = Status::of_sites(process, reports).to_json();
            respond(StatusCode::OK, JSON, document + "\n")
        }
        None => refuse(&Problem::WORKER),
    }
}

async fn metrics(State(askers): State<Askers>) -> Response {
    let reports = reports(&askers).await;
    let Some(process) = process(&askers).filter(|_| !reports.is_empty()) else {
        return refuse(&Problem::WORKER);
    };
    let calendar = askers.first().map(|(_, asker)| asker.clock.calendar());
    let started_s = calendar.map(|calendar| calendar.unix_s(Timestamp::START));
    let resources = process::resources(started_s.unwrap_or_default());
    let document = metrics::of_sites(&process, resources, reports);
    respond(StatusCode::OK, metrics::MEDIA_TYPE, document)
}

/// What each site holds that answers.
async fn reports(askers: &Askers) -> Vec<(Box<str>, Report)> {
    let mut reports = Vec::new();
    for (name, asker) in &**askers {
        if let Ok(Some(report)) = timeout(ANSWER, asker.report()).await {
            reports.push((name.clone(), report));
        }
    }
    reports
}

/// What is no worker's to report, and the same for all sites.
fn process(askers: &Askers) -> Option<Process> {
    let (_, first) = askers.first()?;
    Some(Process {
        mode: format!("{} sites", askers.len()),
        ..first.process()
    })
}
