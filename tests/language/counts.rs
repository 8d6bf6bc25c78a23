//! Every language model of the literature has exactly as many weights as its paper or code.

use crate::scripts::run;

/// A model over 10,000 words, and its weights.
const COUNTS: [(&str, usize); 9] = [
    ("recurrent_supernet(10000)", 4_810_000),
    ("language_model(10000, #{ cell: recurrent_genotype(\"DARTS_V1\") })", 22_960_000),
    ("language_model(10000, #{ cell: recurrent_genotype(\"DARTS_V2\") })", 22_960_000),
    ("language_model(10000, #{ cell: recurrent_genotype(\"ENAS\") })", 27_295_000),
    (
        "language_model(10000, #{ cell: recurrent_genotype(\"ENAS_official_arc\"), hidden: 748, bias: false })",
        22_027_104,
    ),
    ("language_model(10000, #{ cell: \"highway\", hidden: 830, depth: 10 })", 23_482_400),
    ("language_model(10000, #{ cell: \"lstm\", widths: [1150, 1150, 400], embedding: 400 })", 24_221_600),
    ("language_model(10000, #{ cell: \"lstm\", widths: [960, 960, 620], embedding: 280, experts: 15 })", 21_500_620),
    ("language_model(10000, #{ cell: \"nas\", hidden: 741, layers: 2, bias: false })", 32 * 741 * 741 + 7_410_000),
];

#[test]
fn language_models_have_the_weights_of_their_papers() {
    let lines: String = COUNTS.iter().map(|(model, _)| format!("print({model}.parameters);\n")).collect();
    let ended = run(&lines);
    ended.shows(0, &[]);
    let found: Vec<usize> = ended.stdout.lines().map(|line| line.parse().expect("a number")).collect();
    for ((model, weights), found) in COUNTS.iter().zip(found) {
        assert_eq!(found, *weights, "{model}");
    }
}

#[test]
fn the_shipped_baselines_are_these_models() {
    let ended = crate::binary::candlewick(
        tempfile::tempdir().expect("a folder").path(),
        &["run", &crate::scripts::shipped("rnn_baselines.rhai").display().to_string(), "--set", "model=all"],
    );
    ended.shows(0, &[]);
    let counted = |name: &str| -> usize {
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{name}: "))).expect("a line");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    let known = [
        ("highway", 23_482_400),
        ("lstm", 24_221_600),
        ("mixture", 21_500_620),
        ("enas", 22_027_104),
        ("enas_darts", 27_295_000),
    ];
    known.iter().for_each(|(name, weights)| assert_eq!(counted(name), *weights, "{name}"));
    for (name, millions) in [("skip", 24.0), ("nas", 25.0)] {
        assert!((counted(name) as f64 / 1e6 - millions).abs() < 0.2, "{name}: {}", counted(name));
    }
}
