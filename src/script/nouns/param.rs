//! `param(name, default, help)`: what a script lets the command line change.
//!
//! A parameter has the type of its default. The parameters are found by reading the script, before anything runs, so a
//! misspelt `--set` costs nothing; what the reading cannot know (a name or default that is computed) is checked when
//! the script gets there.

use super::presets::{SCALE, Scales, fitted};
use crate::script::binding::{Library, literal, type_name};
use crate::script::host::Host;
use crate::{Error, Result};
use rhai::{AST, ASTNode, Dynamic, Expr, Position, Stmt};

pub fn declare(library: &mut Library) {
    library.noun("parameters", "What the command line may change in a script.");
    let host = library.host();
    library
        .function(
            "param",
            &["name", "default", "help"],
            move |name: String, default: Dynamic, _help: Option<String>| read(&host, &name, default),
        )
        .doc(
            r#"
            A parameter of the script: `default`, or what `--set name=value` gives. The value has the default's type
            (int, float, bool, string or array). `candlewick run SCRIPT --help` lists the parameters with their help.
            "#,
        )
        .example(
            r#"
            let epochs = param("epochs", 50, "passes over the training half");
            assert(epochs == 50);
            "#,
        );
}

fn read(host: &Host, name: &str, default: Dynamic) -> Result<Dynamic> {
    let value = match host.setup.settings.get(name) {
        Some(text) => parse(name, text, &default)?,
        None => host.preset_of(name).map_or(Ok(default.clone()), |value| fitted(name, &value, &default))?,
    };
    host.note_param(name, value.clone());
    Ok(value)
}

/// Reads the text of a `--set` as a value of the default's type.
///
/// # Errors
/// Where it is none, or the default is of a type that parameters cannot have.
pub fn parse(name: &str, text: &str, default: &Dynamic) -> Result<Dynamic> {
    let kind = type_name(default);
    let wrong = || {
        Error::user(format!("the parameter `{name}` takes {}, not \"{text}\"", article(&kind))).hint(format!(
            "its default is {}: --set {name}={}",
            literal(default),
            literal(default)
        ))
    };
    match kind.as_str() {
        "int" => text.parse::<i64>().map(Dynamic::from_int).map_err(|_| wrong()),
        "float" => text.parse::<f64>().map(Dynamic::from_float).map_err(|_| wrong()),
        "bool" => text.parse::<bool>().map(Dynamic::from_bool).map_err(|_| wrong()),
        "string" => Ok(text.into()),
        "array" => {
            let json: serde_json::Value = serde_json::from_str(text).map_err(|_| wrong())?;
            if !json.is_array() {
                return Err(wrong());
            }
            rhai::serde::to_dynamic(&json).map_err(|_| wrong())
        }
        _ => Err(Error::user(format!("the parameter `{name}` cannot be {}", article(&kind)))
            .hint("a parameter is an int, a float, a bool, a string or an array")),
    }
}

fn article(kind: &str) -> String {
    if kind.starts_with(['a', 'i']) { format!("an {kind}") } else { format!("a {kind}") }
}

/// A parameter as it stands in the script.
#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    /// `None` where the default is computed.
    pub default: Option<Dynamic>,
    pub help: Option<String>,
    pub position: Position,
}

/// The parameters of a script, read off its syntax.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub params: Vec<Param>,
    /// Whether some parameter's name is computed, so that the list may not be whole.
    pub open: bool,
    /// Other defaults by name.
    scales: Option<Scales>,
}

impl Listing {
    /// Adds the parameters in `ast`.
    pub fn add(&mut self, ast: &AST) {
        ast.walk(&mut |path: &[ASTNode]| {
            let call = match path.last() {
                Some(ASTNode::Expr(Expr::FnCall(call, position))) => Some((call, *position)),
                Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => Some((call, *position)),
                _ => None,
            };
            match call {
                Some((call, position)) if call.name == "param" => self.add_call(&call.args, position),
                Some((call, position)) if call.name == "presets" => {
                    let scales = call.args.first().map(Scales::read).unwrap_or_default();
                    self.params.insert(0, scales.param(position));
                    self.scales = Some(scales);
                }
                _ => {}
            }
            true
        });
    }

    fn add_call(&mut self, arguments: &[Expr], position: Position) {
        let text = |index: usize| {
            let value = arguments.get(index)?.get_literal_value(None)?;
            value.into_string().ok()
        };
        let Some(name) = text(0) else {
            self.open = true;
            return;
        };
        if self.params.iter().all(|p| p.name != name) {
            let default = arguments.get(1).and_then(literal_value);
            self.params.push(Param { name, default, help: text(2), position });
        }
    }

    /// Checks `--set` values against the list.
    ///
    /// # Errors
    /// An unknown name, with the closest; a value of another type than the default's.
    pub fn check(&self, settings: &std::collections::BTreeMap<String, String>) -> Result<()> {
        for (name, text) in settings {
            match self.params.iter().find(|p| p.name == *name) {
                Some(Param { default: Some(default), .. }) => _ = parse(name, text, default)?,
                Some(_) => {}
                None if self.open => {}
                None if self.params.is_empty() => {
                    return Err(
                        Error::user(format!("there is no parameter `{name}`")).hint("the script has no parameters")
                    );
                }
                None => return Err(Error::unknown("parameter", name, self.params.iter().map(|p| p.name.as_str()))),
            }
        }
        match &self.scales {
            Some(scales) => scales.check(settings.get(SCALE), &self.params, self.open),
            None => Ok(()),
        }
    }
}

/// The value of a literal, a minus sign in front of a number included.
pub(super) fn literal_value(expr: &Expr) -> Option<Dynamic> {
    if let Expr::FnCall(call, _) = expr
        && call.name == "-"
        && let [only] = call.args.as_slice()
    {
        let value = only.get_literal_value(None)?;
        return match value.as_int() {
            Ok(int) => Some(Dynamic::from_int(-int)),
            Err(_) => value.as_float().ok().map(|float| Dynamic::from_float(-float)),
        };
    }
    expr.get_literal_value(None)
}
