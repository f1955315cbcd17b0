//! The table of docs/nat.md is what agents do today.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, path::Path};

use portolan_lab::nat::{Matrix, measure};

/// As many as the page says.
const SEEDS: u32 = 20;
const BEGIN: &str = "<!-- lab nat begins -->\n";
const END: &str = "<!-- lab nat ends -->";

/// Where real kernels' translators were traversed by packets sent at once, without guessing.
fn is_ordinary(one: &str, other: &str) -> bool {
    let is_symmetric = |place: &str| place == "symmetric";
    // The home's translator before a carrier's is strict whatever the carrier's does.
    let is_strict =
        |place: &str| ["port-restricted", "symmetric", "carrier (double)"].contains(&place);
    let hopeless = |one: &str, other: &str| is_symmetric(one) && is_strict(other);
    !hopeless(one, other) && !hopeless(other, one)
}

fn check(matrix: &Matrix) {
    for (one, row) in matrix.places.iter().zip(&matrix.cells) {
        for (other, cell) in matrix.places.iter().zip(row) {
            let pair = format!("{one} - {other}: {cell:?}");
            if [*one, *other].contains(&"UDP blocked") {
                assert_eq!(cell.direct, 0, "{pair}");
            } else if is_ordinary(one, other) {
                assert_eq!(cell.direct, cell.tries, "{pair}");
                assert!(cell.median_ms.unwrap() < 1000, "{pair}");
            } else if *one == "symmetric" && other == one {
                assert_eq!(cell.direct, 0, "{pair}");
            } else {
                // By lot: 98 of 100 are to be expected.
                assert!(cell.direct * 10 >= cell.tries * 8, "{pair}");
            }
        }
    }
}

#[test]
fn every_pair_meets_as_real_kernels_let_it_and_the_page_says_so() {
    let matrix = measure(SEEDS);
    check(&matrix);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/nat.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (told, after) = rest.split_once(END).unwrap();
    let table = matrix.to_markdown();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        told == table,
        "docs/nat.md tells another table; if this one is right, UPDATE_GOLDEN=1 cargo test -p \
         portolan-lab --test nat writes it\n\n{table}"
    );
}
