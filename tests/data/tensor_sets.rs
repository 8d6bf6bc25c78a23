//! Sets of a script's own tensors: what comes out is what went in, wherever a set is taken; what is wrong is named.

use super::script::{failure, run};
use tempfile::tempdir;

#[track_caller]
fn runs(script: &str) {
    let folder = tempdir().unwrap();
    if let Err(page) = run(folder.path(), 1, script) {
        panic!("{}", page.render(false));
    }
}

#[test]
fn batches_hold_the_numbers_as_they_are_and_their_labels() {
    runs(
        r#"
        let x = normal([10, 2, 3, 4]) * 100.0;
        let y = [0, 3, 1, 0, 2, 3, 1, 1, 0, 2];
        let set = tensor_set(x, y);
        assert(set.len() == 10 && set.class_counts() == [3, 3, 2, 2]);
        let batch = set.batches(10, #{ shuffle: false }).next();
        assert_equal(batch.x, x);
        assert_equal(batch.y.array(), y);
        for batch in set.batches(4).epoch(3) {
            assert_equal(batch.x, x[batch.indices]);
            for (row, index) in batch.indices { assert(batch.y[index].item() == y[row]); }
        }
        let parts = set.split(0.3);
        assert_equal(parts[1].subset([6, 0]).batches(2, #{ shuffle: false }).next().x, x[[9, 3]]);
        assert(set.file(0) == ());
        "#,
    );
}

#[test]
fn a_set_keeps_the_values_that_a_parameter_had() {
    runs(
        r#"
        let x = parameter(ones([2, 1, 2, 2]));
        let y = parameter(tensor([0, 1]));
        let set = tensor_set(x, y);
        x.assign(zeros([2, 1, 2, 2]));
        y.assign(tensor([1, 1]));
        let batch = set.batches(2, #{ shuffle: false }).next();
        assert_equal(batch.x, ones([2, 1, 2, 2]));
        assert_equal(batch.y.array(), [0, 1]);
        "#,
    );
}

#[test]
fn augmentation_moves_mirrors_and_cuts_numbers_as_it_does_bytes() {
    runs(
        r#"
        // The digits as numbers from 0 to 1, seen as the digits are: the same batches to the last bit.
        let digits = images("digits").train.take(20);
        let raw = digits.batches(20, #{ shuffle: false }).next();
        let seen = tensor_set(raw.x, raw.y, #{ classes: 10 });
        let plain = seen.batches(20, #{ shuffle: false }).next();
        assert_equal(plain.x, raw.x);
        // A ramp, so that every pixel says where it is from.
        let ramp = arange(36).reshape([1, 1, 6, 6]) + 1.0;
        let set = tensor_set(ramp, [0]);
        let moved = set.batches(1, #{ pad: 2 });
        let mirrored = set.batches(1, #{ flip: true });
        let holes = set.batches(1, #{ cutout: 2 });
        for round in 0..20 {
            // Rows and columns stay in order; what came from outside is 0.
            let at = moved.next().x[0][0].array();
            for row in at { for (value, column) in row {
                if column > 0 && value > 0.0 && row[column - 1] > 0.0 { assert(value == row[column - 1] + 1.0); }
            } }
            let flipped = mirrored.next().x[0][0][0].array();
            assert(flipped == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] || flipped == [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
            let hole = holes.next().x;
            let gone = sum(hole == 0).item();
            assert(gone >= 1.0 && gone <= 4.0 && all_close(hole * (hole != 0), ramp * (hole != 0)));
        }
        "#,
    );
}

#[test]
fn normalised_sets_have_mean_0_and_deviation_1_in_every_channel() {
    runs(
        r#"
        let channel = [30, 1, 4, 4];
        let x = concat([normal(channel) * 5.0 + 3.0, normal(channel) * 0.1 - 1.0, full(channel, 0.7)], 1);
        let set = tensor_set(x, zeros([30]), #{ classes: 2, normalise: true });
        let seen = set.batches(30).next().x;
        assert(all_close(mean(seen, [0, 2, 3]), zeros([3]), 1e-4));
        assert(all_close(std(seen, [0, 2, 3]), tensor([1, 1, 0]), 1e-4));
        let other = tensor_set(x[0..5] + 5.0, zeros([5]), #{ like: set });
        let still = #{ shuffle: false };
        let shift = other.batches(5, still).next().x - set.batches(30, still).next().x[0..5];
        assert(all_close(shift[0][0], full([4, 4], 5.0) / std(x, [0, 2, 3])[0], 1e-3));
        let digits = images("digits").train;
        let bright = tensor_set(ones([2, 1, 8, 8]), [0, 9], #{ like: digits });
        let most = max(digits.batches(1438).next().x);
        assert(all_close(bright.batches(2).next().x, ones([2, 1, 8, 8]) * most));
        "#,
    );
}

#[test]
fn networks_train_on_them_and_are_scored_by_them() {
    runs(
        r#"
        // Bright at the top or at the bottom.
        let y = (normal([200]) > 0);
        let top = y.reshape([200, 1, 1, 1]) * concat([ones([1, 1, 4, 8]), zeros([1, 1, 4, 8])], 2);
        let x = top + normal([200, 1, 8, 8]) * 0.3;
        let set = tensor_set(x, y, #{ classes: ["bottom", "top"], name: "halves" });
        let halves = set.split(0.5);
        let net = network(set, |g, x| g.linear(g.global_pool(g.relu(g.conv(g.slice(x, 0, 1), 4, #{ stride: 4 }))), 2));
        let weights = sgd(net.weights, #{ lr: 0.1, momentum: 0.9 });
        let before = evaluate(net, halves[1]);
        for epoch in 0..20 {
            for batch in halves[0].batches(20).epoch(epoch) { weights.step(weight_gradient(net, batch)); }
        }
        assert(evaluate(net, halves[1]).loss < before.loss);
        // A set scores as its tensors in a batch do.
        let part = halves[1].batches(100, #{ shuffle: false }).next();
        assert(abs(evaluate(net, halves[1]).loss - evaluate(net, #{ x: x[100..200], y: y[100..200] }).loss) < 1e-6);
        let found = examine(net, halves[1]);
        print(found.table);
        let cell = random_genotype(space("darts", #{ nodes: 2 }));
        let how = #{ epochs: 1, channels: 2, layers: 3, batch: 20 };
        let score = train_cell(cell, halves, how);
        let same = train_cell(cell, halves, how);
        assert(score.loss == same.loss && score.loss > 0.0);
        let supernet = supernet(set, #{ channels: 2, layers: 3, nodes: 1 });
        alpha_gradient(supernet, halves[0].batches(20).next(), halves[1].batches(20).next());
        "#,
    );
}

#[test]
fn numbers_that_a_network_is_to_see_are_not_scaled_a_second_time() {
    runs(
        r#"
        let digits = images("digits").test.take(50);
        let net = network(images("digits"), |g, x| g.linear(g.global_pool(g.relu(g.conv(x, 4))), 10));
        let batch = digits.batches(50, #{ shuffle: false }).next();
        let set = tensor_set(batch.x, batch.y, #{ classes: 10 });
        assert(abs(evaluate(net, set).loss - evaluate(net, digits).loss) < 1e-7);
        "#,
    );
}

#[test]
fn what_is_wrong_with_a_set_is_named() {
    let cases = [
        ("tensor_set(ones([4, 8, 8]), [0, 1, 0, 1])", "four axes, not [4, 8, 8]"),
        ("tensor_set(ones([3, 1, 2, 2]), [0, 1])", "x is [3, 1, 2, 2], but y is [2]"),
        ("tensor_set(ones([2, 1, 2, 2]), [[0], [1]])", "but y is [2, 1]"),
        ("tensor_set(ones([2, 1, 2, 2]), [0, 1.5])", "image 1 has label 1.5 / real numbers go into batches"),
        ("tensor_set(ones([2, 1, 2, 2]), tensor([0, -1]))", "image 1 has label -1 / labels are whole"),
        ("tensor_set(ones([2, 1, 2, 2]), tensor([0, 1]) / 0)", "image 0 has label NaN"),
        ("tensor_set(ones([2, 1, 2, 2]), [0, 2], #{ classes: 2 })", "image 1 has label 2, but there are 2 classes"),
        ("tensor_set(ones([2, 1, 2, 2]), [0, 99999999])", "image 1 has label 99999999"),
        ("tensor_set(ones([2, 1, 2, 2]), [0, 1], #{ classes: [\"a\", \"a\"] })", "called \"a\" like one before it"),
        ("tensor_set(ones([0, 1, 2, 2]), [])", "at least one image"),
        ("tensor_set(ones([2, 0, 2, 2]), [0, 0])", "at least one image"),
        (
            "let x = ones([3, 2, 4, 5]); let bad = one_hot([93], 120).reshape([3, 2, 4, 5]);\n\
             tensor_set(x / (1 - bad), [0, 1, 0])",
            "image 2 holds inf (channel 0, row 2, column 3) / images are finite numbers",
        ),
        ("tensor_set(log(ones([1, 1, 2, 2]) * -1), [0])", "image 0 holds NaN (channel 0, row 0, column 0)"),
        (
            "tensor_set(ones([1, 1, 2, 2]), [0], #{ like: images(\"digits\").test })",
            "1×2×2 cannot be like a set of 1×8×8",
        ),
        (
            "let x = ones([1, 1, 2, 2]); tensor_set(x, [0], #{ like: tensor_set(x, [0]), classes: 1 })",
            "`like` settles the classes",
        ),
        ("tensor_set(ones([1, 1, 2, 2]), [\"cat\"])", "a tensor holds numbers"),
        (
            "let net = network(images(\"digits\"), |g, x| g.linear(g.global_pool(x), 10));\n\
             evaluate(net, tensor_set(ones([2, 1, 2, 2]), [0, 1]))",
            "the network is for images of",
        ),
    ];
    let folder = tempdir().unwrap();
    for (script, text) in cases {
        let found = failure(folder.path(), script);
        assert!(found.contains(text), "no \"{text}\" in \"{found}\" of {script}");
    }
}
