//! Networks have the tensors of torchvision's networks, by name and size, so that `load_state_dict` accepts
//! what `lookout train` writes. `goldens/make_state_dicts.py` generates the list.

use std::collections::BTreeMap;

use lookout_model::Network;

const CLASSES: i64 = 5;

#[test]
fn tensor_names_and_sizes_match_torchvision() {
    let list = include_str!("goldens/state_dicts.txt");
    let networks: Vec<(&str, &str)> =
        list.split('[').skip(1).map(|part| part.split_once("]\n").unwrap()).collect();
    assert_eq!(networks.len(), 9);
    for (arch, lines) in networks {
        let theirs: BTreeMap<String, Vec<i64>> = lines
            .lines()
            .map(|line| {
                let mut parts = line.split(' ');
                (parts.next().unwrap().to_owned(), parts.map(|side| side.parse().unwrap()).collect())
            })
            .collect();
        let ours: BTreeMap<String, Vec<i64>> = Network::new(arch, CLASSES)
            .unwrap()
            .tensors()
            .into_iter()
            .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
            .map(|(name, tensor)| (name, tensor.size()))
            .collect();
        assert_eq!(ours, theirs, "{arch}");
    }
}
