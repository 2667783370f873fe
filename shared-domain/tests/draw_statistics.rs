//! Whether draws are fair: 10,000 small ones against the probabilities they should have, by chi-square.

mod support;

use std::collections::HashMap;
use std::io::Write;

use statrs::distribution::{ChiSquared, ContinuousCDF};
use support::{Draw, bytes, entrants};

const DRAWS: u64 = 10_000;

/// Straight to standard error: the harness would keep what a passing test prints.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error");
}

/// What one draw gave, by index in the list: (first, second winner), and the alternate.
fn outcomes(label: &str, weights: &[u16]) -> Vec<(usize, usize, usize)> {
    let list = entrants(weights.iter().copied());
    let index: HashMap<_, _> = list.iter().enumerate().map(|(i, e)| (*e.entry_id(), i)).collect();
    // DRAW_STATISTICS_SEED repeats a run or asks for another one.
    let base = std::env::var("DRAW_STATISTICS_SEED").unwrap_or_else(|_| "2026".to_owned());
    say(&format!(
        "seeds of {label}: SHA-256(\"{base}/{label}/0\") to SHA-256(\"{base}/{label}/{}\")",
        DRAWS - 1
    ));
    (0..DRAWS)
        .map(|i| {
            let mut draw = Draw::new(2, 1, list.clone());
            draw.seed = bytes(&format!("{base}/{label}/{i}"));
            let mut selection = draw.selection(&[0; 32]);
            list.iter().for_each(|e| selection.push(e));
            let selected = selection.finish();
            let at = |id| index[id];
            (at(&selected.winners[0]), at(&selected.winners[1]), at(&selected.alternates[0]))
        })
        .collect()
}

/// p of the counts under the probabilities.
fn p_value(label: &str, counts: &[u64], probabilities: &[f64]) {
    let all = counts.iter().sum::<u64>() as f64;
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let statistic: f64 =
        counts.iter().zip(probabilities).map(|(n, p)| (*n as f64 - all * p).powi(2) / (all * p)).sum();
    let p = ChiSquared::new(counts.len() as f64 - 1.0).expect("degrees of freedom").sf(statistic);
    say(&format!("{label}: chi-square {statistic:.1} over {} cells, p = {p:.4}", counts.len()));
    assert!((0.001..=0.999).contains(&p), "{label}: p = {p}");
}

fn check(label: &str, weights: &[u16]) {
    let n = weights.len();
    let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    let w = |i: usize| f64::from(weights[i]);
    let outcomes = outcomes(label, weights);
    let count = |cell: &dyn Fn(&(usize, usize, usize)) -> usize, cells: usize| {
        let mut counts = vec![0; cells];
        outcomes.iter().for_each(|o| counts[cell(o)] += 1);
        counts
    };
    let first: Vec<f64> = (0..n).map(|i| w(i) / total).collect();
    p_value(&format!("{label}, first winner"), &count(&|o| o.0, n), &first);
    // Without replacement: the second among the others by their weights.
    let pairs: Vec<(usize, usize)> =
        (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j))).collect();
    let place: HashMap<_, _> = pairs.iter().enumerate().map(|(at, pair)| (*pair, at)).collect();
    let both: Vec<f64> = pairs.iter().map(|(i, j)| w(*i) / total * w(*j) / (total - w(*i))).collect();
    p_value(&format!("{label}, both winners in order"), &count(&|o| place[&(o.0, o.1)], pairs.len()), &both);
    let alternate: Vec<f64> = (0..n)
        .map(|a| {
            let others = pairs.iter().filter(|(i, j)| *i != a && *j != a);
            others
                .map(|(i, j)| w(*i) / total * w(*j) / (total - w(*i)) * w(a) / (total - w(*i) - w(*j)))
                .sum()
        })
        .collect();
    p_value(&format!("{label}, the alternate"), &count(&|o| o.2, n), &alternate);
}

#[test]
fn equal_chances() {
    check("equal", &[1; 10]);
}

#[test]
fn weighted_chances() {
    check("weighted", &[1, 1, 2, 3, 5, 8, 13]);
}
