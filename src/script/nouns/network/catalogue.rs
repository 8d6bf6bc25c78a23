//! The published cells and reduced search spaces as scripts see them; part of the noun `network`.

use crate::Result;
use crate::script::binding::{Library, List, Options};
use crate::script::nouns::graph::op_names;
use crate::space::catalogue::{self, Published};
use crate::space::random_genotype;
use rhai::{Array, Dynamic, Map};

pub fn declare(library: &mut Library) {
    declare_random(library);
    library
        .function("genotypes", &[], || Ok(catalogue::published().iter().map(entry).collect::<Array>()))
        .doc(
            r#"
            The published cells: an array of maps with the `name` that `genotype` takes, the `source` (repository, file
            and commit) and a `note`.
            "#,
        )
        .example(
            r#"
            let all = genotypes();
            assert(all.len() == 157 && all[1].name == "DARTS_V2");
            print(all[1].source);
            "#,
        );
    library
        .function("reduced_space", &["name"], reduced_space)
        .doc(
            r#"
            S1, S2, S3 or S4 of RobustDARTS (Zela et al. 2020): a map with `ops` and `mask` as `supernet` takes them,
            for cells of four nodes.
            "#,
        )
        .example(
            r#"
            let s = reduced_space("S2");
            let net = supernet(#{ channels: 3, size: 8, classes: 10 },
                #{ channels: 2, layers: 3, ops: s.ops, mask: s.mask });
            assert(net.alphas.normal.shape == [14, 2]);
            "#,
        );
}

fn declare_random(library: &mut Library) {
    let host = library.host();
    library
        .function("random_genotype", &["options"], move |options: Options| {
            let operations = options.get::<List<String>>("ops")?.0;
            random_genotype(options.get("nodes")?, &operations, &mut host.draw("genotype"))
        })
        .doc(
            r#"
            A genotype drawn at random: every node reads two different states before it, each through an op other than
            "none", all choices equally likely (the baseline of Li and Talwalkar 2019). From the run's seed; each call
            draws another.
            "#,
        )
        .option("nodes", 4_usize, "intermediate nodes per cell")
        .option("ops", op_names(), "the ops to choose from")
        .example(
            r#"
            let cell = random_genotype(#{ nodes: 3 });
            assert(cell.normal.len() == 6 && cell.normal_concat == [2, 3, 4]);
            "#,
        );
}

fn entry(published: &Published) -> Dynamic {
    let fields = [("name", &published.name), ("source", &published.source), ("note", &published.note)];
    Dynamic::from_map(fields.into_iter().map(|(key, text)| (key.into(), text.as_str().into())).collect())
}

fn reduced_space(name: String) -> Result<Map> {
    let space = catalogue::reduced_space(&name)?;
    let edges = |edges: &[Vec<String>]| -> Dynamic {
        edges
            .iter()
            .map(|names| names.iter().map(|name| name.as_str().into()).collect::<Array>())
            .collect::<Vec<_>>()
            .into()
    };
    let mask: Map = [("normal", edges(&space.normal)), ("reduce", edges(&space.reduce))]
        .into_iter()
        .map(|(kind, edges)| (kind.into(), edges))
        .collect();
    let ops: Array = space.operations().into_iter().map(Dynamic::from).collect();
    Ok([("ops", Dynamic::from_array(ops)), ("mask", Dynamic::from_map(mask))]
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect())
}
