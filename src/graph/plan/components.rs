//! Which component of the network a primitive belongs to, by the scope that it was built in.

use super::{ComponentId, Table};

/// The component of a scope among `names` (added if new): the first component of the scope, with its number
/// if one follows, as in "cells.3".
pub(super) fn of(scope: &str, names: &mut Table<ComponentId, String>) -> ComponentId {
    let mut components = scope.split('.');
    let mut name = components.next().unwrap_or_default().to_string();
    if let Some(number) = components.next().filter(|c| c.parse::<usize>().is_ok()) {
        name = format!("{name}.{number}");
    }
    names.position(|known| *known == name).unwrap_or_else(|| names.push(name))
}

#[cfg(test)]
mod tests {
    use super::super::Id;
    use super::*;

    #[test]
    fn a_component_is_a_cell_or_the_outermost_scope() {
        let mut names = Table::new();
        let scopes = ["", "stem", "cells.0.pre0", "cells.0.edges.3.ops.4", "cells.10", "stem", "auxiliary.conv.1"];
        let components: Vec<usize> = scopes.iter().map(|scope| of(scope, &mut names).index()).collect();
        assert_eq!(names.as_slice(), ["", "stem", "cells.0", "cells.10", "auxiliary"]);
        assert_eq!(components, [0, 1, 2, 2, 3, 1, 4]);
    }
}
