//! Whether the brokers answer, asked for where nothing comes of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_broker::check;
use lookout_config::KafkaSettings;
use tokio::task::JoinHandle;

/// Tells brokers that are away from workers that say nothing.
#[derive(Debug)]
pub(super) struct Watchman {
    settings: Arc<KafkaSettings>,
    heard: Instant,
    asked: Instant,
    /// What is wrong with them, as they were asked last.
    wrong: Option<String>,
    asking: Option<JoinHandle<Option<String>>>,
}

/// A record every so often is enough to know that they are there.
const QUIET: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

impl Watchman {
    pub(super) fn new(settings: &KafkaSettings) -> Self {
        let now = Instant::now();
        Self { settings: Arc::new(settings.clone()), heard: now, asked: now, wrong: None, asking: None }
    }

    /// Records have come.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.wrong = None;
    }

    /// What is wrong with the brokers, if anything is known to be.
    pub(super) async fn look(&mut self, now: Instant) -> Option<&str> {
        if now.duration_since(self.heard) > QUIET {
            if let Some(asking) = self.asking.take_if(|asking| asking.is_finished()) {
                self.wrong = asking.await.unwrap_or_else(|panic| Some(panic.to_string()));
                self.asked = now;
            }
            let is_due = self.wrong.is_some()
                || self.asked <= self.heard
                || now.duration_since(self.asked) > ASK_EVERY;
            if self.asking.is_none() && is_due {
                let settings = Arc::clone(&self.settings);
                self.asking = Some(tokio::task::spawn_blocking(move || ask(&settings)));
            }
        }
        self.wrong.as_deref()
    }

    /// Whether it is known that nothing comes because there is nothing.
    pub(super) fn is_sure(&self, now: Instant) -> bool {
        self.wrong.is_none() && (now.duration_since(self.heard) <= QUIET || self.asked > self.heard)
    }
}

/// Blocks.
fn ask(settings: &KafkaSettings) -> Option<String> {
    match check(settings, ANSWER_WITHIN) {
        Ok(found) => found.problem.map(|problem| format!("the brokers do not answer: {}", problem.what)),
        Err(error) => Some(error.to_string()),
    }
}
