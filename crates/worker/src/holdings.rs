//! Derives the cameras that this worker runs from the events of the fleet.

use std::{collections::BTreeMap, sync::Arc};

use lookout_config::{CameraSettings, FleetSettings, Secrets, registry_camera};
use lookout_schema::{CameraId, CameraSpec, Epoch, RegistryRecord, WorkerFleet, shortened};
use lookout_stage::{FleetEvent, Ownership};

use crate::camera::DesiredCamera;

/// A camera in the registry that this worker does not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnassignedCamera {
    pub(crate) camera: CameraId,
    pub(crate) epoch: Epoch,
    pub(crate) why: String,
    /// Whether its record has to be corrected; otherwise it exceeds the worker's limit of cameras.
    pub(crate) bad: bool,
}

/// The worker's part of the registry.
pub(crate) struct Holdings {
    max_cameras: Option<usize>,
    secrets: Secrets,
    knows_class: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    shares: BTreeMap<i32, Share>,
}

struct Share {
    ownership: Arc<Ownership>,
    cameras: BTreeMap<String, Known>,
    leaving: bool,
}

/// The last record of a camera.
enum Known {
    Watch { spec: Box<CameraSpec>, settings: Box<CameraSettings> },
    Disabled,
    Bad(String),
}

/// How to run the registry's cameras.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) desired: BTreeMap<CameraId, DesiredCamera>,
    pub(crate) unwatched: Vec<UnassignedCamera>,
    /// For the worker's status.
    pub(crate) summary: WorkerFleet,
}

/// Maximum number of bad records named in the worker's status, which gives the number of the others.
const NAMED: usize = 8;

impl Holdings {
    pub(crate) fn new(
        settings: &FleetSettings,
        knows_class: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    ) -> Self {
        let secrets = Secrets::of(settings);
        Self { max_cameras: settings.max_cameras, secrets, knows_class, shares: BTreeMap::new() }
    }

    /// Applies an event of the fleet. Returns the reason if this worker can no longer be a member of the fleet.
    pub(crate) fn apply(&mut self, event: FleetEvent) -> Option<String> {
        match event {
            FleetEvent::Gained { partition, ownership, records } => {
                let known = records.into_iter().filter_map(|(key, record)| Some((key, self.read(record)?)));
                let share = Share { ownership, cameras: known.collect(), leaving: false };
                self.shares.insert(partition, share);
            }
            FleetEvent::Changed { partition, key, record } => {
                let known = self.read(record);
                if let Some(share) = self.shares.get_mut(&partition) {
                    match known {
                        Some(known) => share.cameras.insert(key, known),
                        None => share.cameras.remove(&key),
                    };
                }
            }
            FleetEvent::Leaving { partition } => {
                if let Some(share) = self.shares.get_mut(&partition) {
                    share.leaving = true;
                }
            }
            FleetEvent::Lost { partition } => drop(self.shares.remove(&partition)),
            FleetEvent::Failed { reason } => {
                self.shares.clear();
                return Some(reason);
            }
        }
        None
    }

    fn read(&self, record: RegistryRecord) -> Option<Known> {
        let spec = match record {
            RegistryRecord::Removed => return None,
            RegistryRecord::Bad(why) => return Some(Known::Bad(why)),
            RegistryRecord::Camera(spec) if !spec.enabled => return Some(Known::Disabled),
            RegistryRecord::Camera(spec) => spec,
        };
        Some(match registry_camera(&spec, &self.secrets) {
            Err(why) => Known::Bad(why),
            Ok(settings) => match settings.classes.iter().find(|class| !(self.knows_class)(class)) {
                Some(class) => {
                    Known::Bad(format!("classes: `{class}` is not a class of this worker's network"))
                }
                None => Known::Watch { spec, settings: Box::new(settings) },
            },
        })
    }

    /// Returns the partitions to be released, with the ownership term that has to end first.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = (i32, &Arc<Ownership>)> {
        let leaving = self.shares.iter().filter(|(_, share)| share.leaving);
        leaving.map(|(partition, share)| (*partition, &share.ownership))
    }

    /// Removes a released partition.
    pub(crate) fn released(&mut self, partition: i32) {
        self.shares.remove(&partition);
    }

    /// Returns the cameras to run: at most `max_cameras`, those of the highest priority first.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        plan.summary.max_cameras = self.max_cameras.map(|max| max as u64);
        let mut candidates = Vec::new();
        for (partition, share) in self.shares.iter().filter(|(_, share)| !share.leaving) {
            plan.summary.partitions.push(*partition);
            for (key, known) in &share.cameras {
                match known {
                    Known::Watch { spec, settings } => candidates.push((spec, settings, &share.ownership)),
                    Known::Disabled => {}
                    Known::Bad(why) => plan.bad(key, why, share.ownership.epoch()),
                }
            }
        }
        candidates
            .sort_by_key(|(spec, ..)| (u8::MAX - spec.priority, spec.id.clone(), u64::MAX - spec.version));
        for (spec, settings, ownership) in candidates {
            if plan.desired.contains_key(&spec.id) {
                let why = "it has records in two partitions, as happens when partitions are added to the topic; \
                           remove the camera and add it again";
                plan.bad(spec.id.as_str(), why, ownership.epoch());
            } else if self.max_cameras.is_some_and(|max| plan.desired.len() >= max) {
                let why = format!("this worker already runs `max_cameras` = {} cameras", plan.desired.len());
                let camera = spec.id.clone();
                plan.unwatched.push(UnassignedCamera { camera, epoch: ownership.epoch(), why, bad: false });
                plan.summary.cameras_over_limit += 1;
            } else {
                let desired =
                    DesiredCamera { settings: (**settings).clone(), ownership: Arc::clone(ownership) };
                plan.desired.insert(spec.id.clone(), desired);
            }
        }
        let more = plan.summary.invalid_records.len().saturating_sub(NAMED);
        if more > 0 {
            plan.summary.invalid_records.truncate(NAMED);
            plan.summary.invalid_records.push(format!("and {more} more"));
        }
        plan
    }
}

impl Plan {
    fn bad(&mut self, key: &str, why: &str, epoch: Epoch) {
        self.summary.invalid_records.push(format!("{}: {why}", shortened(key)));
        if let Ok(camera) = key.parse() {
            self.unwatched.push(UnassignedCamera { camera, epoch, why: why.into(), bad: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(id: &str, priority: u8) -> RegistryRecord {
        let spec = CameraSpec::new(id.parse().unwrap(), "test://ball");
        RegistryRecord::Camera(Box::new(CameraSpec { priority, ..spec }))
    }

    fn holdings(max_cameras: Option<usize>, records: &[(&str, RegistryRecord)]) -> Holdings {
        let settings = FleetSettings { max_cameras, ..FleetSettings::default() };
        let mut holdings = Holdings::new(&settings, Arc::new(|class| class == "person"));
        let records = records.iter().map(|(key, record)| ((*key).to_owned(), record.clone())).collect();
        holdings.apply(FleetEvent::Gained { partition: 2, ownership: Ownership::without_end(), records });
        holdings
    }

    fn watched(plan: &Plan) -> Vec<&str> {
        plan.desired.keys().map(CameraId::as_str).collect()
    }

    #[test]
    fn cameras_of_the_highest_priority_are_run_and_the_others_reported() {
        let records = [("a", camera("a", 10)), ("b", camera("b", 90)), ("c", camera("c", 50))];
        let plan = holdings(Some(2), &records).plan();
        assert_eq!(watched(&plan), ["b", "c"]);
        assert_eq!((plan.summary.cameras_over_limit, plan.summary.partitions.as_slice()), (1, &[2][..]));
        assert!(plan.unwatched[0].camera.as_str() == "a" && !plan.unwatched[0].bad, "{plan:?}");
    }

    #[test]
    fn bad_records_are_reported_and_skipped() {
        let mut wrong = CameraSpec::new("wrong".parse().unwrap(), "ftp://x");
        wrong.classes = vec!["dog".into()];
        let stranger = CameraSpec { uri: "test://ball".into(), id: "s".parse().unwrap(), ..wrong.clone() };
        let off = CameraSpec { enabled: false, ..CameraSpec::new("off".parse().unwrap(), "test://ball") };
        let records = [
            ("a", camera("a", 50)),
            ("a b", RegistryRecord::Bad("no id".into())),
            ("off", RegistryRecord::Camera(Box::new(off))),
            ("s", RegistryRecord::Camera(Box::new(stranger))),
            ("wrong", RegistryRecord::Camera(Box::new(wrong))),
        ];
        let plan = holdings(None, &records).plan();
        assert_eq!(watched(&plan), ["a"]);
        assert_eq!(plan.summary.invalid_records.len(), 3, "{plan:?}");
        let named: Vec<_> = plan.unwatched.iter().map(|each| each.camera.as_str()).collect();
        assert_eq!(named, ["s", "wrong"]);
        assert!(plan.unwatched[0].why.contains("`dog`") && plan.unwatched[1].why.contains("ftp"), "{plan:?}");
    }

    #[test]
    fn the_plan_follows_changes_of_records_and_partitions() {
        let mut holdings = holdings(None, &[("a", camera("a", 50))]);
        let changed = |key: &str, record| FleetEvent::Changed { partition: 2, key: key.into(), record };
        holdings.apply(changed("b", camera("b", 50)));
        holdings.apply(changed("a", RegistryRecord::Removed));
        assert_eq!(watched(&holdings.plan()), ["b"]);
        holdings.apply(FleetEvent::Leaving { partition: 2 });
        assert!(holdings.plan().desired.is_empty());
        assert_eq!(holdings.leaving().map(|(partition, _)| partition).collect::<Vec<_>>(), [2]);
        holdings.released(2);
        assert_eq!(holdings.leaving().count(), 0);
        assert_eq!(holdings.apply(FleetEvent::Failed { reason: "fenced".into() }).unwrap(), "fenced");
    }
}
