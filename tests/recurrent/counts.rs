//! Parameters and multiply-adds are read off the built step, and are those of the literature.

use crate::cells;

/// A vocabulary of 10,000 words: a tied embedding with a bias for each word.
fn language_model(embedding: usize, bias: bool, cell: usize) -> usize {
    10_000 * embedding + if bias { 10_000 } else { 0 } + cell
}

#[test]
fn parameters_are_those_of_the_reference() {
    let darts = cells::darts_v2(850, 850).unwrap();
    assert_eq!(language_model(850, true, darts.parameters()), 22_960_000);
    assert_eq!(language_model(300, true, cells::search(300, 300, 8).unwrap().parameters()), 4_810_000);
    let highway = cells::highway(830, 830, 10).unwrap();
    assert_eq!(language_model(830, true, highway.parameters()), 23_482_400);
    // Three layers, each a network of its own.
    let lstm = [(400, 1150), (1150, 1150), (1150, 400)].map(|(from, to)| cells::lstm(from, to, 1, false).unwrap());
    let lstm = lstm.iter().map(|layer| layer.parameters()).sum();
    assert_eq!(language_model(400, true, lstm), 24_221_600);
}

#[test]
fn multiply_adds_are_those_of_every_product() {
    // 37 products with 300 × 600 of the hidden state's kind, and one of the token's.
    assert_eq!(cells::search(300, 300, 8).unwrap().macs(), 38 * 300 * 600);
    let lstm = cells::lstm(3, 5, 2, false).unwrap();
    assert_eq!(lstm.macs(), 4 * 5 * (3 + 5 + 5 + 5));
    assert_eq!(lstm.parameters(), lstm.macs() + 2 * 2 * 4 * 5);
}
