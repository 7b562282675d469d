//! What a kind of rule implements, and how rules of all kinds are handled alike.

use std::{fmt::Debug, sync::Arc};

use lookout_config::{RuleReader, RuleSubject, Section};
use lookout_schema::{AlertRecord, CameraId, CameraStatus, Timestamp, WorkerId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::frame_input::FrameInput;

/// The settings of a monitor, with rules of all kinds.
pub type MonitorSettings = lookout_config::MonitorSettings<Arc<dyn AnyRule>>;

/// The settings of one rule.
pub type RuleSettings = lookout_config::RuleSettings<Arc<dyn AnyRule>>;

/// A kind of rule. The type that implements it holds the settings of one rule of this kind.
pub(super) trait Rule: Debug + Send + Sync + Sized + 'static {
    /// The value of `kind` in `[[rule]]`.
    const KIND: &'static str;
    const SUBJECT: RuleSubject = RuleSubject::Camera;

    /// The state of the rule for one camera or worker. It is part of the stored state of the camera or worker, so that
    /// a restart neither loses nor repeats an alert.
    type State: RuleState;

    /// Reads the settings. Returns `None` if a required key is missing or invalid; `section` holds the error.
    fn read(section: &Section<'_, '_>) -> Option<Self>;

    /// Evaluates the rule for the next frame of a camera, and returns the alerts that were raised or cleared.
    fn frame(
        &self,
        _state: &mut Self::State,
        _rule: &RuleSettings,
        _scene: &FrameInput<'_>,
    ) -> Vec<AlertRecord> {
        Vec::new()
    }

    /// Evaluates the rule at the time `now` of the local clock, several times per second, whether or not there are
    /// records.
    fn tick(
        &self,
        _state: &mut Self::State,
        _rule: &RuleSettings,
        _subject: Subject<'_>,
        _now: Timestamp,
    ) -> Vec<AlertRecord> {
        Vec::new()
    }
}

/// The state of a rule for one camera or worker.
pub(super) trait RuleState: Debug + Default + Send + Sync + Serialize + DeserializeOwned {
    /// Cancels the open alerts because of `why`: the rule, the camera or the worker was removed.
    fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord>;
}

/// The camera or worker for which a rule is evaluated between records.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    Camera {
        id: &'a CameraId,
        /// Why the camera gives no frames, if it does not.
        down: Option<&'a CameraDown>,
    },
    Worker {
        id: &'a WorkerId,
        /// The time of its last record by the local clock and by the record's clock, if records are missing.
        silent: Option<(Timestamp, Timestamp)>,
    },
}

/// Why a camera gives no frames.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CameraDown {
    /// The start of the condition, by the local clock.
    pub(crate) since: Timestamp,
    /// The time of the last record before the condition, by the record's clock.
    pub(crate) last_record_at: Timestamp,
    pub(crate) status: CameraStatus,
    pub(crate) detail: Option<String>,
}

/// An entry of the table of kinds.
#[derive(Debug)]
pub struct RuleKind {
    kind: &'static str,
    subject: RuleSubject,
    read: fn(&Section<'_, '_>) -> Option<Arc<dyn AnyRule>>,
    cancel: fn(&[u8], Timestamp, &str) -> Vec<AlertRecord>,
}

impl RuleKind {
    pub(super) const fn of<R: Rule>() -> Self {
        Self {
            kind: R::KIND,
            subject: R::SUBJECT,
            read: |section| Some(Arc::new(R::read(section)?)),
            cancel: |state, at, why| {
                decoded::<R>(state).map_or(Vec::new(), |mut state| state.cancel(at, why))
            },
        }
    }

    /// Cancels the open alerts of a stored rule that is no longer configured.
    pub(super) fn cancel(&self, stored: &StoredState, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        if stored.kind == self.kind { (self.cancel)(&stored.state, at, why) } else { Vec::new() }
    }
}

impl RuleReader for RuleKind {
    type Rule = Arc<dyn AnyRule>;

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn subject(&self) -> RuleSubject {
        self.subject
    }

    fn read(&self, section: &Section<'_, '_>) -> Option<Self::Rule> {
        (self.read)(section)
    }
}

/// The settings of a rule of any kind.
pub trait AnyRule: Debug + Send + Sync {
    #[doc(hidden)]
    fn subject(&self) -> RuleSubject;

    /// Starts the rule for a camera or worker, with the stored state if there is one of this kind.
    #[doc(hidden)]
    fn start(self: Arc<Self>, stored: Option<StoredState>) -> ActiveRule;
}

impl<R: Rule> AnyRule for R {
    fn subject(&self) -> RuleSubject {
        R::SUBJECT
    }

    fn start(self: Arc<Self>, stored: Option<StoredState>) -> ActiveRule {
        let stored = stored.filter(|stored| stored.kind == R::KIND);
        let state = stored.and_then(|stored| decoded::<R>(&stored.state)).unwrap_or_default();
        ActiveRule(Box::new(WithState { rule: self, state }))
    }
}

/// A rule of any kind with its state for one camera or worker.
#[derive(Debug)]
pub struct ActiveRule(pub(super) Box<dyn Evaluate>);

pub(super) trait Evaluate: Debug + Send + Sync {
    fn frame(&mut self, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord>;
    fn tick(&mut self, rule: &RuleSettings, subject: Subject<'_>, now: Timestamp) -> Vec<AlertRecord>;
    fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord>;
    fn stored(&self) -> Result<StoredState, rmp_serde::encode::Error>;
}

#[derive(Debug)]
struct WithState<R: Rule> {
    rule: Arc<R>,
    state: R::State,
}

impl<R: Rule> Evaluate for WithState<R> {
    fn frame(&mut self, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        self.rule.frame(&mut self.state, rule, scene)
    }

    fn tick(&mut self, rule: &RuleSettings, subject: Subject<'_>, now: Timestamp) -> Vec<AlertRecord> {
        self.rule.tick(&mut self.state, rule, subject, now)
    }

    fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        self.state.cancel(at, why)
    }

    fn stored(&self) -> Result<StoredState, rmp_serde::encode::Error> {
        Ok(StoredState { kind: R::KIND.into(), state: rmp_serde::to_vec_named(&self.state)? })
    }
}

/// The state of a rule in the store.
#[doc(hidden)]
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredState {
    kind: String,
    /// MessagePack.
    #[serde(with = "serde_bytes")]
    state: Vec<u8>,
}

fn decoded<R: Rule>(state: &[u8]) -> Option<R::State> {
    rmp_serde::from_slice(state)
        .map_err(|error| {
            tracing::warn!(kind = R::KIND, %error, "cannot decode the stored state of a rule, it is reset");
        })
        .ok()
}
