//! Statistics of a data set.

use std::fmt;

use serde::Serialize;

use super::{DataSet, Skipped};
use crate::sample::Target;

/// The numbers of images and objects in a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    pub images: usize,
    /// Images without objects, which are negative examples.
    pub empty: usize,
    pub classes: Vec<ClassCount>,
    pub skipped: Skipped,
    /// Objects that are skipped in training and used in evaluation, as in pycocotools.
    pub evaluation_only: usize,
}

/// The numbers of images and objects of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    pub name: String,
    /// Images of the class, or with an object of the class.
    pub images: usize,
    /// Objects that are not ignored; 0 for image classes.
    pub objects: usize,
    pub ignored: usize,
}

impl Statistics {
    pub fn of(set: &DataSet) -> Self {
        let count = |name: &String| ClassCount { name: name.clone(), images: 0, objects: 0, ignored: 0 };
        let mut classes: Vec<ClassCount> = set.classes().names().iter().map(count).collect();
        let (mut empty, mut evaluation_only) = (0, 0);
        for entry in set.entries() {
            let mut here = vec![false; classes.len()];
            let mut count_class = |id: u32, object: Option<bool>| {
                let Some(index) = set.classes().index(id) else { return };
                here[index] = true;
                match object {
                    Some(true) => classes[index].ignored += 1,
                    Some(false) => classes[index].objects += 1,
                    None => {}
                }
            };
            match &entry.target {
                Target::Class(parts) => parts.iter().for_each(|(id, _)| count_class(*id, None)),
                Target::Objects(objects) => {
                    evaluation_only += entry.truth().len().saturating_sub(objects.len());
                    objects.iter().for_each(|object| count_class(object.class_id, Some(object.ignore)));
                }
            }
            empty += usize::from(!here.contains(&true));
            classes.iter_mut().zip(here).for_each(|(class, here)| class.images += usize::from(here));
        }
        Self { images: set.len(), empty, classes, skipped: set.skipped().clone(), evaluation_only }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "images: {} ({} without an object)", self.images, self.empty)?;
        for ClassCount { name, images, objects, ignored } in &self.classes {
            write!(f, "{name}: in {images} images")?;
            if *objects + *ignored > 0 {
                write!(f, ", {objects} objects")?;
            }
            if *ignored > 0 {
                write!(f, " and {ignored} ignored")?;
            }
            writeln!(f)?;
        }
        write!(f, "{}", self.skipped)?;
        if self.evaluation_only > 0 {
            write!(
                f,
                "\nskipped in training only, evaluation counts them as pycocotools does: {}",
                self.evaluation_only
            )?;
        }
        Ok(())
    }
}
