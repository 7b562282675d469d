//! One-to-one assignment with the highest total weight.

use std::collections::{BTreeMap, BTreeSet};

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

/// Returns the one-to-one assignment with the highest total weight (Kuhn 1955). Pairs that are not in `weights`
/// have the weight 0 and are never chosen.
pub(super) fn best_pairs(weights: &BTreeMap<(u64, u64), i64>) -> Vec<(u64, u64)> {
    components(weights).iter().flat_map(best_of_component).collect()
}

/// Splits the pairs into connected components, which have independent best assignments. The time of the
/// assignment grows with the cube of the number of ids.
fn components(weights: &BTreeMap<(u64, u64), i64>) -> Vec<BTreeMap<(u64, u64), i64>> {
    fn root(parent: &BTreeMap<(bool, u64), (bool, u64)>, mut node: (bool, u64)) -> (bool, u64) {
        while let Some(next) = parent.get(&node).filter(|next| **next != node) {
            node = *next;
        }
        node
    }
    let mut parent: BTreeMap<(bool, u64), (bool, u64)> = BTreeMap::new();
    for (row, column) in weights.keys() {
        let [a, b] = [(false, *row), (true, *column)].map(|node| root(&parent, node));
        // The root is inserted too, and paths are shortened, so that later lookups are fast.
        parent.insert(a, a);
        parent.insert(b, a);
        parent.insert((true, *column), a);
        parent.insert((false, *row), a);
    }
    let mut components: BTreeMap<(bool, u64), BTreeMap<(u64, u64), i64>> = BTreeMap::new();
    for (pair, weight) in weights {
        components.entry(root(&parent, (false, pair.0))).or_default().insert(*pair, *weight);
    }
    components.into_values().collect()
}

fn best_of_component(weights: &BTreeMap<(u64, u64), i64>) -> Vec<(u64, u64)> {
    if weights.len() == 1 {
        return weights.keys().copied().collect();
    }
    let side =
        |of: fn(&(u64, u64)) -> u64| weights.keys().map(of).collect::<BTreeSet<_>>().into_iter().collect();
    let (firsts, seconds): (Vec<u64>, Vec<u64>) = (side(|pair| pair.0), side(|pair| pair.1));
    // The algorithm needs at least as many columns as rows.
    let turned = firsts.len() > seconds.len();
    let (rows, columns) = if turned { (&seconds, &firsts) } else { (&firsts, &seconds) };
    let pair = |row: u64, column: u64| if turned { (column, row) } else { (row, column) };
    let worth = |row: &u64, column: &u64| weights.get(&pair(*row, *column)).copied().unwrap_or(0);
    let numbers = rows.iter().flat_map(|row| columns.iter().map(move |column| worth(row, column))).collect();
    let Ok(matrix) = Matrix::from_vec(rows.len(), columns.len(), numbers) else { return Vec::new() };
    let (_, chosen) = kuhn_munkres(&matrix);
    let chosen = chosen.into_iter().enumerate().map(|(row, column)| pair(rows[row], columns[column]));
    chosen.filter(|pair| weights.contains_key(pair)).collect()
}
