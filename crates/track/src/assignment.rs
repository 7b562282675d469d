//! Which detection is which track: the pairs whose overlaps add up to the most (Kuhn, The Hungarian Method for
//! the Assignment Problem, 1955).

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

/// A row and a column that could be a pair, and how much they are worth together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// Above 0.
    pub(crate) worth: f32,
}

/// The best pairs `(row, column)` among `candidates`; no row and no column is in two.
pub(crate) fn assign(rows: usize, columns: usize, candidates: &[Candidate]) -> Vec<(usize, usize)> {
    let (mut of_row, mut of_column) = (vec![0_u32; rows], vec![0_u32; columns]);
    for candidate in candidates {
        of_row[candidate.row] += 1;
        of_column[candidate.column] += 1;
    }
    let alone = |c: &&Candidate| of_row[c.row] == 1 && of_column[c.column] == 1;
    let mut pairs: Vec<(usize, usize)> =
        candidates.iter().filter(alone).map(|candidate| (candidate.row, candidate.column)).collect();
    // Only those that others contest have to be weighed against one another, which are few.
    let contested: Vec<Candidate> = candidates.iter().filter(|c| !alone(c)).copied().collect();
    pairs.extend(weighed(&contested));
    pairs
}

fn weighed(candidates: &[Candidate]) -> Vec<(usize, usize)> {
    const SCALE: f32 = 1e6;
    let numbered = |of: fn(&Candidate) -> usize| {
        let mut numbers: Vec<usize> = candidates.iter().map(of).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let (mut rows, mut columns) = (numbered(|c| c.row), numbered(|c| c.column));
    // The library wants no more rows than columns.
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
    if candidates.is_empty() {
        return Vec::new();
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

    /// By trying everything.
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
        fn the_pairs_are_the_best_there_are(
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
