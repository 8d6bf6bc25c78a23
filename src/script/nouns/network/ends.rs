//! The ends of a network of a script's own: the logits, and other vectors by name.

use crate::graph;
use crate::script::binding::{Argument, Mismatch};
use crate::script::nouns::graph::{GraphBuilder, Node};
use crate::{Error, Result};
use rhai::Dynamic;

/// What a network's closure gives: the node of the logits, and others by name.
pub struct Ends<N> {
    pub logits: N,
    pub further: Vec<(String, N)>,
}

impl Argument for Ends<Node> {
    fn describe() -> String {
        "node or map".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let Ok(map) = value.as_map_ref() else {
            return Node::read(value).map(|logits| Self { logits, further: vec![] });
        };
        let mut logits = None;
        let mut further = Vec::new();
        for (name, value) in map.iter() {
            let node = Node::read(value).map_err(|m| Mismatch::Error(m.into_error(&format!("`{name}`"), "node")))?;
            match name.as_str() {
                "logits" => logits = Some(node),
                name => further.push((name.to_string(), node)),
            }
        }
        let missing = || Mismatch::Error(Error::user("the map of outputs has no `logits`").hint("#{ logits: y, … }"));
        Ok(Self { logits: logits.ok_or_else(missing)?, further })
    }
}

impl Ends<Node> {
    /// The graph's nodes.
    pub fn own(self, g: &GraphBuilder) -> Result<Ends<graph::Node>> {
        let further = self.further.into_iter().map(|(name, node)| Ok((name, g.own(&node)?)));
        Ok(Ends { logits: g.own(&self.logits)?, further: further.collect::<Result<_>>()? })
    }
}
