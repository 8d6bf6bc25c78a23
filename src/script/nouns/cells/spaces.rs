//! Search spaces as values: what they hold, cells drawn from them, small changes, codes.

use crate::random::Rng;
use crate::script::binding::{Argument, Library, List, Mismatch, Options, ScriptType, describe_value};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::space::spaces::{Change, NAMES, Sizes};
use crate::space::{CellSpace, CodedCell, Genotype};
use crate::{Error, Result};
use rand::RngExt;
use rhai::{Array, Dynamic, Map};
use std::fmt;

impl ScriptType for CellSpace {
    const NAME: &'static str = "cell_space";
}

impl fmt::Display for CellSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "space \"{}\" of {}", self.name(), counted(self.count()))?;
        write!(f, " cells, {} decisions each", self.decisions().len())
    }
}

/// A count as people read it: all digits while there are few.
fn counted(count: f64) -> String {
    if count < 1e9 { format!("{count}") } else { format!("{count:.3e}") }
}

/// The most cells that a script may list.
const MOST: usize = 100_000;

pub fn declare(library: &mut Library) {
    library.kind::<CellSpace>("A search space of discrete cells.");
    declare_spaces(library);
    declare_forms(library);
    declare_drawing(library);
}

fn declare_spaces(library: &mut Library) {
    library
        .function("space", &["name", "options"], |name: String, options: Options| {
            let sizes = Sizes {
                nodes: options.find("nodes")?,
                motifs: options.find("motifs")?,
                cell_nodes: options.find("cell_nodes")?,
            };
            match options.find::<List<String>>("ops")? {
                None => CellSpace::named(&name, sizes),
                Some(ops) if name == "darts" => CellSpace::of_operations(sizes.nodes.unwrap_or(4), ops.0),
                Some(_) => Err(Error::user(format!("the operations of the space \"{name}\" are given"))
                    .hint("space(\"darts\", #{ ops: […] }) is a space like DARTS' with other operations")),
            }
        })
        .doc(
            r#"
            A search space of the literature. Its cells are genotypes in "darts" (Liu et al. 2019: every node reads two
            different states, seven ops), "nasnet" (Zoph et al. 2018: any two states, thirteen ops; both are added),
            "amoebanet" (Real et al. 2019, the eight ops of its cell A), "pnas" (Liu et al. 2018: the same ops, and one
            cell for both kinds) and "enas" (Pham et al. 2018: five ops); in the last four the nodes that no other node
            reads are concatenated. In the others a cell is a code, an array with the number of the choice for each
            decision, and a script builds the network: "nasbench201" (Dong and Yang 2020: five ops on six edges),
            "blockqnn" (Zhong et al. 2018: a sequence of layers, each with the layers that it reads, until choice 0, the
            end) and "hierarchical" (Liu et al. 2018: motifs of primitives, and a cell of motifs).
            "#,
        )
        .optional::<usize>("nodes", "the literature's", "nodes of a cell; of a motif; the most layers of a block")
        .optional::<List<String>>("ops", "the literature's", "with \"darts\": other operations, also of a script's own")
        .optional::<usize>("motifs", "6", "motifs of \"hierarchical\"")
        .optional::<usize>("cell_nodes", "5", "nodes of the cell that is made of motifs")
        .example(
            r#"
            assert(space("nasbench201").count == 15625);
            assert(space("pnas", #{ nodes: 1 }).count == 256);
            print(space("darts"));
            "#,
        );
    library
        .function("spaces", &[], || Ok(List(NAMES.map(String::from).to_vec())))
        .doc("The names that `space` takes.")
        .example(r#"for name in spaces() { print(space(name)); }"#);
    library
        .property("name", |space: CellSpace| Ok(space.name().to_string()))
        .doc("Its name.")
        .example(r#"assert(space("enas").name == "enas");"#);
    library
        .property("count", |space: CellSpace| {
            let count = space.count();
            Ok(if count < 9e15 { Dynamic::from_int(count as i64) } else { Dynamic::from_float(count) })
        })
        .doc("How many cells it holds, those that compute the same counted apart; a float where no int is exact.")
        .example(r#"assert(space("darts", #{ nodes: 1 }).count == 2401);"#);
    library
        .property("width", |space: CellSpace| Ok(space.width()))
        .doc("How many numbers `encode` gives for a cell.")
        .example(r#"assert(space("nasbench201").width == 30);"#);
    library
        .property("decisions", |space: CellSpace| {
            let decision = |decision: &crate::space::spaces::Decision| {
                let choices = decision.choices.iter().map(|choice| choice.as_str().into()).collect();
                let fields = [("name", decision.name.as_str().into()), ("choices", Dynamic::from_array(choices))];
                Dynamic::from_map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
            };
            Ok(space.decisions().iter().map(decision).collect::<Array>())
        })
        .doc("What has to be decided about a cell, in the order of its code: maps of a `name` and the `choices`.")
        .example(r#"assert(space("nasbench201").decisions[0].choices[3] == "conv_3x3");"#);
}

fn declare_forms(library: &mut Library) {
    library
        .method("code", &["space", "genotype"], |space: CellSpace, cell: Member| cell.code(&space).map(List))
        .doc(
            r#"
            A cell's code: the number of the choice for each decision. A cell that lies outside of the space is refused,
            with the edge and the op that do not belong there.
            "#,
        )
        .example(
            r#"
            let darts = space("darts");
            let code = darts.code(genotype("DARTS_V2"));
            assert(code.len() == 24 && darts.genotype(code) == genotype("DARTS_V2"));
            "#,
        );
    library
        .method("genotype", &["space", "code"], |space: CellSpace, code: List<usize>| match space.cells() {
            Some(_) => space.genotype(&code.0).map(Dynamic::from),
            None => CodedCell::new(space, code.0).map(Dynamic::from),
        })
        .doc(
            r#"
            The genotype of a code; in spaces whose cells are codes a `coded_genotype`, which keeps the code with its
            space, so that it can be written down, drawn and read back.
            "#,
        )
        .example(
            r#"
            let pnas = space("pnas", #{ nodes: 1 });
            assert(pnas.genotype([0, 1, 1, 0]).normal == [["sep_conv_3x3", 0], ["skip_connect", 1]]);
            print(space("blockqnn").genotype([2, 0]));
            "#,
        );
    library
        .method("words", &["space", "genotype"], |space: CellSpace, cell: Member| {
            let code = cell.code(&space)?;
            Ok(List(space.words(&code)?.into_iter().map(String::from).collect()))
        })
        .doc("What a cell's code says, decision by decision.")
        .example(r#"assert(space("blockqnn").words([2, 0]) == ["conv_3 0", "terminal"]);"#);
    library
        .method("all", &["space"], |space: CellSpace| {
            space.all(MOST)?.into_iter().map(|code| member(&space, code)).collect::<Result<Array>>()
        })
        .doc("All cells of a space that holds no more than 100,000, in the order of their codes.")
        .example(r#"assert(space("pnas", #{ nodes: 1 }).all().len() == 256);"#);
    let host = library.host();
    library
        .function("encode", &["genotypes", "space"], move |cells: Members, space: CellSpace| {
            encode(&host, &cells, &space)
        })
        .doc(
            r#"
            One-hot codes for predictors: for every decision as many numbers as it has choices, 1 at the chosen one; a
            vector of `space.width` numbers for one cell, cells × numbers for an array of cells.
            "#,
        )
        .example(
            r#"
            let bench = space("nasbench201");
            assert_equal(sum(encode([3, 3, 3, 3, 3, 3], bench)).item(), 6.0);
            assert(encode([random_genotype(bench), random_genotype(bench)], bench).shape == [2, 30]);
            "#,
        );
}

fn declare_drawing(library: &mut Library) {
    let host = library.host();
    library
        .function("random_genotype", &["space"], move |space: CellSpace| {
            let code = space.random(&mut host.draw("genotype"));
            member(&space, code)
        })
        .doc(
            r#"
            A cell of a space drawn at random, every choice as likely as any other of its decision: a genotype, or a
            code where cells are codes. From the run's seed; each call draws another.
            "#,
        )
        .example(
            r#"
            assert(random_genotype(space("nasnet")).normal.len() == 10);
            assert(random_genotype(space("nasbench201")).len() == 6);
            "#,
        );
    let host = library.host();
    library
        .function(
            "mutate",
            &["genotype", "space", "options"],
            move |cell: Member, space: CellSpace, options: Options| {
                let mut rng: Rng = host.draw("mutation");
                let stays = options.get::<f64>("stay")?;
                if !(0.0..=1.0).contains(&stays) {
                    return Err(Error::user(format!("`stay` is a probability, not {stays}")));
                }
                let (code, change) = (cell.code(&space)?, Change::named(&options.get::<String>("change")?)?);
                match rng.random::<f64>() < stays {
                    true => member(&space, code),
                    false => member(&space, space.mutate(&code, change, &mut rng)?),
                }
            },
        )
        .doc(
            r#"
            The cell with one decision changed: one input of a node or one op (Real et al. 2019). Which cell, whether
            input or op, and which of them are each drawn evenly, and so is the new choice among the others; of a node
            that reads two different states one input changes. In "hierarchical" the level is drawn first, then the
            motif (Liu et al. 2018). From the run's seed; each call draws another.
            "#,
        )
        .option("change", "any".to_string(), r#""any", "input" (what a node reads) or "op""#)
        .option("stay", 0.0, "probability that the cell stays as it is")
        .example(
            r#"
            let darts = space("darts");
            let cell  = random_genotype(darts);
            assert(mutate(cell, darts) != cell);
            "#,
        );
}

fn encode(host: &Host, cells: &Members, space: &CellSpace) -> Result<Tensor> {
    let rows = cells.list.iter().map(|cell| space.one_hot(&cell.code(space)?)).collect::<Result<Vec<_>>>()?;
    host.meter.admit(&[rows.len(), space.width()], host.dtype().size_in_bytes())?;
    let shape = if cells.single { vec![space.width()] } else { vec![rows.len(), space.width()] };
    let tensor = candle_core::Tensor::from_vec(rows.concat(), shape, &candle_core::Device::Cpu)?;
    Ok(Tensor::new(&host.meter, tensor.to_dtype(host.dtype())?.to_device(host.device())?))
}

/// A code in the form in which scripts hold the space's cells.
fn member(space: &CellSpace, code: Vec<usize>) -> Result<Dynamic> {
    match space.cells() {
        Some(_) => space.genotype(&code).map(Dynamic::from),
        None => Ok(code.into_iter().map(|choice| Dynamic::from_int(choice as i64)).collect::<Array>().into()),
    }
}

/// A cell of a space: a genotype, a code, or a code with its space.
enum Member {
    Genotype(Genotype),
    Code(Vec<usize>),
    Coded(CodedCell),
}

impl Member {
    fn code(&self, space: &CellSpace) -> Result<Vec<usize>> {
        match self {
            Self::Genotype(genotype) => space.code(genotype),
            Self::Code(code) => space.check(code).map(|()| code.clone()),
            Self::Coded(cell) if cell.space() == space => Ok(cell.code().to_vec()),
            Self::Coded(cell) => {
                Err(Error::user(format!("this is a cell of the {}, not of the {space}", cell.space())))
            }
        }
    }
}

impl Argument for Member {
    fn describe() -> String {
        "genotype, coded_genotype or [int]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(genotype) = value.read_lock::<Genotype>() {
            return Ok(Self::Genotype(genotype.clone()));
        }
        if let Some(cell) = value.read_lock::<CodedCell>() {
            return Ok(Self::Coded(cell.clone()));
        }
        match value.is_array() {
            true => List::<usize>::read(value).map(|code| Self::Code(code.0)),
            false => Err(Mismatch::Found(format!("not {}", describe_value(value)))),
        }
    }
}

/// One cell or several.
struct Members {
    list: Vec<Member>,
    single: bool,
}

impl Argument for Members {
    fn describe() -> String {
        "genotype or [int] or [genotype]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let of_cells = value.as_array_ref().is_ok_and(|array| array.first().is_none_or(|first| !first.is_int()));
        match of_cells {
            true => List::<Member>::read(value).map(|list| Self { list: list.0, single: false }),
            false => Member::read(value).map(|cell| Self { list: vec![cell], single: true }),
        }
    }
}
