//! Convolutions, linear layers and batch norms in ONNX's operators, and norms folded into what comes before them.
//!
//! At inference a batch norm is an affine map of each channel, scale · x + shift. Behind a convolution it can be taken
//! into the weights: exact but for rounding, which is why scale and shift are worked out in f64 and rounded once.

use super::norm::{EPSILON, batch_norm};
use super::primitives::{Value, Writer};
use super::sheet::{int, ints};
use crate::graph::{Conv, Node, Op};

/// What a channel is multiplied by, then what is added.
type Affine = (f64, f64);

impl Writer<'_> {
    /// Writes a convolution of any kind, with the norm that reads it folded in if there is one.
    pub(super) fn convolution(&mut self, node: Node, norm: Option<Node>) -> Value {
        let folded = norm.map(|norm| self.affine(norm));
        match self.source.graph.op(node) {
            Op::Conv { input, conv, weight, bias } => match self.source.graph.weights()[*weight].shape.len() {
                2 => Value::Flat(self.linear(*input, *weight, *bias, folded.as_deref())),
                _ => {
                    let x = self.map(*input);
                    Value::Map(self.conv(&x, conv, *weight, *bias, folded.as_deref()))
                }
            },
            Op::Depthwise { input, conv, weight } => {
                let x = self.map(*input);
                Value::Map(self.conv(&x, conv, *weight, None, folded.as_deref()))
            }
            Op::Halve { input, channels, weights } => {
                Value::Map(self.halve(node, *input, *channels, *weights, folded.as_deref()))
            }
            other => unreachable!("no convolution: {other:?}"),
        }
    }

    fn conv(&mut self, x: &str, conv: &Conv, weight: usize, bias: Option<usize>, folded: Option<&[Affine]>) -> String {
        let (name, mut inputs) = self.layer(weight, bias, folded);
        inputs.insert(0, x.to_string());
        let pairs = |pair: (usize, usize)| [pair.0, pair.1];
        let [top, left] = pairs(conv.padding);
        let attributes = vec![
            ints("dilations", &pairs(conv.dilation)),
            int("group", conv.groups),
            ints("kernel_shape", &pairs(conv.kernel)),
            ints("pads", &[top, left, top, left]),
            ints("strides", &pairs(conv.stride)),
        ];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.sheet.node("Conv", &inputs, &name, attributes)
    }

    fn linear(&mut self, input: Node, weight: usize, bias: Option<usize>, folded: Option<&[Affine]>) -> String {
        let x = self.flat(input);
        let (name, mut inputs) = self.layer(weight, bias, folded);
        inputs.insert(0, x);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.sheet.node("Gemm", &inputs, &name, vec![int("transB", 1)])
    }

    /// Two 1×1 convolutions of stride 2 side by side, the second on the map without its first row and column.
    fn halve(
        &mut self,
        node: Node,
        input: Node,
        channels: usize,
        weights: [usize; 2],
        folded: Option<&[Affine]>,
    ) -> String {
        let x = self.map(input);
        let from = self.source.graph.shape(input);
        let name = self.name_of(node, "halve");
        let starts = self.sheet.integers(&[1, 1]);
        let ends = self.sheet.integers(&[from.height as i64, from.width as i64]);
        let axes = self.sheet.integers(&[2, 3]);
        let moved = self.sheet.node("Slice", &[&x, &starts, &ends, &axes], &format!("{name}.moved"), vec![]);
        let half = channels / 2;
        let conv = Conv::square(half, 1).stride(2);
        let (first, second) = match folded {
            Some(folded) => (Some(&folded[..half]), Some(&folded[half..])),
            None => (None, None),
        };
        let a = self.conv(&x, &conv, weights[0], None, first);
        let b = self.conv(&moved, &conv, weights[1], None, second);
        self.sheet.node("Concat", &[&a, &b], &name, vec![int("axis", 1)])
    }

    /// Writes a layer's weight and bias, folded if need be. Gives the layer's name, and theirs.
    fn layer(&mut self, weight: usize, bias: Option<usize>, folded: Option<&[Affine]>) -> (String, Vec<String>) {
        let infos = self.source.graph.weights();
        let info = &infos[weight];
        let values = &self.source.weights[info.range()];
        let outputs = info.shape[0];
        let each = values.len() / outputs;
        let name = info.name.strip_suffix(".weight").unwrap_or(&info.name).to_string();
        let bias = bias.map(|index| &self.source.weights[infos[index].range()]);
        let scaled = values.iter().enumerate().map(|(index, &value)| match folded {
            Some(folded) => (f64::from(value) * folded[index / each].0) as f32,
            None => value,
        });
        let mut inputs = vec![self.sheet.floats(&info.name, &info.shape, scaled)];
        let moved: Option<Vec<f32>> = match (bias, folded) {
            (None, None) => None,
            (Some(bias), None) => Some(bias.to_vec()),
            (bias, Some(folded)) => {
                let own = |output: usize| bias.map_or(0.0, |bias| f64::from(bias[output]));
                let fold = |(output, (scale, shift)): (usize, &Affine)| (own(output) * scale + shift) as f32;
                Some(folded.iter().enumerate().map(fold).collect())
            }
        };
        if let Some(moved) = moved {
            inputs.push(self.sheet.floats(&format!("{name}.bias"), &[outputs], moved));
        }
        (name, inputs)
    }

    /// A batch norm as a node of its own.
    pub(super) fn norm(&mut self, input: Node, norm: usize, affine: Option<[usize; 2]>) -> Value {
        let x = self.map(input);
        let graph = self.source.graph;
        let info = &graph.norms()[norm];
        let affine = affine.map(|indices| {
            indices.map(|index| {
                let weight = &graph.weights()[index];
                let values = self.source.weights[weight.range()].iter().copied();
                self.sheet.floats(&weight.name, &[info.channels], values)
            })
        });
        Value::Map(batch_norm(&mut self.sheet, &x, &info.name, info, self.source.statistics, affine))
    }

    /// A batch norm as one affine map per channel.
    fn affine(&self, node: Node) -> Vec<Affine> {
        let graph = self.source.graph;
        let Op::Norm { norm, affine, .. } = graph.op(node) else { unreachable!("only norms are folded") };
        let info = &graph.norms()[*norm];
        let (means, variances) = (&self.source.statistics[info.mean()], &self.source.statistics[info.variance()]);
        let weight =
            |index: usize, channel: usize| f64::from(self.source.weights[graph.weights()[index].offset + channel]);
        (0..info.channels)
            .map(|channel| {
                let (gamma, beta) = affine.map_or((1.0, 0.0), |[g, b]| (weight(g, channel), weight(b, channel)));
                let scale = gamma / (f64::from(variances[channel]) + EPSILON).sqrt();
                (scale, beta - f64::from(means[channel]) * scale)
            })
            .collect()
    }
}
