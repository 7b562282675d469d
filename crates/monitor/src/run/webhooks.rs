//! Calls webhooks for alerts: signed, one call at a time, retried until they are accepted, refused or too old.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use lookout_config::WebhookSettings;
use lookout_schema::Timestamp;
use sha2::Sha256;
use tokio::{sync::watch, task::spawn_blocking, time::timeout};
use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{
    MonitorError,
    metrics::HookResult,
    shared::{Shared, is_set},
    store::{Waiting, hook},
};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(120);
/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// How often the store is asked without being notified.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// The number of alerts that are considered at a time.
const BATCH: i64 = 64;

/// A webhook and the client that calls it.
#[derive(Debug)]
pub(super) struct Hook {
    settings: Arc<WebhookSettings>,
    agent: Agent,
}

impl Hook {
    /// Creates the client of a webhook.
    ///
    /// # Errors
    /// The file of its certificate authorities cannot be read, or has no certificate.
    pub(super) fn new(settings: WebhookSettings) -> Result<Self, MonitorError> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &settings.ca_file {
            let fail = |why: String| {
                let (name, file) = (&settings.name, file.display());
                MonitorError::Refused(format!("webhook `{name}`: cannot use ca_file {file}: {why}"))
            };
            let pem = fs::read(file).map_err(|error| fail(error.to_string()))?;
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(error) => Some(Err(fail(format!("not a valid PEM file: {error}")))),
            });
            let certificates: Vec<_> = certificates.collect::<Result<_, _>>()?;
            if certificates.is_empty() {
                let what = "it contains no certificate; add the certificates, in PEM, of the authorities that signed \
                            the receiver's certificate";
                return Err(fail(what.into()));
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
        }
        // The body of the response is ignored. A redirect is not followed, since its address is not the configured one.
        let agent = Agent::config_builder()
            .timeout_global(Some(CALL))
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(tls.build())
            .build();
        Ok(Self { settings: Arc::new(settings), agent: agent.into() })
    }

    /// Calls the webhook for each alert that waits for it, until `stopped` is set.
    pub(super) async fn run(
        self,
        shared: Arc<Shared>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), MonitorError> {
        let work = async {
            let mut schedule = Schedule::default();
            let mut due = shared.due.subscribe();
            loop {
                due.mark_unchanged();
                let wait = match self.next(&shared, &mut schedule).await {
                    Ok(None) => continue,
                    Ok(Some(wait)) => wait.min(POLL_EVERY),
                    Err(error) => {
                        tracing::warn!(%error, webhook = self.settings.name, "cannot read the store, will retry");
                        POLL_EVERY
                    }
                };
                let _ = timeout(wait, due.changed()).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = is_set(&mut stopped) => {}
        }
        Ok(())
    }

    /// Makes one call, or returns how long to wait if none is due.
    async fn next(&self, shared: &Shared, schedule: &mut Schedule) -> Result<Option<Duration>, MonitorError> {
        let name = self.settings.name.as_str();
        let waiting = shared.store.waiting(hook(name), BATCH).await?;
        let next = match schedule.next(&waiting, Instant::now()) {
            Next::Call(next) => next,
            Next::Wait(wait) => return Ok(Some(wait)),
        };
        let Some(waiting) = waiting.into_iter().nth(next) else { return Ok(None) };
        let (seq, since, alert) = (waiting.seq, waiting.since, waiting.alert.clone());
        let (agent, to) = (self.agent.clone(), Arc::clone(&self.settings));
        let called = spawn_blocking(move || call(&agent, &to, waiting)).await;
        let called = called.unwrap_or_else(|panic| Err(Failure::passing(panic.to_string())));
        let id = alert.id.as_str();
        let result = match &called {
            Ok(()) => HookResult::Delivered,
            Err(failure) if failure.is_permanent => {
                let why = &failure.why;
                tracing::error!(
                    webhook = name,
                    alert = id,
                    why,
                    "webhook refused an alert, which is set aside and not retried"
                );
                HookResult::Refused
            }
            Err(failure) if Timestamp::now() > since + self.settings.give_up => {
                let why = &failure.why;
                tracing::error!(webhook = name, alert = id, why, "gave up delivering an alert to a webhook");
                HookResult::GivenUp
            }
            Err(failure) => {
                let why = &failure.why;
                tracing::warn!(webhook = name, alert = id, why, "webhook call failed, will retry");
                HookResult::Failed
            }
        };
        shared.metrics.called(name, result);
        match (result, called) {
            (HookResult::Failed, Err(failure)) => schedule.failed(seq, failure.retry_after, Instant::now()),
            (HookResult::Refused | HookResult::GivenUp, Err(failure)) => {
                shared.store.set_aside(seq, name.to_owned(), alert, failure.why).await?;
                schedule.done(seq, result == HookResult::Refused);
            }
            _ => {
                shared.store.done(vec![seq]).await?;
                schedule.done(seq, true);
            }
        }
        Ok(None)
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    why: String,
    /// Whether the same alert would be rejected again.
    is_permanent: bool,
    /// The `Retry-After` of the receiver.
    retry_after: Option<Duration>,
}

impl Failure {
    fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_permanent: false, retry_after: None }
    }

    fn status(status: u16, retry_after: Option<Duration>) -> Self {
        // These statuses are temporary, or are fixed at the receiver or in the configuration without a change
        // of the alert.
        let passes = matches!(status, 401 | 403 | 404 | 407 | 408 | 421 | 423 | 424 | 425 | 429);
        Self {
            why: format!("HTTP status {status}"),
            is_permanent: (400..500).contains(&status) && !passes,
            retry_after,
        }
    }
}

/// Which alert a webhook is called for next, and when.
///
/// A failed alert is retried on its own, so that it does not block the following alerts. A receiver that
/// fails repeatedly is called with a growing backoff. The versions of one alert keep their order.
#[derive(Debug, Default)]
struct Schedule {
    retries: BTreeMap<i64, Retry>,
    /// The backoff of the receiver after consecutive failures.
    receiver: Option<Retry>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    pause: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The index of the alert.
    Call(usize),
    Wait(Duration),
}

impl Schedule {
    /// Returns the next action. `waiting` is in the order in which the alerts were raised or changed.
    fn next(&mut self, waiting: &[Waiting], now: Instant) -> Next {
        let listed: BTreeSet<i64> = waiting.iter().map(|waiting| waiting.seq).collect();
        self.retries.retain(|seq, _| listed.contains(seq));
        if waiting.is_empty() {
            return Next::Wait(POLL_EVERY);
        }
        if let Some(receiver) = self.receiver.filter(|receiver| receiver.at > now) {
            return Next::Wait(receiver.at - now);
        }
        let mut alerts = BTreeSet::new();
        let first_versions =
            waiting.iter().enumerate().filter(|(_, one)| alerts.insert(one.alert.id.as_str()));
        // Alerts without an attempt come first.
        let soonest =
            first_versions.map(|(i, one)| (self.retries.get(&one.seq).map(|retry| retry.at), i)).min();
        match soonest {
            Some((Some(at), _)) if at > now => Next::Wait(at - now),
            Some((_, i)) => Next::Call(i),
            None => Next::Wait(POLL_EVERY),
        }
    }

    fn failed(&mut self, seq: i64, retry_after: Option<Duration>, now: Instant) {
        let after = |before: Option<&Retry>| {
            let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(MAX_PAUSE));
            Retry { at: now + pause.max(retry_after.unwrap_or_default()), pause }
        };
        self.receiver = Some(after(self.receiver.as_ref()));
        let retry = after(self.retries.get(&seq));
        self.retries.insert(seq, retry);
    }

    /// Removes the alert from the schedule; `answered` is whether the receiver works.
    fn done(&mut self, seq: i64, answered: bool) {
        self.retries.remove(&seq);
        if answered {
            self.receiver = None;
        }
    }
}

/// Calls the webhook for an alert. Blocks. The error never contains the address, which may hold a secret.
fn call(agent: &Agent, settings: &WebhookSettings, waiting: Waiting) -> Result<(), Failure> {
    let mut alert = waiting.alert;
    let now = Timestamp::now();
    alert.published_at = now;
    alert.age_ms = now.ms_since(alert.at);
    let body = serde_json::to_string(&alert).map_err(|error| Failure::passing(error.to_string()))?;
    let at = (now.as_unix_us() / 1_000_000).to_string();
    let mut request = agent
        .post(settings.url.reveal())
        .header("content-type", "application/json")
        .header("user-agent", concat!("lookout-monitor/", env!("CARGO_PKG_VERSION")))
        .header("x-lookout-id", format!("{}/{}", alert.id, alert.version))
        .header("x-lookout-timestamp", &at);
    if let Some(secret) = &settings.secret {
        let signature = signature(secret.reveal(), &at, &body).map_err(Failure::passing)?;
        request = request.header("x-lookout-signature", signature);
    }
    match request.send(&body) {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let after = after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
            Err(Failure::status(answer.status().as_u16(), after.map(|after| after.min(MAX_RETRY_AFTER))))
        }
        Err(error) => Err(Failure::passing(reason(&error))),
    }
}

/// Returns the signature of a call. It covers the time, too, so that a captured call cannot be replayed
/// later.
fn signature(secret: &str, at: &str, body: &str) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    Ok(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}

fn reason(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "the receiver did not answer in time",
        ureq::Error::HostNotFound => "the host name cannot be resolved",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "the receiver cannot be reached",
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
            "the TLS connection failed; the certificate may not be trusted"
        }
        _ => "the call failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_openssl() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "sha256=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        assert_eq!(signature("secret", "1700000000", "{\"a\":1}").unwrap(), expected);
    }

    fn waiting(alerts: &[(i64, &str)]) -> Vec<Waiting> {
        let waiting = |(seq, id): &(i64, &str)| {
            let alert = crate::store::tests::alert(id, 1, 0);
            Waiting { seq: *seq, alert, since: Timestamp::from_unix_us(0) }
        };
        alerts.iter().map(waiting).collect()
    }

    #[test]
    fn a_failing_alert_does_not_delay_others() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let all = waiting(&[(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(schedule.next(&all, at(0)), Next::Call(0));
        schedule.failed(1, None, at(0));
        assert_eq!(schedule.next(&all, at(0)), Next::Wait(Duration::from_secs(1)));
        assert_eq!(schedule.next(&all, at(1)), Next::Call(1));
        schedule.done(2, true);
        let left = waiting(&[(1, "a"), (3, "c")]);
        assert_eq!(schedule.next(&left, at(1)), Next::Call(1));
        schedule.done(3, true);
        assert_eq!(schedule.next(&waiting(&[(1, "a")]), at(1)), Next::Call(0));
        schedule.failed(1, None, at(1));
        assert_eq!(schedule.next(&waiting(&[(1, "a")]), at(2)), Next::Wait(Duration::from_secs(1)));
        assert_eq!(schedule.next(&waiting(&[(1, "a")]), at(3)), Next::Call(0));
    }

    #[test]
    fn backs_off_while_the_receiver_is_down() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let all: Vec<_> = (0..64).map(|seq| (seq, format!("alert-{seq}"))).collect();
        let all: Vec<_> = all.iter().map(|(seq, id)| (*seq, id.as_str())).collect();
        let all = waiting(&all);
        let mut calls = 0;
        for s in 0..3600 {
            let now = start + Duration::from_secs(s);
            if let Next::Call(i) = schedule.next(&all, now) {
                schedule.failed(all[i].seq, None, now);
                calls += 1;
            }
        }
        assert!((30..50).contains(&calls), "{calls}");
    }

    #[test]
    fn keeps_the_order_of_an_alerts_versions() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let all = waiting(&[(1, "a"), (2, "a"), (3, "b")]);
        schedule.failed(1, None, now);
        schedule.done(9, true);
        assert_eq!(schedule.next(&all, now), Next::Call(2));
    }

    #[test]
    fn classifies_http_statuses_as_permanent_or_temporary() {
        for (status, permanent) in [
            (400, true),
            (413, true),
            (422, true),
            (401, false),
            (404, false),
            (429, false),
            (500, false),
            (301, false),
        ] {
            assert_eq!(Failure::status(status, None).is_permanent, permanent, "{status}");
        }
    }
}
