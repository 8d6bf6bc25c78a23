//! Tensors in scripts: the right numbers, the right gradients, the same draws for the same seed.

use candlewick::random::Seed;
use candlewick::script::{self, Host, Page, Script, Setup};
use std::io::Write;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic while printing").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn run_seeded(script: &str, seed: u64) -> Result<String, Box<Page>> {
    let sink = Sink::default();
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup {
        script: folder.path().join("s.rhai"),
        out: Some(folder.path().join("run")),
        seed: Seed(seed),
        memory: 64 << 20,
        ..Setup::default()
    };
    let host = Host::with_sink(setup, Box::new(sink.clone()));
    script::on_script_thread(|| Script::compile(host, script.to_string())?.run()).expect("the thread runs")?;
    let printed = sink.0.lock().expect("no panic while printing").clone();
    Ok(String::from_utf8(printed).expect("scripts print text"))
}

#[track_caller]
pub fn run(script: &str) -> String {
    match run_seeded(script, 1) {
        Ok(printed) => printed,
        Err(page) => panic!("{}", page.render(false)),
    }
}

#[track_caller]
pub fn fails(script: &str, text: &str) {
    let page = run_seeded(script, 1).expect_err("this fails").render(false);
    assert!(page.contains(text), "no {text:?} in:\n{page}");
}

/// The gradient of a weighted sum of `f(x)` against central differences, in doubles, for every entry of x.
pub const CHECK: &str = r#"
fn check(name, f, x) {
    let x = x.to("float64");
    let p = parameter(x);
    let y = f.call(p);
    let w = uniform(y.shape, #{ low: 0.5, high: 1.5 }).to("float64");
    let exact = gradient(sum(y * w), p).flatten().array();
    for i in 0..x.size {
        let step = one_hot([i], x.size).to("float64").reshape(x.shape) * 1e-5;
        let numeric = (sum(f.call(x + step) * w) - sum(f.call(x - step) * w)).item() / 2e-5;
        let off = abs(numeric - exact[i]);
        assert(off < 1e-7 + 1e-6 * abs(numeric), `${name}: ${exact[i]} instead of ${numeric} at ${i}`);
    }
}
let x = tensor([[0.3, -1.2, 2.1], [1.7, 0.4, -0.6]]);
let positive = tensor([[0.3, 1.2, 2.1], [1.7, 0.4, 0.6]]);
"#;

#[track_caller]
fn gradients(cases: &[(&str, &str)]) {
    let mut script = CHECK.to_string();
    for (input, function) in cases {
        script.push_str(&format!("check({function:?}, |t| {function}, {input});\n"));
    }
    run(&script);
}

#[test]
fn gradients_of_elementwise_functions_are_those_of_finite_differences() {
    let anywhere = [
        "exp",
        "square",
        "abs",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "relu",
        "gelu",
        "silu",
        "softplus",
        "erf",
        "elu",
        "leaky_relu",
    ];
    let calls: Vec<String> = anywhere.iter().map(|name| format!("{name}(t)")).collect();
    gradients(&calls.iter().map(|call| ("x", call.as_str())).collect::<Vec<_>>());
    gradients(&[
        ("positive", "log(t)"),
        ("positive", "sqrt(t)"),
        ("positive", "reciprocal(t)"),
        ("x", "elu(t, 0.7)"),
        ("x", "leaky_relu(t, 0.2)"),
        ("x", "clamp(t, -0.5, 1.5)"),
        ("x", "exp(t * 30 - 40)"),
    ]);
}

#[test]
fn gradients_of_arithmetic_are_those_of_finite_differences() {
    gradients(&[
        ("x", "t + 2"),
        ("x", "2.5 - t"),
        ("x", "-t * 3"),
        ("x", "t / 4"),
        ("positive", "3 / t"),
        ("x", "t ** 2"),
        ("x", "t ** 3"),
        ("positive", "t ** 0.5"),
        ("x", "t ** 0"),
        ("x", "t ** 1"),
        ("positive", "t ** tensor([1.5, 2.0, -1.0])"),
        ("positive", "2 ** t"),
        ("x", "t * t + t"),
        ("x", "t + t[0]"),
        ("x", "t * t[1]"),
        ("x", "t[0] - t"),
        ("positive", "t / t[0]"),
        ("x", "t[0].unsqueeze(1) * t[1].unsqueeze(0)"),
        ("x", "maximum(t, t[0] * 0.5)"),
        ("x", "minimum(t, 0.35)"),
        ("x", "where(t > 0, t * 2, t * t)"),
        ("x", "where(t > 0, 1.0, t)"),
        ("x", "matmul(t, transpose(t))"),
        ("x", "matmul(t[0], t[1])"),
        ("x", "matmul(t, t[0])"),
        ("x", "matmul(t[0], transpose(t))"),
        ("x", "matmul(stack([t, t * 2]), transpose(t))"),
    ]);
}

#[test]
fn gradients_of_reductions_are_those_of_finite_differences() {
    for name in ["sum", "mean", "variance", "std", "norm", "log_sum_exp", "max", "min"] {
        gradients(&[
            ("x", &format!("{name}(t)")),
            ("x", &format!("{name}(t, 0)")),
            ("x", &format!("{name}(t, -1, #{{ keepdim: true }})")),
            ("reshape(x, [1, 3, 2])", &format!("{name}(t, [0, 2])")),
            ("reshape(x, [3, 1, 2])", &format!("{name}(t, [0, 1], #{{ keepdim: true }})")),
        ]);
    }
    gradients(&[("x", "cumulative_sum(t)"), ("x", "cumulative_sum(t, 0)")]);
}

#[test]
fn gradients_of_probabilities_and_losses_are_those_of_finite_differences() {
    gradients(&[
        ("x", "softmax(t)"),
        ("x", "softmax(t, 0)"),
        ("x", "softmax(t * 20)"),
        ("x", "log_softmax(t)"),
        ("x", "log_softmax(t, 0)"),
        ("x", "cross_entropy(t, [2, 0])"),
    ]);
}

#[test]
fn gradients_of_shapes_and_selections_are_those_of_finite_differences() {
    gradients(&[
        ("x", "reshape(t, [3, -1]) * arange(2)"),
        ("x", "flatten(t) * arange(6)"),
        ("x", "transpose(t) * arange(2)"),
        ("reshape(x, [1, 2, 3])", "permute(t, [2, 0, 1]) * arange(2)"),
        ("x", "unsqueeze(t, 1) * arange(2).unsqueeze(1)"),
        ("reshape(x, [1, 6])", "squeeze(t)"),
        ("reshape(x, [1, 6])", "broadcast_to(t, [2, 6]) * arange(12).reshape([2, 6])"),
        ("x", "concat([t, t * t, t[0].unsqueeze(0)])"),
        ("x", "concat([t, t * t], 1)"),
        ("x", "stack([t, t * t], 1)"),
        ("x", "t[1]"),
        ("x", "t[-1][0]"),
        ("reshape(x, [6])", "t[1..4]"),
        ("reshape(x, [6])", "t[1..=4]"),
        ("x", "t[[1, 1, 0]]"),
        ("x", "slice(t, 1, 1, 3)"),
        ("x", "select(t, [[2, 0], [0, 0]], 1)"),
        ("x", "gather(t, [[2, 0, 0], [1, 1, 2]])"),
        ("x", "gather(t, [[1, 0, 1]], 0)"),
        ("x", "sort(t) * arange(3)"),
        ("x", "sort(t, 0, #{ descending: true }) * arange(2).unsqueeze(1)"),
        ("x", "top_k(t, 2).values * arange(2)"),
        ("x", "top_k(t, 1, 0).values"),
        ("x", "t.to(\"float32\").to(\"float64\") * 0 + t"),
    ]);
}

#[test]
fn derivatives_at_corners_are_as_documented() {
    run(r#"
        let zero = parameter(zeros([1]));
        assert_equal(gradient(sum(relu(zero)), zero), tensor([0]));
        assert_equal(gradient(sum(abs(zero)), zero), tensor([0]));
        assert_equal(gradient(norm(zero), zero), tensor([0]));
        assert_equal(gradient(sum(softplus(zero)), zero), tensor([0.5]));
        assert_equal(gradient(sum(clamp(zero, 0, 1)), zero), tensor([1]));
        let equal = parameter(ones([3]));
        assert_equal(gradient(max(equal), equal), tensor([1, 0, 0]));
        let large = parameter(tensor([100.0, -100.0]));
        assert_equal(gradient(sum(elu(large)), large)[0].item(), 1.0);
        assert_equal(gradient(sum(softplus(large)), large), tensor([1, 0]));
    "#);
}

#[test]
fn gradient_returns_the_structure_it_was_given() {
    run(r#"
        let a = parameter(tensor([1, 2]));
        let b = parameter(tensor(3));
        let unused = parameter(ones([2, 2]));
        let loss = sum(a * b);
        let g = gradient(loss, #{ pair: [a, b], other: unused });
        assert_equal(g.pair[0], tensor([3, 3]));
        assert_equal(g.pair[1], tensor(3));
        assert_equal(g.other, zeros([2, 2]));
    "#);
    for constant in ["tensor(1)", "sum(sign(a))", "sum(floor(a))"] {
        let script = format!("let a = parameter(ones([2])); gradient({constant}, [a]);");
        fails(&script, "the loss does not depend on any parameter");
    }
    fails("let a = parameter(ones([2])); gradient(a, a);", "the loss has shape [2]");
    fails("let a = parameter(ones([2])); gradient(sum(a), [a, a * 2]);", "element 1 is not a parameter");
    fails("let a = parameter(tensor(1)); gradient(a, [3]);", "element 0 is not a tensor but the int 3");
}

#[test]
fn a_gradient_that_is_not_a_number_is_returned_as_it_is() {
    run("let a = parameter(tensor(-1)); let g = gradient(sqrt(a), a).item(); assert(g.is_nan());");
}

#[test]
fn a_closure_from_the_script_can_be_passed_around() {
    let printed = run("fn apply(f, t) { f.call(t) }
        let temperature = 0.5;
        let relax = |a| softmax(a / temperature);
        print(apply(relax, zeros([2])));");
    assert_eq!(printed, "[0.5, 0.5]\n");
}

#[test]
fn equal_seeds_give_equal_draws_and_others_others() {
    let script =
        "print(uniform([3])); print(normal([2])); print(gumbel([2])); print(permutation(5)); print(uniform([3]));";
    let first = run_seeded(script, 7).expect("it runs");
    assert_eq!(first, run_seeded(script, 7).expect("it runs"));
    assert_ne!(first, run_seeded(script, 8).expect("it runs"));
    let lines: Vec<&str> = first.lines().collect();
    assert_ne!(lines[0], lines[4], "each draw is a new one");
    // A draw from another stream shifts nothing.
    let shifted =
        run_seeded(&script.replacen("print(normal", "uniform([9], #{ stream: \"noise\" }); print(normal", 1), 7);
    assert_eq!(first, shifted.expect("it runs"));
}

#[test]
fn draws_go_on_from_positions_that_were_kept() {
    let host = || Host::new(Setup { seed: Seed(3), ..Setup::default() });
    let draw = |host: &Host| rand::RngExt::random::<u64>(&mut host.draw("script:main"));
    let whole = host();
    let (_, second) = (draw(&whole), draw(&whole));
    let stopped = host();
    draw(&stopped);
    let resumed = host();
    resumed.set_draws(stopped.draws());
    assert_eq!(draw(&resumed), second);
}

#[test]
fn samples_have_the_moments_of_their_distributions() {
    run(r#"
        let n = 20000;
        fn near(a, b, tolerance) { assert(abs(a - b) < tolerance, `${a} is not near ${b}`); }
        let u = uniform([n], #{ low: -1, high: 3 });
        near(mean(u).item(), 1.0, 0.05);  near(variance(u).item(), 16.0 / 12.0, 0.05);
        let z = normal([n], #{ mean: 2, std: 0.5 });
        near(mean(z).item(), 2.0, 0.02);  near(std(z).item(), 0.5, 0.02);
        let g = gumbel([n]);
        near(mean(g).item(), 0.57721, 0.05);  near(variance(g).item(), 1.64493, 0.1);
    "#);
}

#[test]
fn operators_take_ints_floats_and_tensors_on_either_side() {
    run(r#"
        let t = tensor([1, 2]);
        for (two, i) in [2, 2.0, tensor(2), tensor([2, 2])] {
            assert_equal(t + two, tensor([3, 4]));  assert_equal(two + t, tensor([3, 4]));
            assert_equal(t - two, tensor([-1, 0])); assert_equal(two - t, tensor([1, 0]));
            assert_equal(t * two, tensor([2, 4]));  assert_equal(two * t, tensor([2, 4]));
            assert_equal(t / two, tensor([0.5, 1])); assert_equal(two / t, tensor([2, 1]));
            assert_equal(t < two, tensor([1, 0]));  assert_equal(two <= t, tensor([0, 1]));
            assert_equal(t == two, tensor([0, 1])); assert_equal(two != t, tensor([1, 0]));
        }
        let s = tensor([1, 2]);
        s += 1; s *= 2; s -= tensor([1, 1]); s /= 3;
        assert_equal(s, tensor([1, tensor(5).item() / 3.0]));
        assert_equal(type_of(t), "tensor");
        assert_equal(argmax(t) + 0.5, tensor(1.5));
    "#);
}

#[test]
fn sorting_keeps_the_order_of_equals_and_puts_nan_last() {
    run(r#"
        let long = arange(20000) * 0.0;
        assert_equal(argsort(long), arange(20000));
        assert_equal(argsort(long, 0, #{ descending: true }), arange(20000));
        let nan = log(tensor([-1]));
        let mixed = concat([tensor([2]), nan, tensor([-3, 0]), nan]);
        assert_equal(argsort(mixed).array(), [2, 3, 0, 1, 4]);
        assert_equal(argsort(mixed, 0, #{ descending: true }).array(), [1, 4, 0, 3, 2]);
        assert_equal(sort(zeros([2, 0])).shape, [2, 0]);
        assert_equal(top_k(zeros([0]), 0).indices.shape, [0]);
        assert_equal(argmax(tensor([1, 5, 5])).item(), 1);
        assert_equal(argmin(tensor([[3, 1, 1], [0, 0, 2]])).array(), [1, 0]);
    "#);
}

#[test]
fn cumulative_sums_run_along_any_axis_and_mind_the_memory() {
    run(r#"
        for axis in 0..4 {
            let t = cumulative_sum(ones([2, 3, 4, 5]), axis);
            assert_equal(t.shape, [2, 3, 4, 5]);
            assert_equal(max(t).item(), [2.0, 3.0, 4.0, 5.0][axis]);
        }
    "#);
    fails("cumulative_sum(ones([10000]));", "more than is left of the script's memory");
}

#[test]
fn tensors_survive_a_file_with_their_metadata() {
    run(r#"
        let index = argsort(tensor([3, 1, 2]));
        let saved = #{ "cells.0.w": uniform([2, 3]), index: index, wide: tensor([0.1]).to("float64") };
        save_tensors("t.safetensors", saved, #{ metadata: #{ epoch: 3, by: "test" } });
        assert_equal(load_tensors("t.safetensors"), saved);
        assert_equal(load_tensors("t.safetensors").wide.type, "float64");
        assert_equal(load_metadata("t.safetensors"), #{ epoch: "3", by: "test" });
    "#);
}

#[test]
fn tensors_print_as_nested_arrays() {
    assert_eq!(
        run("print(tensor([[1, 0.5], [-2, 0.1]])); print(argmax(tensor([1, 2]))); print(zeros([300]));"),
        "[[1.0, 0.5], [-2.0, 0.1]]\n1\ntensor of shape [300]\n"
    );
}

#[test]
fn the_bytes_of_dropped_tensors_are_given_back() {
    run("for i in 0..10 { let t = zeros([10000000]); }");
}

#[test]
fn a_long_chain_of_operations_is_differentiated_and_dropped() {
    run("let x = parameter(tensor(1)); let y = x; for i in 0..20000 { y = y + 1; } assert_equal(gradient(y, \
         x).item(), 1.0);");
}
