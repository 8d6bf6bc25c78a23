//! Traps of the language, told for what they are.

use crate::binary::{candlewick, folder_with};
use crate::scripts::{run, shipped};

#[test]
fn functions_see_constants_through_global_and_nothing_else_from_outside() {
    run("const K = 3;\nfn f() { K + 1 }\nprint(f());\n").shows(2, &["there is no variable `K`", "`global::K`"]);
    let ended = run("const K = 3;\nfn f() { global::K + 1 }\nprint(f());\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "4\n"), "{}", ended.stderr);
    run("let k = 3;\nfn f() { k + 1 }\nprint(f());\n")
        .shows(2, &["there is no variable `k`", "give it `k` as an argument", "`const k = …`", "`global::k`"]);
}

#[test]
fn a_name_that_is_no_constant_is_told_apart() {
    for (script, hint) in [
        ("const KERNEL = 3;\nfn f() { global::KERNAL }\nprint(f());\n", "did you mean `global::KERNEL`?"),
        (
            "let k = 3;\nfn f() { global::k }\nprint(f());\n",
            "`k` is a variable; functions see constants: `const k = …`",
        ),
        ("if true { const K = 3; }\nfn f() { global::K }\nprint(f());\n", "at the beginning of a line makes one"),
        ("const K = 3;\nfn f() { gobal::K }\nprint(f());\n", "did you mean `global`?"),
    ] {
        run(script).shows(2, &[hint]);
        candlewick(folder_with(script).path(), &["check", "s.rhai"]).shows(2, &[hint]);
    }
}

#[test]
fn a_closure_is_called_with_call() {
    run("let f = |x| 2 * x;\nprint(f(3));\n").shows(2, &["`f` holds a closure", "write f.call(…)"]);
    let ended = run("let f = |x| 2 * x;\nprint(f.call(3));\n");
    assert_eq!(ended.stdout, "6\n", "{}", ended.stderr);
    // Wherever it is held.
    for script in ["fn twice(f, x) { f(f(x)) }\nprint(twice(|x| x, 3));\n", "let f = ();\nf = |x| x;\nprint(f(3));\n"] {
        let hint = "`f` is a variable; a closure that it holds is called with f.call(…)";
        run(script).shows(2, &[hint]);
        candlewick(folder_with(script).path(), &["check", "s.rhai"]).shows(2, &[hint]);
    }
    run("let fs = [|x| x];\nprint(fs[0](3));\n").shows(2, &["fs[0].call(3)"]);
    run("let softmax = |a| a;\nprint(softmax(3));\n").shows(2, &["is called with softmax.call(…)"]);
}

#[test]
fn operations_defined_in_a_loop_differ() {
    let ended = run(
        "for k in [3, 5, 7] {\n  define_op(\"conv\" + k, |g, x, c, s| g.conv(x, c, #{ kernel: k, stride: s }));\n}\n\
         let macs = [];\nfor k in [3, 5, 7] {\n  let net = supernet(#{ channels: 1, size: 8, classes: 2 }, \
         #{ channels: 4, layers: 3, ops: [\"conv\" + k] });\n  macs.push(net.macs);\n}\n\
         assert(macs[0] < macs[1] && macs[1] < macs[2], `${macs}`);\n",
    );
    ended.shows(0, &[]);
}

#[test]
fn a_schedule_of_whole_numbers_is_warned_of() {
    let script = "let epochs = param(\"epochs\", 10);\nlet run = start_run([]);\nfor epoch in run.epochs(epochs) {\n  \
                  let lr = 0.025 * (1 - epoch / epochs);\n}\n";
    let warning = ["warning: s.rhai:4: whole numbers are divided among floats", "`1.0 * a / b`"];
    let ended = run(script);
    ended.shows(0, &warning);
    assert_eq!(ended.stderr.matches("warning").count(), 1, "once a run: {}", ended.stderr);
    let checked = candlewick(folder_with(script).path(), &["check", "s.rhai"]);
    checked.shows(0, &warning);
    let behind = "let n = 10;\nfor e in 0..n {\n  let t = e / n;\n  print(cosine(0.1, 0.0, e, n) * (1 - t));\n}\n";
    run(behind).shows(0, &["warning: s.rhai:3: whole numbers are divided among floats"]);
    for name in ["darts.rhai", "own_images.rhai", "train.rhai", "rnn_darts.rhai"] {
        let checked = candlewick(folder_with("").path(), &["check", &shipped(name).display().to_string()]);
        assert!(!checked.stderr.contains("divided among floats"), "{}", checked.stderr);
    }
}

#[test]
fn a_method_that_a_function_of_the_script_hides_is_warned_of() {
    let images = "#{ channels: 1, size: 8, classes: 10 }";
    let script =
        format!("fn linear(x, n) {{ x * n }}\nlet net = network({images}, |g, x| g.linear(g.global_pool(x), 10));\n");
    let warning = ["warning: s.rhai:2: `.linear(…)` runs this script's own function `linear`", "another name"];
    run(&script).shows(2, &warning);
    candlewick(folder_with(&script).path(), &["check", "s.rhai"]).shows(0, &warning);
}

#[test]
fn closures_that_share_the_variable_of_a_loop_are_warned_of() {
    let told =
        |turn: &str| format!("let fs = [];\nfor k in [3, 5, 7] {{\n  {turn}\n}}\nprint(fs.map(|f| f.call(1)));\n");
    let script = told("fs.push(|x| x * k);");
    let warning = ["warning: s.rhai:3: closures of every turn of the loop share `k`", "`let k = k;`"];
    let ended = run(&script);
    ended.shows(0, &warning);
    assert_eq!((ended.stdout.as_str(), ended.stderr.matches("warning").count()), ("[7, 7, 7]\n", 1));
    candlewick(folder_with(&script).path(), &["check", "s.rhai"]).shows(0, &warning);
    let mended = run(&told("let k = k; fs.push(|x| x * k);"));
    assert_eq!((mended.stdout.as_str(), mended.stderr.as_str()), ("[3, 5, 7]\n", ""));
}
