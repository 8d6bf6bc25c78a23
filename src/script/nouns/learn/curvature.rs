//! The Hessian of a loss in the alphas, and its largest eigenvalue, as scripts call them.

use crate::batch::Batch;
use crate::learn::{self, Curvature, Loss};
use crate::script::binding::{Argument, Call, Library, List, Mismatch, Options};
use crate::script::nouns::Tensor;
use crate::script::nouns::inputs::AnyBatch;
use crate::script::nouns::network::SMALL;
use crate::script::nouns::ways::{Given, LOSS, MASK, RELAX};
use crate::space::Network;
use crate::{Error, Result};
use candle_core::DType;
use rhai::{Dynamic, FnPtr, Map};

/// One batch or several.
struct Batches(Vec<AnyBatch>);

impl Argument for Batches {
    fn describe() -> String {
        "batch, map or [batch]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        match value.is_array() {
            true => List::<AnyBatch>::read(value).map(|list| Self(list.0)),
            false => AnyBatch::read(value).map(|batch| Self(vec![batch])),
        }
    }
}

fn with<T>(
    call: &Call<'_>,
    net: &Network,
    batches: &Batches,
    options: &Options,
    find: impl FnOnce(&Curvature<'_>) -> Result<T>,
) -> Result<T> {
    let device = net.weights().device();
    let batches = batches.0.iter().map(|batch| batch.on(device)).collect::<Result<Vec<Batch>>>()?;
    let given = Given::read(call, net, options)?;
    let way = given.way(Loss::default());
    find(&Curvature::new(net, &batches, &way)?)
}

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .function(
            "alpha_hessian",
            &["net", "batches", "options"],
            move |call: &Call<'_>, net: Network, batches: Batches, options: Options| {
                let rows = with(call, &net, &batches, &options, |curvature| curvature.matrix())?;
                let n = rows.len();
                let flat = candle_core::Tensor::from_vec(rows.concat(), (n, n), host.device())?;
                Ok(Tensor::new(&host.meter, flat))
            },
        )
        .doc(
            r#"
            The second derivatives ∂²L/∂α² of the mean loss of a batch, or of several, in training mode: n × n for n
            alphas in all, matrix after matrix in the order of their names. Taken in double precision whatever the
            network runs in, as differences of exact gradients that are a millionth apart or less, and less where a
            ReLU or a max pool changes sides between them. Plain differences of gradients in single precision are mostly
            noise: with the steps that rounding asks for they see the jumps at kinks. It takes two passes or more for
            every alpha; the network stays as it is. `relax` must not draw.
            "#,
        )
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<FnPtr>("loss", LOSS.0, LOSS.1)
        .example(
            r#"
            let net = supernet(#{ channels: 1, size: 8, classes: 10 },
                #{ channels: 2, layers: 2, nodes: 1, ops: ["skip_connect", "sep_conv_3x3"], reductions: [1] });
            let h = alpha_hessian(net, #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] });
            assert(h.shape == [8, 8]);
            assert(norm(h - transpose(h)).item() < 0.01 * norm(h).item());
            "#,
        );
    library
        .function(
            "largest_eigenvalue",
            &["net", "batches", "options"],
            move |call: &Call<'_>, net: Network, batches: Batches, options: Options| {
                with(call, &net, &batches, &options, |curvature| curvature.largest_eigenvalue())
            },
        )
        .doc(
            r#"
            The largest eigenvalue of `alpha_hessian`, found by Lanczos' method without the whole matrix: some twenty
            products with it, of two passes each or more.
            "#,
        )
        .optional::<FnPtr>("relax", RELAX.0, RELAX.1)
        .optional::<Map>("mask", MASK.0, MASK.1)
        .optional::<FnPtr>("loss", LOSS.0, LOSS.1)
        .example_after(
            SMALL,
            r#"
            let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
            print(largest_eigenvalue(net, [batch]));
            "#,
        );
    library
        .function("largest_eigenvalue", &["matrix"], |matrix: Tensor| {
            let matrix = matrix.float()?.to_dtype(DType::F64)?;
            match matrix.dims() {
                [_, _] => learn::largest_eigenvalue(&matrix.to_vec2::<f64>()?),
                dims => Err(Error::user(format!("a matrix has two axes, not the shape {dims:?}"))),
            }
        })
        .doc("The largest eigenvalue of a symmetric matrix; of another, that of its symmetric part.")
        .example("assert(largest_eigenvalue(tensor([[0, 1], [1, 0]])) == 1.0);");
}
