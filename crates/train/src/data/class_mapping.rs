//! Mapping of a data set to the classes of a network.

use super::{Classes, DataError, DataSet, Entry, SkipReason, Skipped};
use crate::sample::Target;

/// torchvision's name for network outputs without a class, since COCO leaves out some numbers.
const NO_CLASS: &str = "N/A";

impl DataSet {
    /// Returns the data set with the classes `names` in this order, for training a network with these classes. Other
    /// classes are skipped and listed in [`DataSet::skipped`]: an object is removed and its image stays, while an
    /// image of another class is removed. The name `N/A` is a placeholder for an output without a class.
    ///
    /// # Errors
    /// Returns an error if the data set lacks one of `names`.
    pub fn with_classes(self, names: &[String]) -> Result<Self, DataError> {
        let missing = self.missing(names);
        if missing.is_empty() { Ok(self.mapped(names)) } else { Err(self.missing_classes(missing)) }
    }

    /// Returns the data set with the classes of a network, for evaluation. The network may have classes that are not in
    /// the data set; those do not affect the result.
    ///
    /// # Errors
    /// Returns an error if the data set has none of `names`.
    pub fn with_network_classes(self, names: &[String]) -> Result<Self, DataError> {
        let missing = self.missing(names);
        if names.iter().any(|name| self.classes.id(name).is_some()) {
            Ok(self.mapped(names))
        } else {
            Err(self.missing_classes(missing))
        }
    }

    fn missing(&self, names: &[String]) -> Vec<String> {
        let is_missing = |name: &&String| *name != NO_CLASS && self.classes.id(name).is_none();
        names.iter().filter(is_missing).cloned().collect()
    }

    fn missing_classes(&self, missing: Vec<String>) -> DataError {
        DataError::NoClasses { missing, available: self.classes.names().to_vec() }
    }

    fn mapped(self, names: &[String]) -> Self {
        let Self { classes: old, entries, mut skipped, ignored, of_images, exif } = self;
        let new = old.renamed(names);
        let mapping = ClassMapping { old: &old, new: &new };
        let entries = entries.into_iter().filter_map(|entry| mapping.entry(entry, &mut skipped)).collect();
        Self { classes: new, entries, skipped, ignored, of_images, exif }
    }
}

struct ClassMapping<'c> {
    old: &'c Classes,
    new: &'c Classes,
}

impl ClassMapping<'_> {
    fn id(&self, old: u32) -> Option<u32> {
        self.new.id(self.old.name(old))
    }

    fn entry(&self, mut entry: Entry, skipped: &mut Skipped) -> Option<Entry> {
        // No skipped item is added for these, since the loop over the target adds it.
        if let Some(evaluation_objects) = &mut entry.evaluation_objects {
            evaluation_objects.retain_mut(|object| {
                let id = self.id(object.class_id);
                object.class_id = id.unwrap_or(0);
                id.is_some()
            });
        }
        let path = &entry.path;
        match &mut entry.target {
            Target::Objects(objects) => {
                let mut number = 0;
                objects.retain_mut(|object| {
                    number += 1;
                    let id = self.id(object.class_id);
                    if id.is_none() {
                        let what = format!("object {number} ({})", self.old.name(object.class_id));
                        skipped.add(path, what, SkipReason::NotSelected);
                    }
                    object.class_id = id.unwrap_or(0);
                    id.is_some()
                });
            }
            Target::Class(parts) => {
                let mapped: Option<Vec<(u32, f32)>> =
                    parts.iter().map(|(id, part)| Some((self.id(*id)?, *part))).collect();
                let Some(mapped) = mapped else {
                    skipped.add(path, "the image", SkipReason::NotSelected);
                    return None;
                };
                *parts = mapped;
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use lookout_schema::BBox;

    use super::*;
    use crate::data::IgnoredAre;
    use lookout_config::ExifOrientation;
    use lookout_measure::ObjectTarget;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn set(classes: Classes, targets: Vec<Target>) -> DataSet {
        let entry = |(number, target)| {
            let name = format!("{number}.png");
            Entry { path: name.clone().into(), name, number, size: None, target, evaluation_objects: None }
        };
        DataSet {
            of_images: classes.ids().next() == Some(0),
            classes,
            entries: (1..).zip(targets).map(entry).collect(),
            skipped: Skipped::default(),
            ignored: IgnoredAre::Crowds,
            exif: ExifOrientation::Apply,
        }
    }

    fn objects(ids: &[u32]) -> Target {
        let bbox = BBox::from([0.0, 0.0, 1.0, 1.0]);
        let object = |class_id: &u32| ObjectTarget { class_id: *class_id, bbox, ignore: false, area: 1.0 };
        Target::Objects(ids.iter().map(object).collect())
    }

    #[test]
    fn network_may_have_more_classes_than_the_data_set() {
        let classes = || Classes::of_objects(names(&["a", "b"]));
        let mapped =
            set(classes(), vec![objects(&[1, 2])]).with_network_classes(&names(&["c", "b", "N/A"])).unwrap();
        assert_eq!(mapped.classes().names(), ["c", "b", "N/A"]);
        let Target::Objects(objects) = &mapped.entries()[0].target else { panic!() };
        assert_eq!(objects.iter().map(|object| object.class_id).collect::<Vec<_>>(), [2]);
        let error =
            set(classes(), Vec::new()).with_network_classes(&names(&["c", "N/A"])).unwrap_err().to_string();
        assert!(error.contains("`a`, `b`"), "{error}");
    }

    #[test]
    fn objects_get_the_ids_of_the_selected_classes() {
        let classes = [(1, "person"), (13, "stop"), (90, "toothbrush")];
        let classes = Classes::numbered(classes.map(|(number, name)| (number, name.to_owned())).to_vec());
        let set = set(classes, vec![objects(&[1, 2, 3, 1]), objects(&[2])]);
        let mapped = set.with_classes(&names(&["toothbrush", "N/A", "person"])).unwrap();
        let targets: Vec<&Target> = mapped.entries().iter().map(|entry| &entry.target).collect();
        assert_eq!(targets, [&objects(&[3, 1, 3]), &objects(&[])]);
        let skipped = mapped.skipped().items();
        assert_eq!((skipped.len(), skipped[0].what.as_str()), (2, "object 2 (stop)"));
        let classes = mapped.classes();
        assert_eq!([1, 2, 3].map(|id| classes.number(id)), [Some(90), None, Some(1)]);
        assert_eq!([90, 1, 13].map(|number| classes.of_number(number)), [Some(1), Some(3), None]);
    }

    #[test]
    fn images_of_other_classes_are_skipped() {
        let classes = Classes::of_images(names(&["cat", "dog", "eel"]));
        let set = set(classes, [0, 1, 2].map(|id| Target::Class(vec![(id, 1.0)])).to_vec());
        let mapped = set.with_classes(&names(&["eel", "cat"])).unwrap();
        let targets: Vec<&Target> = mapped.entries().iter().map(|entry| &entry.target).collect();
        assert_eq!(targets, [&Target::Class(vec![(1, 1.0)]), &Target::Class(vec![(0, 1.0)])]);
        assert_eq!(mapped.skipped().counts()[&SkipReason::NotSelected], 1);
    }

    #[test]
    fn missing_classes_are_named() {
        let set = set(Classes::of_objects(names(&["cat", "dog"])), vec![]);
        let error = set.with_classes(&names(&["cat", "eel", "fly"])).unwrap_err().to_string();
        assert_eq!(error, "the data set has no class `eel`, `fly`; it has `cat`, `dog`");
    }
}
