//! Named sets of defaults: `--set scale=small`.

use crate::scripts::{run, run_with};

const SCRIPT: &str = "presets(#{ small: #{ epochs: 2, lr: 1, data: \"digits\" } });\n\
                      let epochs = param(\"epochs\", 50, \"passes\");\n\
                      let lr = param(\"lr\", 0.1, \"rate\");\n\
                      let data = param(\"data\", \"cifar10\", \"images\");\n\
                      print(`${epochs} ${lr} ${data}`);";

#[test]
fn a_scale_changes_the_defaults_and_what_is_set_still_counts() {
    let printed = |settings: &[&str]| {
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
        let ended = run_with(SCRIPT, &arguments);
        ended.shows(0, &[]);
        ended.stdout
    };
    assert_eq!(printed(&[]), "50 0.1 cifar10\n");
    assert_eq!(printed(&["scale=paper"]), "50 0.1 cifar10\n");
    assert_eq!(printed(&["scale=small"]), "2 1.0 digits\n");
    assert_eq!(printed(&["epochs=7", "scale=small"]), "7 1.0 digits\n");
    let help = run_with(SCRIPT, &["--help"]).stdout;
    assert!(help.contains("scale=\"paper\"") && help.contains("paper, or small"), "{help}");
}

#[test]
fn a_scale_that_there_is_not_and_a_preset_without_its_parameter_are_told_before_anything_runs() {
    run_with(SCRIPT, &["--set", "scale=smal"]).shows(2, &["scale", "smal", "small"]);
    let misspelt = SCRIPT.replace("epochs: 2", "epoch: 2");
    run(&misspelt).shows(2, &["scale `small`", "epoch", "epochs"]);
    let wrong = SCRIPT.replace("epochs: 2", "epochs: \"2\"");
    run(&wrong).shows(2, &["the preset \"2\" of `epochs` is of type string, not int", "50"]);
    run(&format!("let first = param(\"first\", 1);\n{SCRIPT}"))
        .shows(2, &["presets stand before the first param, but `first` was read already", "s.rhai:2"]);
    run_with("let a = param(\"a\", 1);", &["--set", "scale=small"]).shows(2, &["scale"]);
}
