//! Conversion of enums, and of the ledger's drop and expiry causes.

use std::collections::BTreeMap;

use lookout_schema::{
    AlertLevel, AlertState, CameraStatus, Clock, DropCause, ExpireCause, LineDirection, RetryReason,
    TrackEvent, WorkerState,
};

use super::BadField;
use crate::proto;

/// An enum that is a number in Protobuf.
pub(super) trait Named: Copy {
    fn number(self) -> i32;

    fn from_number(number: i32) -> Option<Self>;
}

/// Converts the number of a field to its enum. An unknown number makes the record unreadable, as an unknown name does
/// in JSON.
pub(super) fn named<T: Named>(field: &'static str, number: i32) -> Result<T, BadField> {
    T::from_number(number).ok_or_else(|| BadField::new(field, format!("unknown value {number}")))
}

pub(super) fn optional_named<T: Named>(
    field: &'static str,
    number: Option<i32>,
) -> Result<Option<T>, BadField> {
    number.map(|number| named(field, number)).transpose()
}

macro_rules! named {
    ($($name:ident { $($value:ident),* })*) => {
        $(
            impl Named for $name {
                fn number(self) -> i32 {
                    match self {
                        $(Self::$value => proto::$name::$value.into(),)*
                    }
                }

                fn from_number(number: i32) -> Option<Self> {
                    match proto::$name::try_from(number).ok()? {
                        proto::$name::Unspecified => None,
                        $(proto::$name::$value => Some(Self::$value),)*
                    }
                }
            }
        )*
    };
}

named! {
    Clock { Rtcp, Arrival, File }
    CameraStatus { Connecting, Running, Retrying, Ended, Failed, Stopped }
    RetryReason {
        Unreachable, Unauthorized, Untrusted, NotFound, Undecodable, EndOfStream, Stalled, PipelineError
    }
    WorkerState { Starting, Running, Draining, Stopped }
    TrackEvent { New, Update, End }
    LineDirection { LeftToRight, RightToLeft }
    AlertState { Raised, Changed, Cleared }
    AlertLevel { Info, Warning, Critical }
}

/// A cause by which frames or records are counted in the ledger.
pub(super) trait Cause: Copy + Ord + 'static {
    const ALL: &'static [Self];

    fn name(self) -> &'static str;
}

impl Cause for DropCause {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Cause for ExpireCause {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

pub(super) fn counts<C: Cause>(counts: &BTreeMap<C, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(cause, count)| (cause.name().to_owned(), *count)).collect()
}

pub(super) fn causes<C: Cause>(
    field: &'static str,
    counts: BTreeMap<String, u64>,
) -> Result<BTreeMap<C, u64>, BadField> {
    let cause = |name: &str| C::ALL.iter().copied().find(|cause| cause.name() == name);
    let invalid = |name: &str| {
        BadField::new(field, format!("unknown cause `{}`", name.chars().take(80).collect::<String>()))
    };
    counts
        .into_iter()
        .map(|(name, count)| cause(&name).map(|cause| (cause, count)).ok_or_else(|| invalid(&name)))
        .collect()
}
