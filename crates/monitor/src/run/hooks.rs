//! Tells webhooks of alerts: signed, one after the other, tried again until they are taken or too old.

use std::{sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use lookout_config::WebhookSettings;
use lookout_schema::Timestamp;
use sha2::Sha256;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use ureq::Agent;

use super::{Shared, is_set};
use crate::{
    MonitorError,
    http::hex,
    metrics::HookResult,
    store::{Waiting, hook},
};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// The wait after the first failure; it doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);
/// Beside being told that something waits.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(
    settings: WebhookSettings,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), MonitorError> {
    let settings = Arc::new(settings);
    // What it answers is of no matter, and where else it would send us is not what was asked for.
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(CALL))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into();
    let work = async {
        let mut pause = FIRST;
        let mut due = shared.due.subscribe();
        loop {
            due.mark_unchanged();
            match next(&settings, &shared, &agent).await {
                Ok(Some(HookResult::Failed)) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST);
                }
                Ok(Some(HookResult::Delivered | HookResult::GivenUp)) => pause = FIRST,
                Ok(None) => {
                    let _ = timeout(LOOK_EVERY, due.changed()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, webhook = settings.name, "a webhook waits for the store");
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = is_set(&mut stopped) => {}
    }
    Ok(())
}

/// Tells the alert that has waited the longest; none where none waits.
async fn next(
    settings: &Arc<WebhookSettings>,
    shared: &Shared,
    agent: &Agent,
) -> Result<Option<HookResult>, MonitorError> {
    let waiting = shared.store.waiting(hook(&settings.name), 1).await?;
    let Some(waiting) = waiting.into_iter().next() else { return Ok(None) };
    let (seq, since, alert) = (waiting.seq, waiting.since, waiting.alert.id.clone());
    let (agent, to) = (agent.clone(), Arc::clone(settings));
    let called = spawn_blocking(move || call(&agent, &to, waiting)).await;
    let name = settings.name.as_str();
    let result = match called.map_err(|panic| panic.to_string()).and_then(|called| called) {
        Ok(()) => HookResult::Delivered,
        Err(why) if Timestamp::now() > since + settings.give_up => {
            tracing::error!(
                webhook = name,
                alert,
                why,
                "a webhook was not told of an alert, and will not be"
            );
            HookResult::GivenUp
        }
        Err(why) => {
            tracing::warn!(webhook = name, alert, why, "a webhook is told again later");
            HookResult::Failed
        }
    };
    shared.metrics.called(name, result);
    if result != HookResult::Failed {
        shared.store.done(vec![seq]).await?;
    }
    Ok(Some(result))
}

/// Blocks. The error never names the address, which may hold a secret.
fn call(agent: &Agent, settings: &WebhookSettings, waiting: Waiting) -> Result<(), String> {
    let mut alert = waiting.alert;
    let now = Timestamp::now();
    alert.published_at = now;
    alert.age_ms = now.ms_since(alert.at);
    let body = serde_json::to_string(&alert).map_err(|error| error.to_string())?;
    let at = (now.as_unix_us() / 1_000_000).to_string();
    let mut request = agent
        .post(settings.url.reveal())
        .header("content-type", "application/json")
        .header("user-agent", concat!("lookout-monitor/", env!("CARGO_PKG_VERSION")))
        .header("x-lookout-id", format!("{}/{}", alert.id, alert.version))
        .header("x-lookout-timestamp", &at);
    if let Some(secret) = &settings.secret {
        request = request.header("x-lookout-signature", signature(secret.reveal(), &at, &body)?);
    }
    match request.send(&body) {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answered {}", answer.status().as_u16())),
        Err(error) => Err(reason(&error).into()),
    }
}

/// Over the time too, so that a call that was overheard cannot be made again later.
fn signature(secret: &str, at: &str, body: &str) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    Ok(format!("sha256={}", hex(&mac.finalize().into_bytes())))
}

fn reason(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "it did not answer in time",
        ureq::Error::HostNotFound => "its name is not known",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "it cannot be reached",
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate is not trusted",
        _ => "the call failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_others_would_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "sha256=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        assert_eq!(signature("secret", "1700000000", "{\"a\":1}").unwrap(), expected);
    }
}
