//! Statistics of a data set.

use std::fmt;

use serde::Serialize;

use super::{DataSet, LeftOut};
use crate::sample::Target;

/// The numbers of images and objects in a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    pub pictures: usize,
    /// Images without objects, which are negative examples.
    pub empty: usize,
    pub classes: Vec<ClassCount>,
    pub left_out: LeftOut,
    /// Objects that are skipped in training and used in evaluation, as in pycocotools.
    pub judged_only: usize,
}

/// The numbers of images and objects of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    pub name: String,
    /// Images of the class, or with an object of the class.
    pub pictures: usize,
    /// Objects that are not ignored; 0 for image classes.
    pub objects: usize,
    pub ignored: usize,
}

impl Overview {
    pub fn of(set: &DataSet) -> Self {
        let count = |name: &String| ClassCount { name: name.clone(), pictures: 0, objects: 0, ignored: 0 };
        let mut classes: Vec<ClassCount> = set.classes().names().iter().map(count).collect();
        let (mut empty, mut judged_only) = (0, 0);
        for entry in set.entries() {
            let mut here = vec![false; classes.len()];
            let mut see = |id: u32, object: Option<bool>| {
                let Some(place) = set.classes().place(id) else { return };
                here[place] = true;
                match object {
                    Some(true) => classes[place].ignored += 1,
                    Some(false) => classes[place].objects += 1,
                    None => {}
                }
            };
            match &entry.target {
                Target::Class(parts) => parts.iter().for_each(|(id, _)| see(*id, None)),
                Target::Objects(objects) => {
                    judged_only += entry.truth().len().saturating_sub(objects.len());
                    objects.iter().for_each(|object| see(object.class_id, Some(object.ignore)));
                }
            }
            empty += usize::from(!here.contains(&true));
            classes.iter_mut().zip(here).for_each(|(class, here)| class.pictures += usize::from(here));
        }
        Self { pictures: set.len(), empty, classes, left_out: set.left_out().clone(), judged_only }
    }
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "images: {} ({} without an object)", self.pictures, self.empty)?;
        for ClassCount { name, pictures, objects, ignored } in &self.classes {
            write!(f, "{name}: in {pictures} images")?;
            if *objects + *ignored > 0 {
                write!(f, ", {objects} objects")?;
            }
            if *ignored > 0 {
                write!(f, " and {ignored} ignored")?;
            }
            writeln!(f)?;
        }
        write!(f, "{}", self.left_out)?;
        if self.judged_only > 0 {
            write!(
                f,
                "\nskipped in training only, evaluation counts them as pycocotools does: {}",
                self.judged_only
            )?;
        }
        Ok(())
    }
}
