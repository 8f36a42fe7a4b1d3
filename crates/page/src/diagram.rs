use serde_json::{Value, json};

/// A network as boxes and arrows, from the input on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagram {
    /// Its layers, operands before what uses them.
    pub blocks: Vec<Block>,
}

/// A layer of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// What it computes.
    pub kind: String,
    /// The shape of what it gives, in words: `64 × 56 × 56`.
    pub shape: String,
    /// The number of its places, in words, where it has any: `56 × 56`. It stands beside the box where it changes.
    pub places: Option<String>,
    /// Where its operands come from, as places in [`Diagram::blocks`] before its own; others are left out.
    pub inputs: Vec<usize>,
    /// Whether maps are made here unless another layer is named.
    pub target: bool,
    /// Whether maps can be made here.
    pub usable: bool,
    /// What else is known of it: names and values.
    pub facts: Vec<(String, String)>,
    /// A command that explains at this layer.
    pub command: Option<String>,
}

impl Diagram {
    /// The diagram as a page's script takes it: for a server whose page draws it in a place of its own.
    pub fn to_json(&self) -> Value {
        let block = |(place, block): (usize, &Block)| {
            let inputs: Vec<usize> = block.inputs.iter().copied().filter(|input| *input < place).collect();
            json!({
                "name": block.name, "kind": block.kind, "shape": block.shape, "places": block.places, "inputs": inputs,
                "target": block.target, "usable": block.usable, "facts": block.facts, "command": block.command,
            })
        };
        json!({ "kind": "diagram", "blocks": self.blocks.iter().enumerate().map(block).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_that_lead_back_are_left_out() {
        let block = |inputs: Vec<usize>| Block { inputs, ..Block::default() };
        let diagram = Diagram { blocks: vec![block(vec![0, 1]), block(vec![0, 7])] };
        let json = diagram.to_json();
        assert_eq!((&json["blocks"][0]["inputs"], &json["blocks"][1]["inputs"]), (&json!([]), &json!([0])));
    }
}
