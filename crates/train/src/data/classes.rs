//! The classes of a data set: names, ids, and the numbers in the files.

/// The classes of a data set, ordered by id.
///
/// Ids of object classes start at 1, since 0 is a detector's background. Ids of image classes start at 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    /// The numbers in the data set's files, if it has any.
    numbers: Option<Vec<Option<u64>>>,
    first: u32,
}

impl Classes {
    /// Creates object classes, with ids from 1.
    pub fn of_objects(names: Vec<String>) -> Self {
        Self { names, numbers: None, first: 1 }
    }

    /// Creates image classes, with ids from 0.
    pub fn of_images(names: Vec<String>) -> Self {
        Self { names, numbers: None, first: 0 }
    }

    /// Creates object classes from pairs of the data set's number, which must be unique, and a name.
    pub(super) fn numbered(mut classes: Vec<(u64, String)>) -> Self {
        classes.sort();
        let (numbers, names) = classes.into_iter().map(|(number, name)| (Some(number), name)).unzip();
        Self { names, numbers: Some(numbers), first: 1 }
    }

    /// Returns the classes `names` in this order, each with the number that it has in the data set.
    pub(super) fn renamed(&self, names: &[String]) -> Self {
        let number = |name: &String| self.number(self.id(name)?);
        let numbers = self.numbers.is_some().then(|| names.iter().map(number).collect());
        Self { names: names.to_vec(), numbers, first: self.first }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the ids of all classes.
    pub fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        self.first..self.first + u32::try_from(self.names.len()).unwrap_or(0)
    }

    /// Returns the name of a class, or an empty string if there is no such class.
    pub fn name(&self, id: u32) -> &str {
        self.index(id).and_then(|index| self.names.get(index)).map_or("", String::as_str)
    }

    /// Returns the id of the first class with a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.id_at(self.names.iter().position(|known| known == name)?)
    }

    /// Returns the id of the class with a number of the data set.
    pub fn of_number(&self, number: u64) -> Option<u32> {
        let numbers = self.numbers.as_ref()?;
        self.id_at(numbers.iter().position(|known| *known == Some(number))?)
    }

    /// Returns the data set's number of a class, or its id if the data set has no numbers.
    pub fn number(&self, id: u32) -> Option<u64> {
        let index = self.index(id)?;
        match &self.numbers {
            Some(numbers) => numbers.get(index).copied().flatten(),
            None => (index < self.names.len()).then_some(u64::from(id)),
        }
    }

    /// Returns the index of a class in [`Classes::names`].
    pub fn index(&self, id: u32) -> Option<usize> {
        id.checked_sub(self.first).map(|index| index as usize).filter(|index| *index < self.names.len())
    }

    fn id_at(&self, index: usize) -> Option<u32> {
        u32::try_from(index).ok()?.checked_add(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_ids_map_to_contiguous_class_ids_and_back() {
        let classes =
            Classes::numbered(vec![(90, "toothbrush".into()), (1, "person".into()), (13, "stop".into())]);
        assert_eq!(classes.names(), ["person", "stop", "toothbrush"]);
        assert_eq!([1, 13, 90, 2].map(|number| classes.of_number(number)), [Some(1), Some(2), Some(3), None]);
        for id in classes.ids() {
            assert_eq!(classes.of_number(classes.number(id).unwrap()), Some(id));
            assert_eq!(classes.id(classes.name(id)), Some(id));
        }
        assert_eq!((classes.name(0), classes.name(4), classes.number(4)), ("", "", None));
    }

    #[test]
    fn image_classes_are_numbered_from_0() {
        let classes = Classes::of_images(vec!["cat".into(), "dog".into()]);
        assert_eq!((classes.id("cat"), classes.name(1), classes.index(1)), (Some(0), "dog", Some(1)));
    }
}
