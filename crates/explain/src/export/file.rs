//! The file: the network, its outputs and the map.

use super::map::Explained;
use super::{ClassOf, Export, Exported, Formula, layout, score};
use faithful_core::{Network, Result};
use faithful_model::export::{About, OnnxWriter, Symbol, fixed};
use faithful_model::{FileOutput, Model, NodeId};

/// What is written for one input size, free or not.
pub(super) struct File<'a> {
    pub(super) export: &'a Export,
    pub(super) model: &'a Model,
    pub(super) output: Option<&'a FileOutput>,
    pub(super) free: bool,
}

/// A file's inputs and outputs.
pub(super) struct Ends {
    input: Symbol,
    class: Option<Symbol>,
    outputs: Vec<Symbol>,
}

impl File<'_> {
    pub(super) fn write(&self, writer: &mut OnnxWriter, formula: &Formula) -> Result<Ends> {
        let graph = &self.model.graph;
        let input = writer.input(graph, self.free);
        let input = input?;
        let class = (self.export.class == ClassOf::Input).then(|| writer.whole_input("class", &input));
        let name = self.output.map_or("output", |output| output.name.as_str());
        let (name, map_name) = (writer.reserve(name), writer.reserve("map"));
        let layers: Vec<NodeId> = self.export.layers.iter().copied().map(NodeId::from).collect();
        let wanted: Vec<NodeId> = layers.iter().copied().chain([graph.output()]).collect();
        let values = writer.forward(graph, &input, &wanted, "")?;
        let logits = value(&values, graph.output())?;
        let original = match self.output {
            Some(output) => writer.forward_beside((graph, &values), &output.graph, output.node, &input)?,
            None => logits.clone(),
        };
        let original = writer.call(&name, &original);
        writer.enter("score");
        let hot = score::hot(writer, &logits, self.export.class, class.as_ref())?;
        let settings = &self.export.settings;
        let laid = match layers.as_slice() {
            [] => settings.layout,
            [layer, ..] => layout::resolved(settings.layout, &input, &value(&values, *layer)?)?,
        };
        let explained = Explained {
            export: self.export,
            model: self.model,
            input: &input,
            values: &values,
            layers: &layers,
            layout: laid,
            hot: &hot,
        };
        let map = explained.write(writer, formula)?;
        let map = writer.call(&map_name, &map);
        Ok(Ends { input, class, outputs: vec![original, map] })
    }

    pub(super) fn finish(
        &self,
        writer: OnnxWriter,
        ends: &Ends,
        beside: Option<&str>,
        notes: Vec<String>,
    ) -> Result<Exported> {
        let shape = |symbol: &Symbol| symbol.shape().iter().map(|&extent| fixed(extent)).collect();
        let outputs = ends.outputs.iter().map(|output| (output.name().to_owned(), shape(output))).collect();
        let whole: Vec<Symbol> = ends.class.iter().cloned().collect();
        let inputs = std::slice::from_ref(&ends.input);
        let about = self.about(ends);
        let file = writer.finish([inputs, &whole, &ends.outputs], &about, beside)?;
        Ok(Exported { file, outputs, input: shape(&ends.input), notes })
    }

    /// What the file says of itself.
    fn about(&self, ends: &Ends) -> About {
        let Export { method, layers, class, score, display, settings, seed, given, properties } = self.export;
        let map = ends.outputs.last().map_or("map", Symbol::name);
        let names = self.model.graph.layers();
        let layer: Vec<&str> = layers.iter().map(|layer| names[layer.0].name.as_str()).collect();
        let source = self.model.file.as_ref().and_then(|file| file.file_name());
        let source = source.map_or_else(|| self.model.name.clone(), |name| name.to_string_lossy().into_owned());
        let class = match class {
            ClassOf::Top => "top1".to_owned(),
            ClassOf::Input => "input".to_owned(),
            ClassOf::Index(index) => format!("{index}: {}", self.model.labels.name(*index)),
        };
        let own = |key: &str, value: String| (format!("faithful.{key}"), value);
        let mut all: Vec<(String, String)> = self.output.map(|output| output.properties.clone()).unwrap_or_default();
        // Of an exported file's network another map may be written.
        all.retain(|(key, _)| !key.starts_with("faithful."));
        all.extend([
            own("map", map.to_owned()),
            own("method", method.label()),
            own("source", source.clone()),
            own("version", env!("CARGO_PKG_VERSION").to_owned()),
            own("class", class.clone()),
            own("score", format!("{score:?}").to_lowercase()),
            own("values", if *display { "0 to 1".to_owned() } else { "raw".to_owned() }),
        ]);
        if !layer.is_empty() {
            all.push(own("layer", layer.join(",")));
        }
        if method.draws() {
            all.push(own("seed", seed.to_string()));
            all.push(own("draws_from", if *given { "inputs" } else { "the file" }.to_owned()));
            all.extend(settings.draws.map(|draws| own("draws", draws.to_string())));
        }
        all.extend(properties.iter().cloned());
        let at = if layer.is_empty() { String::new() } else { format!(" at {}", layer.join(", ")) };
        About {
            name: self.model.name.clone(),
            description: format!("{source}, whose output `{map}` is its {} map{at} for class {class}", method.label()),
            properties: all,
        }
    }
}

/// What was written for a node.
pub(super) fn value(values: &[Option<Symbol>], node: NodeId) -> Result<Symbol> {
    values[node.0].clone().ok_or_else(|| faithful_core::Error::internal("a layer that was not written"))
}
