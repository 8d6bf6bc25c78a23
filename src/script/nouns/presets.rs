//! `presets(#{ small: #{ … } })`: named sets of other defaults for a script's parameters, of which `--set scale=small`
//! chooses one.

use super::param::{Param, literal_value};
use crate::script::binding::{Library, literal, type_name};
use crate::script::host::Host;
use crate::{Error, Result};
use rhai::{Dynamic, Expr, Map};
use std::collections::BTreeMap;

/// The parameter that chooses, and what it is when nothing is chosen.
pub const SCALE: &str = "scale";
const OWN: &str = "paper";

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function("presets", &["scales"], move |scales: Map| choose(&host, &scales))
        .doc(
            r#"
            Other defaults for the parameters that follow, by name: `--set scale=small` takes those of `small`, and
            what is `--set` besides still counts. Without a scale (or with `paper`) parameters have their own defaults.
            Stands before the first `param`. A preset for a parameter that the script does not have is an error.
            "#,
        )
        .example(
            r#"
            presets(#{ small: #{ epochs: 2 } });
            let epochs = param("epochs", 50, "passes over the training half");
            assert(epochs == 50);
            "#,
        );
}

fn choose(host: &Host, scales: &Map) -> Result<()> {
    if let Some(read) = host.params().first() {
        return Err(Error::user(format!("presets stand before the first param, but `{}` was read already", read.name))
            .hint("a parameter that is read before has its own default, whatever the scale"));
    }
    let chosen = host.setup.settings.get(SCALE).map_or(OWN, String::as_str);
    if chosen != OWN {
        let names = scales.keys().map(|name| name.as_str());
        let preset = scales.get(chosen).ok_or_else(|| unknown(chosen, names))?;
        let preset = preset.clone().try_cast::<Map>().ok_or_else(|| {
            Error::user(format!("the scale `{chosen}` is not a map")).hint("presets(#{ small: #{ epochs: 2 } })")
        })?;
        host.preset(preset.into_iter().map(|(name, value)| (name.to_string(), value)).collect());
    }
    host.note_param(SCALE, chosen.into());
    Ok(())
}

fn unknown<'a>(name: &str, scales: impl Iterator<Item = &'a str>) -> Error {
    Error::unknown("scale", name, scales.chain([OWN]))
}

/// A preset's value for a parameter with this default: an int may stand for a float.
///
/// # Errors
/// Another type.
pub fn fitted(name: &str, value: &Dynamic, default: &Dynamic) -> Result<Dynamic> {
    let (kind, given) = (type_name(default), type_name(value));
    match (kind.as_str(), given.as_str()) {
        ("float", "int") => Ok(Dynamic::from_float(value.as_int().unwrap_or_default() as f64)),
        _ if kind == given => Ok(value.clone()),
        _ => Err(Error::user(format!("the preset {} of `{name}` is of type {given}, not {kind}", literal(value)))
            .hint(format!("its default is {}", literal(default)))),
    }
}

/// The presets of a script, read off its syntax.
#[derive(Clone, Debug, Default)]
pub struct Scales(BTreeMap<String, BTreeMap<String, Option<Dynamic>>>);

impl Scales {
    /// The argument of a call of `presets`, as far as it stands there as literals.
    pub fn read(argument: &Expr) -> Self {
        Self(entries(argument).into_iter().map(|(name, preset)| (name, preset.settled())).collect())
    }

    /// The parameter that chooses among them.
    pub fn param(&self, position: rhai::Position) -> Param {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let help = format!("other defaults for the rest: {OWN}, or {}", names.join(", "));
        Param { name: SCALE.into(), default: Some(OWN.into()), help: Some(help), position }
    }

    /// Checks the chosen scale, and that all presets are of parameters.
    ///
    /// # Errors
    /// An unknown scale or parameter, with the closest; a value of another type than the default's.
    pub fn check(&self, chosen: Option<&String>, params: &[Param], open: bool) -> Result<()> {
        if let Some(chosen) = chosen.filter(|chosen| *chosen != OWN && !self.0.contains_key(*chosen)) {
            return Err(unknown(chosen, self.0.keys().map(String::as_str)));
        }
        for (scale, preset) in &self.0 {
            for (name, value) in preset {
                match params.iter().find(|param| param.name == *name) {
                    Some(Param { default: Some(default), .. }) => {
                        value.as_ref().map(|value| fitted(name, value, default)).transpose()?;
                    }
                    Some(_) => {}
                    None if open => {}
                    None => {
                        let what = format!("parameter for the scale `{scale}` to set,");
                        return Err(Error::unknown(&what, name, params.iter().map(|p| p.name.as_str())));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A value of a map literal: as it stands in the syntax, or already folded into a constant.
enum Entry<'a> {
    Syntax(&'a Expr),
    Folded(Dynamic),
}

impl Entry<'_> {
    fn settled(self) -> BTreeMap<String, Option<Dynamic>> {
        let inner = match self {
            Entry::Syntax(expr) => entries(expr),
            Entry::Folded(value) => folded(value),
        };
        let value = |entry| match entry {
            Entry::Syntax(expr) => literal_value(expr),
            Entry::Folded(value) => Some(value),
        };
        inner.into_iter().map(|(name, entry)| (name, value(entry))).collect()
    }
}

fn folded<'a>(value: Dynamic) -> Vec<(String, Entry<'a>)> {
    let map = value.try_cast::<Map>().unwrap_or_default();
    map.into_iter().map(|(name, value)| (name.to_string(), Entry::Folded(value))).collect()
}

fn entries(expr: &Expr) -> Vec<(String, Entry<'_>)> {
    match expr {
        Expr::Map(map, _) => map.0.iter().map(|(name, value)| (name.name.to_string(), Entry::Syntax(value))).collect(),
        _ => folded(expr.get_literal_value(None).unwrap_or_default()),
    }
}
