//! Every primitive, and the ways in which plans fuse them, against the exact executor. Strides, dilations, odd and even
//! sizes, channel counts that fill no vector, one channel, one image.

use crate::check::{check, check_with};
use candlewick::engine::Draws;
use candlewick::graph::{Activation, Conv, Graph, Node, NoiseKind, Pool, PoolKind, Probability, Slot};
use candlewick::random::Seed;
use rand_distr::{Distribution, StandardNormal};

const SIZES: [(usize, usize); 4] = [(8, 8), (7, 5), (6, 9), (1, 1)];

#[test]
fn dense_convolutions() {
    for channels in [1, 3, 17] {
        for size in [(8, 8), (7, 5)] {
            for (kernel, stride, dilation) in
                [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 1), (3, 1, 2), (3, 3, 1), (1, 2, 1)]
            {
                check(&format!("conv {kernel}/{stride}/{dilation} on {channels}"), channels, size, 2, |g, x| {
                    g.conv("a", x, Conv::square(6, kernel).dilation(dilation).stride(stride)).unwrap()
                });
            }
        }
    }
    check("oblong kernels", 4, (7, 6), 2, |g, x| {
        let wide = Conv { kernel: (1, 7), padding: (0, 3), stride: (1, 2), ..Conv::square(20, 1) };
        let high = Conv { kernel: (7, 1), padding: (3, 0), stride: (2, 1), ..Conv::square(20, 1) };
        let y = g.conv("a", x, wide).unwrap();
        g.conv("b", y, high).unwrap()
    });
    check("groups and bias", 6, (5, 4), 3, |g, x| g.conv("a", x, Conv::square(9, 3).groups(3).bias()).unwrap());
}

#[test]
fn depthwise_convolutions_alone_and_fused() {
    for channels in [1, 2, 16, 19, 35] {
        for (kernel, stride, dilation) in
            [(3, 1, 1), (5, 1, 1), (3, 1, 2), (5, 1, 2), (3, 2, 1), (5, 2, 1), (3, 2, 2), (5, 2, 2), (7, 1, 1)]
        {
            for size in [(8, 8), (7, 5)] {
                check(&format!("depthwise {kernel}/{stride}/{dilation} on {channels}"), channels, size, 2, |g, x| {
                    let y = g.relu(x);
                    g.depthwise("a", y, kernel, stride, dilation).unwrap()
                });
                check(&format!("separable {kernel}/{stride}/{dilation} on {channels}"), channels, size, 2, |g, x| {
                    let y = g.relu(x);
                    let y = g.depthwise("1", y, kernel, stride, dilation).unwrap();
                    let y = g.pointwise("2", y, channels + 3).unwrap();
                    g.batch_norm("3", y, false).unwrap()
                });
            }
        }
    }
}

#[test]
fn halving() {
    for (channels, out) in [(1, 2), (3, 8), (16, 16), (20, 34)] {
        check("halve", channels, (8, 6), 2, |g, x| {
            let y = g.relu(x);
            let y = g.halve(y, out).unwrap();
            g.batch_norm("bn", y, false).unwrap()
        });
    }
}

#[test]
fn norms_where_plans_treat_them_differently() {
    for affine in [false, true] {
        check("of a convolution", 3, (5, 5), 3, |g, x| {
            let y = g.pointwise("a", x, 7).unwrap();
            let y = g.batch_norm("n", y, affine).unwrap();
            g.relu(y)
        });
        check("of the images", 3, (5, 5), 3, |g, x| g.batch_norm("n", x, affine).unwrap());
        check("of a sum with other readers", 3, (5, 5), 3, |g, x| {
            let y = g.pointwise("a", x, 5).unwrap();
            let z = g.pointwise("b", x, 5).unwrap();
            let sum = g.add(&[y, z]).unwrap();
            let n = g.batch_norm("n", sum, affine).unwrap();
            let r = g.relu(n);
            let c = g.pointwise("c", r, 5).unwrap();
            g.add(&[sum, c, n]).unwrap()
        });
        check("of a convolution with other readers", 3, (5, 5), 3, |g, x| {
            let y = g.pointwise("a", x, 5).unwrap();
            let n = g.batch_norm("n", y, affine).unwrap();
            let m = g.batch_norm("m", y, true).unwrap();
            g.add(&[y, n, m]).unwrap()
        });
        check("of a norm of an activation", 3, (4, 5), 3, |g, x| {
            let y = g.batch_norm("n", x, affine).unwrap();
            let y = g.activate(y, Activation::Tanh);
            let y = g.batch_norm("m", y, affine).unwrap();
            g.activate(y, Activation::Sigmoid)
        });
        check("of an activation with other readers", 3, (4, 5), 3, |g, x| {
            let t = g.activate(x, Activation::Tanh);
            let n = g.batch_norm("n", t, affine).unwrap();
            let m = g.batch_norm("m", t, true).unwrap();
            let y = g.depthwise("a", t, 3, 1, 1).unwrap();
            g.concat(&[n, t, m, y]).unwrap()
        });
        check("of a concatenation", 3, (4, 5), 3, |g, x| {
            let a = g.pointwise("a", x, 5).unwrap();
            let b = g.pointwise("b", x, 18).unwrap();
            let all = g.concat(&[a, b]).unwrap();
            let n = g.batch_norm("n", all, affine).unwrap();
            let r = g.relu(n);
            let c = g.pointwise("c", r, 4).unwrap();
            g.concat(&[all, c]).unwrap()
        });
    }
}

#[test]
fn activations() {
    for (name, activation) in Activation::ALL {
        check(name, 3, (5, 4), 2, |g, x| {
            let y = g.pointwise("a", x, 6).unwrap();
            let y = g.batch_norm("n", y, false).unwrap();
            let y = g.activate(y, activation);
            g.depthwise("b", y, 3, 1, 1).unwrap()
        });
        check(&format!("{name} into a sum"), 3, (5, 4), 2, |g, x| {
            let y = g.pointwise("a", x, 6).unwrap();
            let y = g.activate(y, activation);
            let z = g.activate(y, Activation::Relu);
            g.add(&[y, z]).unwrap()
        });
    }
}

#[test]
fn pools() {
    for size in SIZES {
        for kind in
            [PoolKind::Max, PoolKind::Average { count_padding: false }, PoolKind::Average { count_padding: true }]
        {
            for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 3, 2), (5, 1, 2), (7, 2, 3)] {
                if size.0 + 2 * padding < kernel || size.1 + 2 * padding < kernel {
                    continue;
                }
                check(&format!("{kind:?} {kernel}/{stride}/{padding} on {size:?}"), 18, size, 2, |g, x| {
                    let y = g.pool(x, Pool { kind, kernel, stride, padding }).unwrap();
                    g.batch_norm("n", y, false).unwrap()
                });
            }
        }
    }
}

#[test]
fn sums_concatenations_and_selections() {
    check("mixed", 4, (5, 4), 2, |g, x| {
        let slots = g.slots("normal", 1, 4).unwrap();
        let a = g.pointwise("a", x, 4).unwrap();
        let a = g.batch_norm("n", a, false).unwrap();
        let pool = g.max_pool_3x3(x, 1).unwrap();
        let zero = g.zero(x, 1).unwrap();
        g.mixed(&[(zero, slots.slot(0, 0)), (a, slots.slot(0, 1)), (pool, slots.slot(0, 2)), (x, slots.slot(0, 3))])
            .unwrap()
    });
    check("sums of sums", 4, (5, 4), 2, |g, x| {
        let slots = g.slots("normal", 2, 2).unwrap();
        let a = g.pointwise("a", x, 4).unwrap();
        let one = g.mixed(&[(a, slots.slot(0, 0)), (x, slots.slot(0, 1))]).unwrap();
        let two = g.add(&[a, x]).unwrap();
        let three = g.scale(two, slots.slot(1, 0)).unwrap();
        let four = g.scale(one, slots.slot(1, 1)).unwrap();
        g.add(&[one, three, four]).unwrap()
    });
    check("only zeros", 4, (6, 4), 2, |g, x| {
        let zero = g.zero(x, 2).unwrap();
        let y = g.relu(zero);
        g.depthwise("a", y, 3, 1, 1).unwrap()
    });
    check("concatenations within concatenations", 3, (4, 4), 2, |g, x| {
        let a = g.pointwise("a", x, 5).unwrap();
        let b = g.pointwise("b", x, 17).unwrap();
        let s = g.add(&[a, a]).unwrap();
        let ab = g.concat(&[s, b, a]).unwrap();
        let c = g.pointwise("c", ab, 4).unwrap();
        let all = g.concat(&[ab, c, x, c]).unwrap();
        let y = g.relu(all);
        let d = g.depthwise("d", y, 3, 2, 1).unwrap();
        g.batch_norm("n", d, true).unwrap()
    });
    check("slices and shuffles", 12, (4, 3), 2, |g, x| {
        let first = g.slice(x, 0, 3).unwrap();
        let rest = g.slice(x, 3, 9).unwrap();
        let y = g.depthwise("a", first, 3, 1, 1).unwrap();
        let all = g.concat(&[y, rest]).unwrap();
        g.shuffle(all, 4).unwrap()
    });
    check("sums of different layouts", 3, (4, 4), 2, |g, x| {
        let a = g.pointwise("a", x, 5).unwrap();
        let b = g.pointwise("b", x, 6).unwrap();
        let parts = g.concat(&[a, b]).unwrap();
        let whole = g.pointwise("c", x, 11).unwrap();
        let whole = g.batch_norm("n", whole, false).unwrap();
        let one = g.add(&[parts, whole]).unwrap();
        let two = g.add(&[whole, parts]).unwrap();
        g.add(&[one, two]).unwrap()
    });
    check("one node read by everybody", 4, (6, 6), 2, |g, x| {
        let slots = g.slots("normal", 1, 5).unwrap();
        let s = g.add(&[x, x]).unwrap();
        let r = g.relu(s);
        let a = g.depthwise("a", r, 3, 1, 1).unwrap();
        let a = g.pointwise("a2", a, 4).unwrap();
        let a = g.batch_norm("an", a, false).unwrap();
        let b = g.depthwise("b", r, 5, 1, 2).unwrap();
        let b = g.pointwise("b2", b, 4).unwrap();
        let pool = g.avg_pool_3x3(s, 1).unwrap();
        let pool = g.batch_norm("pn", pool, false).unwrap();
        let same = g.avg_pool_3x3(s, 1).unwrap();
        let same = g.batch_norm("again", same, false).unwrap();
        let one = g.mixed(&[(a, slots.slot(0, 0)), (pool, slots.slot(0, 1)), (s, slots.slot(0, 2))]).unwrap();
        let two = g.mixed(&[(b, slots.slot(0, 3)), (same, slots.slot(0, 4)), (one, slots.slot(0, 2))]).unwrap();
        g.concat(&[one, two]).unwrap()
    });
}

/// Norms and sums pass one gradient straight on into another, which must not lie over what is still read.
#[test]
fn gradients_are_not_written_over_while_they_are_read() {
    check("images read by a pool, a norm and a concatenation", 4, (9, 17), 2, |g, x| {
        let slots = g.slots("mixed", 1, 3).unwrap();
        let pool = Pool { kind: PoolKind::Average { count_padding: true }, kernel: 2, stride: 1, padding: 1 };
        let pool = g.pool(x, pool).unwrap();
        let mixed = g.mixed(&[0, 1, 2].map(|column| (pool, slots.slot(0, column)))).unwrap();
        let pool = g.batch_norm("pool", pool, false).unwrap();
        let normed = g.batch_norm("images", x, false).unwrap();
        let relu = g.relu(normed);
        let both = g.concat(&[x, relu]).unwrap();
        let probes = [("a", mixed), ("b", pool), ("c", both)].map(|(name, node)| {
            let shape = g.shape(node);
            g.conv(name, node, Conv { kernel: (shape.height, shape.width), ..Conv::square(4, 1) }).unwrap()
        });
        g.concat(&probes).unwrap()
    });
}

#[test]
fn one_image_one_channel_and_many_images() {
    for batch in [1, 3, 37] {
        check("small", 1, (4, 4), batch, |g, x| {
            let y = g.conv("a", x, Conv::square(2, 3)).unwrap();
            let y = g.batch_norm("n", y, true).unwrap();
            let y = g.relu(y);
            let y = g.depthwise("b", y, 3, 2, 1).unwrap();
            g.pointwise("c", y, 3).unwrap()
        });
    }
}

#[test]
fn masked_candidates_are_left_out() {
    for mask in [[true, false, true], [false, true, false], [false, false, true], [false, false, false]] {
        check_with(&format!("mask {mask:?}"), 3, (6, 6), 2, Some(mask.to_vec()), Draws::default(), |g, x| {
            let slots = g.slots("normal", 1, 3).unwrap();
            let s = g.pointwise("s", x, 4).unwrap();
            let s = g.add(&[s]).unwrap();
            let r = g.relu(s);
            let a = g.depthwise("a", r, 3, 1, 1).unwrap();
            let a = g.pointwise("a2", a, 4).unwrap();
            let a = g.batch_norm("an", a, false).unwrap();
            let a = g.relu(a);
            let a = g.depthwise("a3", a, 3, 1, 1).unwrap();
            let a = g.pointwise("a4", a, 4).unwrap();
            let a = g.batch_norm("an2", a, false).unwrap();
            let pool = g.max_pool_3x3(s, 1).unwrap();
            let pool = g.batch_norm("pn", pool, true).unwrap();
            g.mixed(&[(a, slots.slot(0, 0)), (pool, slots.slot(0, 1)), (s, Slot(2))]).unwrap()
        });
    }
}

/// Half of all paths dropped, in a pass of its own number.
fn draws(pass: u64) -> Draws {
    Draws { seed: Seed(5), pass, drop_path: 0.5, ..Draws::default() }
}

#[test]
fn dropped_paths() {
    let separable = |g: &mut Graph, name: &str, x: Node, affine: bool| {
        g.scope(name, |g| {
            let y = g.relu(x);
            let y = g.depthwise("1", y, 3, 1, 1).unwrap();
            let y = g.pointwise("2", y, 4).unwrap();
            g.batch_norm("3", y, affine).unwrap()
        })
    };
    for pass in 0..4 {
        for affine in [false, true] {
            check_with("a node of a discrete cell", 4, (5, 4), 7, None, draws(pass), |g, x| {
                let a = separable(g, "a", x, affine);
                let a = g.drop_path(a).unwrap();
                let pool = g.max_pool_3x3(x, 1).unwrap();
                let pool = g.drop_path(pool).unwrap();
                let node = g.add(&[a, pool]).unwrap();
                let b = separable(g, "b", node, affine);
                let b = g.drop_path(b).unwrap();
                let next = g.add(&[b, x]).unwrap();
                g.concat(&[node, next]).unwrap()
            });
        }
        check_with("paths of a node dropped together", 4, (5, 4), 7, None, draws(pass), |g, x| {
            let a = separable(g, "a", x, true);
            let sum = g.add(&[a, x]).unwrap();
            let dropped = g.drop_path(sum).unwrap();
            assert_eq!(g.drop_count(), 1);
            g.add(&[dropped, x]).unwrap()
        });
        check_with("a node dropped twice and read as it is", 4, (4, 4), 6, None, draws(pass), |g, x| {
            let a = separable(g, "a", x, true);
            let one = g.drop_path(a).unwrap();
            let two = g.drop_path(a).unwrap();
            let r = g.relu(a);
            let b = g.pointwise("b", r, 4).unwrap();
            g.add(&[one, two, a, b]).unwrap()
        });
        check_with("mixing weights of dropped paths", 4, (4, 4), 6, None, draws(pass), |g, x| {
            let slots = g.slots("normal", 1, 3).unwrap();
            let a = separable(g, "a", x, false);
            let dropped = g.drop_path(a).unwrap();
            let mixed = g.mixed(&[(dropped, slots.slot(0, 0)), (x, slots.slot(0, 1))]).unwrap();
            let again = g.drop_path(mixed).unwrap();
            let once_more = g.drop_path(again).unwrap();
            let last = g.scale(once_more, slots.slot(0, 2)).unwrap();
            g.add(&[last, x]).unwrap()
        });
        check_with("a dropped zero and a dropped concatenation", 4, (4, 4), 6, None, draws(pass), |g, x| {
            let zero = g.zero(x, 1).unwrap();
            let zero = g.drop_path(zero).unwrap();
            let a = separable(g, "a", x, true);
            let both = g.concat(&[zero, a, x]).unwrap();
            let dropped = g.drop_path(both).unwrap();
            let n = g.batch_norm("n", dropped, true).unwrap();
            g.add(&[n, both]).unwrap()
        });
    }
}

#[test]
fn noise_is_added_and_has_no_gradient() {
    for pass in [0, 1] {
        check_with("noise", 3, (5, 4), 4, None, draws(pass), |g, x| {
            let slots = g.slots("normal", 1, 2).unwrap();
            let one = g.noise(x, 1).unwrap();
            let two = g.noise(x, 1).unwrap();
            let normed = g.batch_norm("n", two, true).unwrap();
            let mixed = g.mixed(&[(one, slots.slot(0, 0)), (x, slots.slot(0, 1))]).unwrap();
            let r = g.relu(two);
            let a = g.pointwise("a", r, 3).unwrap();
            let sum = g.add(&[mixed, normed, a]).unwrap();
            let smaller = g.depthwise("b", sum, 3, 2, 1).unwrap();
            let last = g.noise(sum, 2).unwrap();
            g.add(&[smaller, last]).unwrap()
        });
    }
}

#[test]
fn every_pass_draws_its_own_and_equal_keys_draw_alike() {
    let draws = |pass, seed| Draws { seed: Seed(seed), pass, drop_path: 0.25, ..Draws::default() };
    let factors = draws(3, 1).path_factors(50, 100);
    assert_eq!(factors, draws(3, 1).path_factors(50, 100));
    assert_ne!(factors, draws(4, 1).path_factors(50, 100));
    assert_ne!(factors, draws(3, 2).path_factors(50, 100));
    assert!(factors.iter().all(|&f| f == 0.0 || f == 1.0 / 0.75));
    let dropped = factors.iter().filter(|&&f| f == 0.0).count();
    assert!((1100..1400).contains(&dropped), "{dropped} of 5000");
    assert!(Draws::default().path_factors(50, 100).is_empty());
    let noise = |pass, id, image| draws(pass, 1).noise(NoiseKind::Normal, id, image).take(2000).collect::<Vec<f32>>();
    assert_eq!(noise(0, 0, 0), noise(0, 0, 0));
    for other in [noise(1, 0, 0), noise(0, 1, 0), noise(0, 0, 1)] {
        assert_ne!(noise(0, 0, 0), other);
    }
    let (sum, square) = noise(0, 0, 0).iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    assert!((sum / 2000.0).abs() < 0.1 && (square / 2000.0 - 1.0).abs() < 0.15, "{sum} {square}");
    let kind = NoiseKind::Kept { dropped: Probability::new(0.75).unwrap() };
    let kept: Vec<f32> = draws(0, 1).noise(kind, 0, 0).take(2000).collect();
    assert!(kept.iter().all(|&kept| kept == 0.0 || kept == 4.0));
    let dropped = kept.iter().filter(|&&kept| kept == 0.0).count();
    assert!((1400..1600).contains(&dropped), "{dropped} of 2000");
    let scoring = Draws { dropout: false, ..draws(0, 1) };
    assert!(scoring.noise(kind, 0, 0).take(2000).all(|kept| kept == 1.0));
}

#[test]
fn no_two_noises_share_numbers() {
    // Pairs of neighbours, as single numbers of single precision meet by chance.
    let mut seen = std::collections::HashSet::new();
    let mut drawn = 0;
    for pass in 0..3 {
        for id in 0..5 {
            for image in 0..20 {
                let draws = Draws { seed: Seed(1), pass, ..Draws::default() };
                let numbers: Vec<u32> = draws.noise(NoiseKind::Normal, id, image).take(65).map(f32::to_bits).collect();
                seen.extend(numbers.windows(2).map(|pair| (pair[0], pair[1])));
                drawn += 64;
            }
        }
    }
    assert_eq!(seen.len(), drawn);
}

#[test]
fn noise_has_the_keys_that_it_always_had() {
    // (seed, pass, noise, image) and the key: the first two of eight words of ChaCha8 that are this image's, worked out
    // by another program. With other keys a resumed run would draw other noise.
    let keys = [
        ((1, 0, 0, 0), 0x133f_beab_b28a_c7d5),
        ((1, 3, 2, 5), 0xeeaf_e834_e67f_e1a8),
        ((7, 1, 0, 1), 0x7c88_8434_5d37_ec0d),
    ];
    for ((seed, pass, id, image), key) in keys {
        let draws = Draws { seed: Seed(seed), pass, ..Draws::default() };
        let mut own = Seed(key).rng("noise", image as u64);
        let expected: Vec<f32> = (0..20).map(|_| StandardNormal.sample(&mut own)).collect();
        assert_eq!(
            draws.noise(NoiseKind::Normal, id, image).take(20).collect::<Vec<f32>>(),
            expected,
            "noise {id} of image {image}"
        );
    }
}

#[test]
fn a_bias_behind_a_depthwise_and_a_pointwise_convolution_has_its_gradient() {
    for size in [(9, 5), (6, 20)] {
        check("biased pointwise", 3, size, 3, |g, x| {
            let deep = g.depthwise("deep", x, 3, 1, 1).unwrap();
            g.conv("narrow", deep, Conv::square(20, 1).bias()).unwrap()
        });
    }
}
