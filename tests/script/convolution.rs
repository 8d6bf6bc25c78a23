//! `conv2d` on tensors: the sum that it stands for, its gradients by finite differences, what does not fit.

use super::tensors::{CHECK, fails, run};

/// Strides, paddings, dilations and groups, with images and weights that are not square.
const CASES: [(&str, &str, &str); 8] = [
    ("[2, 3, 5, 4]", "[4, 3, 3, 3]", "#{}"),
    ("[2, 3, 5, 4]", "[2, 3, 3, 3]", "#{ stride: 2 }"),
    ("[1, 2, 6, 7]", "[3, 2, 3, 3]", "#{ stride: 2, padding: 0 }"),
    ("[2, 2, 5, 6]", "[2, 2, 1, 3]", "#{ padding: [2, 3] }"),
    ("[1, 2, 7, 6]", "[2, 2, 3, 2]", "#{ dilation: [2, 1], stride: [1, 2] }"),
    ("[2, 4, 5, 5]", "[6, 2, 3, 3]", "#{ groups: 2, stride: 2 }"),
    ("[1, 4, 6, 5]", "[4, 1, 3, 3]", "#{ groups: 4, dilation: 2, padding: 1 }"),
    ("[3, 5, 4, 4]", "[2, 5, 1, 1]", "#{ stride: 3 }"),
];

#[test]
fn a_convolution_is_the_sum_over_its_taps() {
    // Written with plain loops over numbers, so that nothing is shared with what is tested.
    let agrees = r#"
        fn both(map, name, other) {
            let value = if name in map { map[name] } else { other };
            if type_of(value) == "array" { value } else { [value, value] }
        }
        fn agrees(x, w, options) {
            let stride = both(options, "stride", 1);
            let dilation = both(options, "dilation", 1);
            let keeps = [dilation[0] * (w.shape[2] - 1) / 2, dilation[1] * (w.shape[3] - 1) / 2];
            let padding = both(options, "padding", keeps);
            let groups = if "groups" in options { options.groups } else { 1 };
            let y = conv2d(x, w, options);
            let share = w.shape[0] / groups;
            let pixels = x.array();
            let weights = w.array();
            let results = y.array();
            for image in 0..x.shape[0] { for output in 0..w.shape[0] {
                let first = output / share * w.shape[1];
                for row in 0..y.shape[2] { for column in 0..y.shape[3] {
                    let total = 0.0;
                    for inner in 0..w.shape[1] { for i in 0..w.shape[2] { for j in 0..w.shape[3] {
                        let at = row * stride[0] + i * dilation[0] - padding[0];
                        let across = column * stride[1] + j * dilation[1] - padding[1];
                        if at >= 0 && at < x.shape[2] && across >= 0 && across < x.shape[3] {
                            total += pixels[image][first + inner][at][across] * weights[output][inner][i][j];
                        }
                    } } }
                    let off = abs(results[image][output][row][column] - total);
                    assert(off < 1e-9, `${options}: off by ${off}`);
                } }
            } }
            let height = (x.shape[2] + 2 * padding[0] - dilation[0] * (w.shape[2] - 1) - 1) / stride[0] + 1;
            assert(y.shape[2] == height, `${y.shape} but the height is ${height}`);
        }
    "#;
    let mut script = agrees.to_string();
    for (x, w, options) in CASES {
        script += &format!("agrees(normal({x}).to(\"float64\"), normal({w}).to(\"float64\"), {options});\n");
    }
    run(&script);
}

#[test]
fn gradients_of_convolutions_are_those_of_finite_differences() {
    let mut script = CHECK.to_string();
    for (x, w, options) in CASES {
        script += &format!(
            "{{ let other = normal({w}).to(\"float64\");\n\
             check(\"images, {options}\", |t| conv2d(t, other, {options}), normal({x})); }}\n\
             {{ let other = normal({x}).to(\"float64\");\n\
             check(\"weights, {options}\", |t| conv2d(other, t, {options}), normal({w})); }}\n"
        );
    }
    run(&script);
}

#[test]
fn what_cannot_be_convolved_is_refused_with_both_shapes() {
    let cases = [
        ("conv2d(ones([3, 8, 8]), ones([4, 3, 3, 3]))", "both have four axes"),
        ("conv2d(ones([1, 3, 8, 8]), ones([4, 2, 3, 3]))", "1 groups of 2 channels are not 3"),
        ("conv2d(ones([1, 4, 8, 8]), ones([3, 2, 3, 3]), #{ groups: 2 })", "3 outputs cannot be cut into 2 groups"),
        ("conv2d(ones([1, 1, 2, 8]), ones([1, 1, 3, 3]), #{ padding: 0 })", "larger than the padded images"),
        ("conv2d(ones([1, 1, 4, 4]), ones([1, 1, 3, 3]), #{ stride: 0 })", "stride and dilation are at least 1"),
        ("conv2d(ones([1, 1, 4, 4]), ones([1, 1, 3, 3]), #{ dilation: 0 })", "stride and dilation are at least 1"),
        ("conv2d(ones([1, 1, 4, 4]), ones([1, 1, 3, 3]), #{ groups: 0 })", "0 groups"),
        ("conv2d(ones([0, 1, 4, 4]), ones([1, 1, 3, 3]))", "nothing to convolve"),
        ("conv2d(ones([1, 1, 4, 4]), ones([1, 1, 3, 3]), #{ padding: 100000 })", "memory"),
        ("conv2d(ones([1, 1, 4, 4]), ones([1, 1, 3, 3]), #{ padding: 9223372036854775807 })", "padded"),
        ("conv2d(ones([1, 1, 4, 4]), ones([1, 1, 3, 3]), #{ strides: 2 })", "stride"),
    ];
    for (script, text) in cases {
        fails(script, text);
    }
    fails(cases[1].0, "[1, 3, 8, 8] with weights [4, 2, 3, 3]");
}
