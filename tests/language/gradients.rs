//! Gradients of weights, whichever way they are asked for.

use crate::scripts::run;

/// Models whose passes differ in what stands between the words and the loss.
const MODELS: [&str; 6] = [
    "recurrent_supernet(data, #{ hidden: 6, nodes: 2, dropout: #{ output: 0.3, hidden: 0.2, x: 0.3, input: 0.2 } })",
    "language_model(data, #{ cell: recurrent_genotype(\"DARTS_V2\"), hidden: 6, dropout: #{ words: 0.3 } })",
    "language_model(data, #{ cell: \"lstm\", widths: [7, 5], dropout: #{ between: 0.3 } })",
    "language_model(data, #{ cell: \"lstm\", widths: [7, 6], embedding: 6, dropout: #{ weights: 0.4, words: 0.2 } })",
    "language_model(data, #{ cell: \"lstm\", widths: [7, 5], embedding: 4, experts: 3, dropout: #{ latent: 0.3 } })",
    "language_model(data, #{ cell: \"highway\", hidden: 6, depth: 2, bias: false })",
];

/// The loss of a model's first window and the gradient of all weights, in a run of its own: masks are drawn by the
/// number of the pass.
fn taken(model: &str, gradient: &str) -> Vec<f64> {
    let script = format!(
        r#"
        let data = text("austen", #{{ vocabulary: 60 }});
        let net = {model};
        let window = data.train.windows(4, #{{ length: 5 }}).next();
        {gradient}
        print(loss);
        for value in slopes.array() {{ print(value); }}
        "#
    );
    let ended = run(&script);
    ended.shows(0, &[]);
    ended.stdout.lines().map(|line| line.parse().expect("a number")).collect()
}

/// `weight_gradient` gathers the gradients of long parts beside candle's tape; `gradient` takes all of them from it.
#[test]
fn the_gradient_of_all_weights_is_that_of_the_loss() {
    for model in MODELS {
        let gathered =
            "let known = weight_gradient(net, window); let loss = known.loss; let slopes = known.parts.weights;";
        let gathered = taken(model, gathered);
        let tracked = "let loss = net.surprise(window); let slopes = gradient(loss, net.weights); loss = loss.item();";
        let tracked = taken(model, tracked);
        assert_eq!(gathered.len(), tracked.len());
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let apart = norm(&mut gathered.iter().zip(&tracked).map(|(one, other)| one - other));
        let whole = norm(&mut tracked[1..].iter().copied());
        assert!(whole > 0.0 && apart < 1e-6 * whole, "{model}: {apart} of {whole}");
    }
}
