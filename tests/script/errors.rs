//! Bad input ends with a page that says what, where and what would be right, and with the right exit code.

use crate::binary::{Ended, candlewick, folder_with};
use crate::scripts::{run, run_with};
use crate::start::{interrupt, start};
use std::time::{Duration, Instant};

/// Checks a script.
fn check(script: &str) -> Ended {
    candlewick(folder_with(script).path(), &["check", "s.rhai"])
}

#[test]
fn a_sound_script_prints_to_stdout_and_ends_with_0() {
    let ended = run("let t = softmax(zeros([1, 2]), 1);\nprint(t);");
    ended.shows(0, &[]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("[[0.5, 0.5]]\n", ""));
}

#[test]
fn the_page_shows_the_line_with_a_caret() {
    let ended = run("let a = zeros([2]);\n  let b = sofmax(a, 0);\n");
    ended.shows(
        2,
        &[
            "error: there is no function `sofmax`",
            "--> s.rhai:2:11\n",
            "\n 2 |   let b = sofmax(a, 0);\n   |           ^\n",
            "hint: did you mean `softmax`?",
        ],
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_parse_error_names_its_place() {
    run("let a = (1 + ;\n").shows(2, &["s.rhai:1:14"]);
    run("let a = 1\nlet b = 2;\n").shows(2, &["s.rhai:2:1", "hint: a missing `;`"]);
    run("let t = zeros([2, 2]);\nt[.., 1];").shows(2, &["s.rhai:2:5", "hint: an index is one position", "select("]);
    run("fn f() { let a = 1;").shows(2, &["Expecting '}'", "s.rhai:1:20"]);
}

#[test]
fn an_unknown_variable_is_found_before_anything_runs() {
    let ended = run("print(1);\nlet epochs = 3;\nprint(epoch);");
    ended.shows(2, &["there is no variable `epoch`", "s.rhai:3:7", "did you mean `epochs`?"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn an_unknown_property_names_the_closest() {
    run("let t = zeros([2]);\nprint(t.shap);").shows(2, &["tensor has no property `shap`", "s.rhai:2:8", "`shape`"]);
    run("let t = zeros([2]);\nt.shape = [3];").shows(2, &["tensor.shape cannot be set"]);
    run("let score = #{ loss: 1 };\nprint(score.los);").shows(2, &["the map has no key `los`", "did you mean `loss`?"]);
    run("let known = #{};\nprint(known[`0 1`] ?? 0);").shows(2, &["the map has no key `0 1`", "hint: where it may be"]);
}

#[test]
fn an_unknown_option_lists_the_known_ones() {
    let ended = run("let t = uniform([2], #{ hihg: 2 });");
    ended.shows(2, &["there is no option `hihg`", "s.rhai:1:9", "did you mean `high`?", "low, high"]);
    run("uniform([2], #{ high: \"x\" });").shows(2, &["option `high` must be a float, not the string \"x\""]);
}

#[test]
fn a_wrong_type_or_arity_shows_the_declared_signature() {
    run("let t = zeros(\"x\");")
        .shows(2, &["zeros: `shape` must be [int], not the string \"x\"", "hint: zeros(shape: [int]) -> tensor"]);
    run("let t = zeros([1, \"x\"]);").shows(2, &["element 1 is the string \"x\""]);
    run("let t = linspace(1, 2);").shows(2, &["`linspace` was called with 2 arguments", "count: int"]);
    run("let t = softmax(3, 1);").shows(
        2,
        &["`softmax` does not take (int, int)", "declared as softmax(t: tensor, axis?: int, options?: options)"],
    );
    run("let t = zeros([2]).softmax(0, 1, 2);")
        .shows(2, &["`softmax` was called with 4 arguments", "declared as softmax"]);
    run("let t = zeros([2]) + true;").shows(2, &["`+` cannot be applied to tensor and bool", "s.rhai:1:20"]);
    run("let x = 3;\nif x { }").shows(2, &["expected bool, found int"]);
    run("tensor_set(zeros([2, 1, 4, 4]), [0.5, 1]);").shows(2, &["label 0.5", "hint: real numbers go into batches"]);
    run("if zeros([1]) < 3 { }").shows(2, &["expected bool, found tensor", "`.item()`"]);
}

#[test]
fn a_call_of_the_script_s_own_functions_is_checked_too() {
    run("fn f(x) { x }\nf(1, 2);").shows(2, &["`f` was called with (int, int)", "hint: declared as fn f(x)"]);
    run("let f = |x| x;\nf.call(1, 2);").shows(2, &["the closure was called with (int, int)", "s.rhai:2:3"]);
    run("let t = zeros([2]);\nprint(t.shape());").shows(2, &["`shape` is a property"]);
    run("let t = zeros([2]);\nt[0] = 3;").shows(2, &["elements of a value of type tensor cannot be set", "s.rhai:2:2"]);
}

#[test]
fn shapes_that_do_not_fit_are_both_named() {
    run("zeros([3, 4]) + zeros([5]);").shows(2, &["cannot add [3, 4] and [5]", "s.rhai:1:15", "hint: shapes fit"]);
    run("matmul(zeros([3, 4]), zeros([3, 4]));").shows(2, &["cannot multiply matrices [3, 4] and [3, 4]"]);
    run("concat([zeros([3]), zeros([3, 4])]);").shows(2, &["cannot concat [3], [3, 4]"]);
    run("reshape(zeros([6]), [4, -1]);").shows(2, &["cannot reshape [6] (6 numbers) to [4, -1]"]);
    run("zeros([3])[3];").shows(2, &["the index 3 is out of range"]);
    run("sum(zeros([3]), 1);").shows(2, &["there is no axis 1 in the shape [3]"]);
}

#[test]
fn the_trace_leads_through_script_functions() {
    let ended = run("fn inner(t) {\n  t.reshape([7])\n}\nfn outer(t) {\n  inner(t)\n}\nouter(zeros([2]));\n");
    ended.shows(2, &["s.rhai:2:5", "in `inner`, called at s.rhai:5:3", "in `outer`, called at s.rhai:7:1"]);
    let ended = run("let f = |t| t.reshape([7]);\nf.call(zeros([2]));\n");
    ended.shows(2, &["cannot reshape", "s.rhai:1:15", "in a closure, called at s.rhai:2"]);
}

#[test]
fn an_error_in_a_module_names_the_module_s_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("lib.rhai"), "fn broken(t) {\n  t.reshape([7])\n}\n").expect("written");
    std::fs::write(folder.path().join("torn.rhai"), "\nlet a = ;\n").expect("written");
    std::fs::write(folder.path().join("s.rhai"), "import \"lib\" as lib;\nlib::broken(zeros([2]));\n")
        .expect("written");
    candlewick(folder.path(), &["run", "s.rhai"])
        .shows(2, &["lib.rhai:2:5", "t.reshape([7])", "in `broken`, called at s.rhai:2:6"]);
    std::fs::write(folder.path().join("s.rhai"), "import \"torn\" as torn;\n").expect("written");
    candlewick(folder.path(), &["run", "s.rhai"]).shows(2, &["torn.rhai:2:9"]);
    std::fs::write(folder.path().join("s.rhai"), "import \"s\" as s;\n").expect("written");
    candlewick(folder.path(), &["run", "s.rhai"]).shows(2, &["imports itself"]);
}

#[test]
fn what_a_script_throws_fails_the_run() {
    run("throw \"diverged\";").shows(1, &["error: diverged", "s.rhai:1:1"]);
    run("assert(1 > 2, \"no\");").shows(1, &["error: no"]);
    let ended = run("try { zeros([2]) + zeros([3]); } catch (e) { print(e.message); }");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "cannot add [2] and [3]\n"));
    run("try { zeros([2]) + zeros([3]); } catch (e) { throw e; }")
        .shows(2, &["cannot add [2] and [3]", "hint: shapes fit"]);
}

#[test]
fn whatever_is_caught_has_a_message_and_a_hint() {
    let tell = "print(`${type_of(e)}: ${e.message} (${e.hint})`);";
    let told = |wrong: &str| {
        let ended = run(&format!("try {{ {wrong} }} catch (e) {{ {tell} }}"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert!(told("zeros([2]) + zeros([3]);").starts_with("failure: cannot add [2] and [3] (shapes fit"));
    assert_eq!(told("throw \"diverged\";"), "failure: diverged ()\n");
    assert!(told("let a = [1]; a[7];").starts_with("failure: Array index 7 out of bounds"));
    assert!(told("let m = #{}; m.key;").starts_with("failure: Property not found: key"));
    assert!(told("let a = 1; a / 0;").starts_with("failure: "));
    // In a closure, in a function, in a module, and two on one line.
    let ended = run("fn f() { try { throw \"a\"; } catch (e) { return e.message; } }\n\
         let g = || { try { throw \"b\"; } catch (e) { return e.message; } }; print(f() + g.call());");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "ab\n"));
    // Thrown values that are not text, and a catch without a name.
    let ended =
        run("try { throw #{ code: 7 }; } catch (e) { print(e.code); } try { throw 1; } catch { print(\"x\"); }");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "7\nx\n"));
    run("try { throw \"gone\"; } catch (e) { throw e; }").shows(1, &["error: gone"]);
}

#[test]
fn an_error_behind_a_catch_is_shown_where_it_was_written() {
    run("try { throw 1; } catch (e) { print(`é`); } try { throw 2; } catch (e) { nothing(e); } let z = 1;")
        .shows(2, &["no function `nothing`", "s.rhai:1:73"]);
    run("try { throw 1; } catch (e) {\n  nothing(e);\n}").shows(2, &["no function `nothing`", "s.rhai:2:3"]);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s.rhai"), "try { throw 1; } catch (e) { print(e.mesage, 1, 2); }")
        .expect("written");
    candlewick(folder.path(), &["check", "s.rhai"]).shows(2, &["s.rhai:1:30"]);
}

#[test]
fn endless_recursion_and_endless_values_end() {
    run("fn f(n) { f(n + 1) }\nf(0);").shows(2, &["more than 128 levels deep", "s.rhai:"]);
    run("let s = \"x\"; loop { s += s; }").shows(2, &["grew past its limit"]);
    run("let a = [0]; loop { a += a; }").shows(2, &["grew past its limit"]);
    run("let m = #{}; for i in 0..140000 { m[`k${i}`] = i; } m.len();").shows(2, &["grew past its limit"]);
    run("zeros([1000000, 1000000]);").shows(2, &["needs 3814697 MiB", "--memory"]);
    run_with("let a = []; loop { a.push(zeros([10000000])); }", &["--memory", "1GiB"]).shows(2, &["more than is left"]);
    run("zeros([1, 100000]) + zeros([100000, 1]);").shows(2, &["[100000, 100000]", "--memory"]);
    run("eval(\"1\");").shows(2, &["`eval` is not available in scripts"]);
}

#[test]
fn a_parameter_on_the_command_line_is_checked_before_anything_runs() {
    let script = r#"print("started");
let epochs = param("epochs", 50, "passes");
let lr = param("lr", 0.025);
print(epochs);"#;
    let ended = run_with(script, &["--set", "epoch=5"]);
    ended.shows(2, &["there is no parameter \"epoch\"", "did you mean \"epochs\"?"]);
    assert_eq!(ended.stdout, "");
    let ended = run_with(script, &["--set", "epochs=many"]);
    ended.shows(2, &["the parameter `epochs` takes an int, not \"many\"", "--set epochs=50"]);
    assert_eq!(ended.stdout, "");
    let ended = run_with(script, &["--set", "epochs=5", "--set", "lr=1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "started\n5\n"));
    run_with(script, &["--set", "epochs"]).shows(2, &["NAME=VALUE"]);
    run_with("print(1);", &["--set", "x=1"]).shows(2, &["the script has no parameters"]);
}

#[test]
fn help_lists_what_a_script_is_and_its_parameters() {
    let script = r#"// Finds a cell.
// In two minutes.

let n = param("epochs", 50, "passes over the data");
let d = param("data", "digits");
print("ran");"#;
    let ended = run_with(script, &["--help"]);
    ended.shows(0, &[]);
    for text in ["Finds a cell.\nIn two minutes.", "epochs=50", "passes over the data", "data=\"digits\""] {
        assert!(ended.stdout.contains(text), "no {text:?} in:\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("ran\n"));
}

#[test]
fn a_script_reads_and_writes_and_imports_only_where_it_may() {
    let outside = tempfile::tempdir().expect("a folder");
    let secret = outside.path().join("secret.safetensors");
    std::fs::write(&secret, "x").expect("written");
    let name = secret.display().to_string();
    let script = format!("load_tensors(param(\"file\", {name:?}));");
    run(&script).shows(2, &["the script may not read", "--data"]);
    run("load_tensors(\"../../etc/passwd\");").shows(2, &["the script may not read"]);
    // Named on the command line, it may be read; then its content is what is wrong.
    run_with(&script, &["--set", &format!("file={name}")]).shows(2, &["is not a safetensors file"]);
    run_with(&script, &["--data", &outside.path().display().to_string()]).shows(2, &["is not a safetensors file"]);
    run_with("print(1);", &["--data", "nowhere"]).shows(2, &["there is no folder \"nowhere\""]);
    run("load_tensors(\"nothing.safetensors\");").shows(2, &["there is no file or folder \"nothing.safetensors\""]);
    run("save_tensors(\"../x.safetensors\", #{ x: zeros([1]) });").shows(2, &["the script may not write"]);
    run("save_tensors(\"/tmp/x.safetensors\", #{ x: zeros([1]) });").shows(2, &["the script may not write"]);
    run("import \"../x\" as x;").shows(2, &["the script may not import"]);
    run(&format!("import {name:?} as x;")).shows(2, &["the script may not import"]);
    run("import \"nothing\" as x;").shows(2, &["there is no module \"nothing\""]);
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_out_of_the_sandbox() {
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::write(outside.path().join("x.rhai"), "fn f() {}").expect("written");
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).expect("linked");
    for (script, text) in
        [("import \"link/x\" as x;", "may not import"), ("load_tensors(\"link/x.rhai\");", "may not read")]
    {
        std::fs::write(folder.path().join("s.rhai"), script).expect("written");
        candlewick(folder.path(), &["run", "s.rhai"]).shows(2, &[text]);
    }
    let out = folder.path().join("out");
    std::fs::create_dir(&out).expect("made");
    std::os::unix::fs::symlink(outside.path(), out.join("link")).expect("linked");
    std::fs::write(folder.path().join("s.rhai"), "save_tensors(\"link/y.safetensors\", #{});").expect("written");
    candlewick(folder.path(), &["run", "s.rhai", "--out", "out"]).shows(2, &["may not write"]);
}

#[test]
fn files_land_in_the_run_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s.rhai"), "save_tensors(\"deep/x.safetensors\", #{ x: ones([1]) });")
        .expect("written");
    for _ in 0..2 {
        candlewick(folder.path(), &["run", "s.rhai"]).shows(0, &[]);
    }
    candlewick(folder.path(), &["run", "s.rhai", "--out", "mine"]).shows(0, &[]);
    for run in ["runs/s", "runs/s-2", "mine"] {
        assert!(folder.path().join(run).join("deep/x.safetensors").is_file(), "nothing in {run}");
    }
}

#[test]
fn the_command_line_itself_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    candlewick(folder.path(), &["run", "missing.rhai"]).shows(2, &["missing.rhai"]);
    candlewick(folder.path(), &["rum", "s.rhai"]).shows(2, &["run"]);
    run_with("print(1);", &["--device", "tpu"]).shows(2, &["cpu, auto, cuda or cuda:N"]);
    run_with("print(1);", &["--threads", "0"]).shows(2, &["--threads"]);
    candlewick(folder.path(), &["doc", "sofmax"]).shows(2, &["did you mean \"softmax\"?"]);
    let ended = candlewick(folder.path(), &["doc", "uniform"]);
    ended.shows(0, &[]);
    assert!(ended.stdout.contains("uniform(shape: [int], options?: options) -> tensor"), "{}", ended.stdout);
}

#[test]
fn check_finds_mistakes_without_running() {
    let ended = check(
        r#"print("ran");
let t = zeros([2, 3]);
let s = sofmax(t, 1);
print(t.shap);
uniform([2], #{ hi: 2 });
linspace(1, 2);
fn f(a) { a.reshap([1]) }
f(1, 2);
t.softmax(1, 2, 3);
"#,
    );
    ended.shows(
        2,
        &[
            "s.rhai:3:9",
            "`softmax`",
            "s.rhai:4:9",
            "`shap`",
            "s.rhai:5:17",
            "there is no option `hi`",
            "s.rhai:6:1",
            "`linspace` was called with 2 arguments",
            "s.rhai:7:13",
            "`reshape`",
            "s.rhai:8:1",
            "s.rhai:9:3",
        ],
    );
    assert_eq!(ended.stdout, "");
    check("let x = 1;\nprint(y);").shows(2, &["there is no variable `y`", "s.rhai:2:7"]);
}

#[test]
fn check_finds_nothing_in_a_sound_script() {
    let ended = check(
        r#"let m = #{ a: 1, f: |x| x + 1 };
m.b = 2;
print(m.a + m.b + m.f.call(1) + m.f(2));
fn g(t) { t.shape }
let t = uniform([2, 2], #{ low: -1 });
print(g(t)[0] + t.shape.len() + t[0][1].item());
let names = ["a"].map(|n| n.to_upper());
for (row, i) in t { print(row.sum() + i); }
let best = top_k(t, 1).values;
fn this_one() { this + 1 }
3.this_one();
"#,
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "s.rhai: nothing wrong found\n", "")
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_busy_script_within_a_second() {
    for busy in ["loop { }", "sleep(60);", "loop { let t = zeros([1000]); t = softmax(t); }"] {
        ends_at_once(busy);
    }
}

#[cfg(unix)]
fn ends_at_once(busy: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("print(\"go\");\ntry {{ {busy} }} catch (e) {{ print(\"caught\"); }}");
    std::fs::write(folder.path().join("s.rhai"), script).expect("written");
    let mut child = start(folder.path(), &["run", "s.rhai"]);
    let mut first = [0u8; 3];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("it prints");
    let asked = Instant::now();
    interrupt(&child);
    let status = child.wait().expect("it ends");
    assert!(asked.elapsed() < Duration::from_secs(1), "took {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(130));
    let mut rest = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("piped"), &mut rest).expect("it closes");
    assert!(!rest.contains("caught"), "a script must not swallow Ctrl-C");
}
