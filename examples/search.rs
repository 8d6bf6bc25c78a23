//! A differentiable architecture search in Rust: `scripts/first_search.rhai` without its run folder and charts.
//!
//!     cargo run --release --example search -- 20
//!
//! The argument is the number of epochs, by default 5. Two losses are lowered in turn: the weights on one half of the
//! training images, the alphas on the other half (DARTS: Liu, Simonyan and Yang 2019, first order).

use anyhow::{Context, Result};
use candle_core::Device;
use candlewick::data::{Augment, BatchOptions, Batches, ImageOptions, ImageSet, Source, images};
use candlewick::learn::{
    Adam, AdamOptions, Optimizer, Order, Sgd, SgdOptions, alpha_gradient, evaluate, schedule, weight_gradient,
};
use candlewick::random::Seed;
use candlewick::space::{Network, Supernet, SupernetOptions};

/// Images per batch.
const BATCH: usize = 32;

fn main() -> Result<()> {
    let epochs: u64 = match std::env::args().nth(1) {
        Some(count) => count.parse().with_context(|| format!("{count} is not a number of epochs"))?,
        None => 5,
    };
    let seed = Seed(2);

    // Both halves of the training images as endless rows of shuffled, augmented batches.
    let digits = images(&Source::Digits, &ImageOptions::default())?;
    let (first, second) = digits.train.split(0.5)?;
    let options = BatchOptions { augment: Augment::Standard, ..BatchOptions::default() };
    let batches = |half: &ImageSet, stream| Batches::new(half, BATCH, &options, seed, stream);
    let (train, valid) = (batches(&first, "train")?, batches(&second, "valid")?);

    // Every edge of a cell is a blend of all candidates; the alphas say how much of each.
    let (input, classes) = (digits.train.shape(), digits.train.classes().len());
    let options = SupernetOptions { channels: 8, layers: 5, ..SupernetOptions::new(input, classes) };
    let network = Network::supernet(Supernet::build(&options)?, seed, &Device::Cpu)?;
    let sgd = SgdOptions { momentum: 0.9, weight_decay: 3e-4, clip: Some(5.0), ..SgdOptions::new(0.05) };
    let mut w_opt = Sgd::new(vec![network.weights().clone()], sgd)?;
    let adam = AdamOptions { betas: (0.5, 0.999), weight_decay: 1e-3, ..AdamOptions::new(6e-3) };
    let mut a_opt = Adam::new(network.alphas().parameters(), adam)?;

    for epoch in 0..epochs {
        w_opt.set_lr(schedule::cosine(0.05, 0.001, epoch as f64, epochs as f64))?;
        let mut sum = 0.0;
        for batch in train.epoch(epoch) {
            let (batch, other) = (batch?, valid.next()?);
            let (_, gradients) = alpha_gradient(&network, &batch, &other, None, &Order::First)?;
            a_opt.step(&gradients)?;
            let (loss, gradient) = weight_gradient(&network, &batch, None)?;
            w_opt.step(&[gradient])?;
            sum += loss;
        }
        println!("epoch {}: training loss {:.4}", epoch + 1, sum / train.len() as f64);
    }
    let score = evaluate(&network, digits.test.batches_in_order(BATCH)?, None)?;
    println!("{}", network.derive(None)?);
    if let Some(hits) = score.hits {
        println!("accuracy of the supernet on {} digits it has not seen: {:.3}", score.examples, hits.accuracy);
    }
    Ok(())
}
