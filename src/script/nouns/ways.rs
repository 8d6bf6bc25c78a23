//! The options that say how a network is run and judged where gradients and scores are taken: `relax`, `mask`, `path`,
//! `loss`, `extra`.

use super::Tensor;
use super::inputs::{Blocks, Relaxation, alphas_by_name, relaxation};
use crate::learn::{Extra, Loss, OwnLoss, Way};
use crate::script::binding::{Call, Options};
use crate::space::{Alphas, Genotype, Network};
use crate::{Error, Result};
use rhai::{FnPtr, Map};
use std::sync::Arc;

/// Defaults and meanings, for the declarations.
pub const RELAX: (&str, &str) =
    ("softmax by row, over the ops that run", "a closure |alphas| that gives a map of mixing weights");
pub const MASK: (&str, &str) = ("all ops run", "a map of tensors in the mixing weights' shapes; 0: the op is not run");
pub const PATH: (&str, &str) = ("all ops run", "a genotype: only its ops run, with the weights of `net.gates`");
pub const LOSS: (&str, &str) = ("cross-entropy", "a closure |outputs, y| that gives the loss, one number");

/// What a call's options said.
pub struct Given<'a> {
    relax: Option<Relaxation<'a>>,
    /// The slots that run; none: all.
    pub active: Option<Arc<[bool]>>,
    score: Option<Box<OwnLoss<'a>>>,
    extra: Option<Box<Extra<'a>>>,
}

impl<'a> Given<'a> {
    /// Reads those of the options that the call has.
    ///
    /// # Errors
    /// A path together with mixing weights or a mask; a genotype outside of the network's space; a mask that does not
    /// fit.
    pub fn read(call: &'a Call<'_>, net: &Network, options: &Options) -> Result<Self> {
        let mut relax = relaxation(call, options)?;
        let mut active = match options.find::<Map>("mask")? {
            Some(mask) => Some(Blocks::active(net, &mask)?),
            None => None,
        };
        if let Some(genotype) = options.find::<Genotype>("path")? {
            if relax.is_some() || active.is_some() {
                return Err(Error::user(
                    "a path says which ops run and with what weight: give it without `relax` and `mask`",
                ));
            }
            let gates = net.gates(&genotype)?;
            active = Some(slots_of(&gates)?);
            relax = Some(Box::new(move |_: &Alphas| Ok(gates.clone())));
        }
        let score = options.find::<FnPtr>("loss")?.map(|closure| -> Box<OwnLoss<'a>> {
            Box::new(move |logits, labels| {
                let hand = |tensor: &candle_core::Tensor| Tensor::new(&call.host().meter, tensor.clone());
                call.invoke::<Tensor>(&closure, (hand(logits), hand(labels)))?.float()
            })
        });
        let extra = options.find::<FnPtr>("extra")?.map(|closure| -> Box<Extra<'a>> {
            Box::new(move |alphas| call.invoke::<Tensor>(&closure, (alphas_by_name(call.host(), alphas),))?.float())
        });
        Ok(Self { relax, active, score, extra })
    }

    pub fn way(&self, loss: Loss) -> Way<'_> {
        Way {
            relax: self.relax.as_deref(),
            active: self.active.clone(),
            loss,
            score: self.score.as_deref(),
            extra: self.extra.as_deref(),
        }
    }

    /// The loss in cross-entropy's place.
    pub fn score(&self) -> Option<&OwnLoss<'a>> {
        self.score.as_deref()
    }

    /// The mixing weights of every block.
    ///
    /// # Errors
    /// Those of the relaxation.
    pub fn mixing(&self, net: &Network) -> Result<Vec<candle_core::Tensor>> {
        match &self.relax {
            Some(relax) => relax(net.alphas()),
            None => net.relax_among(net.alphas(), self.active.as_deref()),
        }
    }
}

/// The slots whose gates are not 0.
pub fn slots_of(gates: &[candle_core::Tensor]) -> Result<Arc<[bool]>> {
    let mut slots = Vec::new();
    for gates in gates {
        let values = gates.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        slots.extend(values.iter().map(|&gate| gate != 0.0));
    }
    Ok(slots.into())
}
