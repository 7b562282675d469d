//! Assignment of detections to tracks with the highest total weight (Kuhn, The Hungarian Method for the
//! Assignment Problem, 1955).

use std::collections::{BTreeMap, BTreeSet};

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

/// A possible pair of a row and a column, with its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// The weight; above 0, and far below 1e12.
    pub(crate) worth: f32,
}

/// The maximum number of rows or columns of a connected component that is solved exactly, because the cost
/// grows with the cube. Larger components fall back to greedy matching.
const MAX_WEIGHED: usize = 100;

/// Returns the best pairs by the weight that `worth` returns for a row and a column, if they can be a pair.
pub(crate) fn assign_by(
    rows: usize,
    columns: usize,
    worth: impl Fn(usize, usize) -> Option<f64>,
) -> Vec<(usize, usize)> {
    let mut candidates = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            if let Some(worth) = worth(row, column) {
                candidates.push(Candidate { row, column, worth: worth as f32 });
            }
        }
    }
    assign(rows, columns, &candidates)
}

/// Returns the best pairs `(row, column)` among `candidates`. Each row and each column is in at most one
/// pair.
pub(crate) fn assign(rows: usize, columns: usize, candidates: &[Candidate]) -> Vec<(usize, usize)> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let (mut of_row, mut of_column) = (vec![0_u32; rows], vec![0_u32; columns]);
    for candidate in candidates {
        of_row[candidate.row] += 1;
        of_column[candidate.column] += 1;
    }
    let alone = |c: &Candidate| of_row[c.row] == 1 && of_column[c.column] == 1;
    let (free, contested): (Vec<Candidate>, Vec<Candidate>) = candidates.iter().partition(|c| alone(c));
    let mut pairs: Vec<(usize, usize)> = free.iter().map(|c| (c.row, c.column)).collect();
    for mut heap in heaps(rows, columns, contested) {
        let (rows, columns) = (numbered(&heap, |c| c.row), numbered(&heap, |c| c.column));
        if rows.len() == 1 || columns.len() == 1 || rows.len().max(columns.len()) > MAX_WEIGHED {
            heap.sort_unstable_by(|a, b| b.worth.total_cmp(&a.worth));
            pairs.extend(best_first(&heap));
        } else {
            pairs.extend(weighed(&heap, rows, columns));
        }
    }
    pairs
}

/// Splits the candidates into connected components: candidates that share a row or a column, directly or
/// through others.
fn heaps(rows: usize, columns: usize, candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    if candidates.is_empty() {
        return Vec::new();
    }
    // Union-find over the rows, followed by the columns: each entry points to another of its component, and a
    // root points to itself.
    let mut next: Vec<usize> = (0..rows + columns).collect();
    for candidate in &candidates {
        let (a, b) = (end(&mut next, candidate.row), end(&mut next, rows + candidate.column));
        next[a] = b;
    }
    let mut heaps: BTreeMap<usize, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        heaps.entry(end(&mut next, candidate.row)).or_default().push(candidate);
    }
    heaps.into_values().collect()
}

fn end(next: &mut [usize], mut at: usize) -> usize {
    while next[at] != at {
        next[at] = next[next[at]];
        at = next[at];
    }
    at
}

fn numbered(candidates: &[Candidate], of: fn(&Candidate) -> usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = candidates.iter().map(of).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn best_first(sorted: &[Candidate]) -> Vec<(usize, usize)> {
    let (mut rows, mut columns) = (BTreeSet::new(), BTreeSet::new());
    let free = sorted.iter().filter(|c| {
        let free = !rows.contains(&c.row) && !columns.contains(&c.column);
        if free {
            rows.insert(c.row);
            columns.insert(c.column);
        }
        free
    });
    free.map(|c| (c.row, c.column)).collect()
}

fn weighed(candidates: &[Candidate], mut rows: Vec<usize>, mut columns: Vec<usize>) -> Vec<(usize, usize)> {
    const SCALE: f32 = 1e6;
    // `kuhn_munkres` requires that there are no more rows than columns.
    let turned = rows.len() > columns.len();
    if turned {
        std::mem::swap(&mut rows, &mut columns);
    }
    let mut worth = Matrix::new(rows.len(), columns.len(), 0_i64);
    for candidate in candidates {
        let (row, column) =
            if turned { (candidate.column, candidate.row) } else { (candidate.row, candidate.column) };
        if let (Ok(row), Ok(column)) = (rows.binary_search(&row), columns.binary_search(&column)) {
            worth[(row, column)] = (candidate.worth * SCALE) as i64;
        }
    }
    let (_, chosen) = kuhn_munkres(&worth);
    let pairs = chosen.into_iter().enumerate().filter(|(row, column)| worth[(*row, *column)] > 0);
    pairs
        .map(|(row, column)| {
            let (row, column) = (rows[row], columns[column]);
            if turned { (column, row) } else { (row, column) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn worth(candidates: &[Candidate], pairs: &[(usize, usize)]) -> f32 {
        let of =
            |pair: &(usize, usize)| candidates.iter().find(|c| (c.row, c.column) == *pair).unwrap().worth;
        pairs.iter().map(of).sum()
    }

    /// Returns the best total weight by exhaustive search.
    fn best(candidates: &[Candidate], taken: &mut Vec<(usize, usize)>) -> f32 {
        let Some((first, rest)) = candidates.split_first() else { return 0.0 };
        let without = best(rest, taken);
        if taken.iter().any(|(row, column)| *row == first.row || *column == first.column) {
            return without;
        }
        taken.push((first.row, first.column));
        let with = first.worth + best(rest, taken);
        taken.pop();
        with.max(without)
    }

    proptest! {
        #[test]
        fn assignment_is_optimal(
            worths in prop::collection::btree_map((0_usize..5, 0_usize..4), 0.05_f32..1.0, 0..12),
        ) {
            let candidates: Vec<Candidate> =
                worths.iter().map(|((row, column), worth)| Candidate { row: *row, column: *column, worth: *worth }).collect();
            let pairs = assign(5, 4, &candidates);
            let (mut rows, mut columns): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            rows.sort_unstable();
            columns.sort_unstable();
            prop_assert!(rows.windows(2).all(|two| two[0] < two[1]));
            prop_assert!(columns.windows(2).all(|two| two[0] < two[1]));
            let truth = best(&candidates, &mut Vec::new());
            prop_assert!((worth(&candidates, &pairs) - truth).abs() < 1e-4);
        }
    }
}
