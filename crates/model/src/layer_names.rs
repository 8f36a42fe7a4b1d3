//! Layers by the names that their users know them by: a node's name, the path of a module in the framework it was written in,
//! or the beginning of a name.

use crate::{Graph, Model, Op};
use faithful_core::{Error, LayerId, Network, Result, suggest};
use std::collections::{BTreeMap, BTreeSet};

/// How many names a refusal suggests.
const SUGGESTIONS: usize = 5;

impl Model {
    /// The layer that is meant by `name`: a layer's name; else a module's path as `PyTorch` writes it (`layer3`, `layer3.0.relu`),
    /// which stands for the last layer of that module, its output; else the beginning of one layer's name alone.
    ///
    /// Paths are those of the exporter's notes, or of the nodes' names (`/layer3/layer3.0/relu/Relu`).
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] with the names and paths that look like it.
    pub fn layer(&self, name: &str) -> Result<LayerId> {
        if let Ok(layer) = self.graph.layer(name) {
            return Ok(layer);
        }
        let wanted = name.trim_matches('/');
        let paths = paths(&self.graph, &self.modules);
        let inside =
            |path: &str| path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let mut of_module =
            paths.iter().filter(|(_, path)| path.as_deref().is_some_and(inside)).map(|(layer, _)| *layer);
        if let Some(last) = of_module.next_back().filter(|_| !wanted.is_empty()) {
            return Ok(last);
        }
        let names = self.graph.layers();
        let begins = |layer: &LayerId| names[layer.0].name.trim_start_matches('/').starts_with(wanted);
        let mut beginning = paths.iter().map(|(layer, _)| *layer).filter(begins);
        if let (Some(only), None, false) = (beginning.next(), beginning.next(), wanted.is_empty()) {
            return Ok(only);
        }
        Err(Error::UnknownLayer { name: name.to_owned(), suggestions: near(wanted, &self.graph, &paths) })
    }
}

/// Every layer that depends on the input, with the path of the module it is of, where one is known.
fn paths(graph: &Graph, modules: &BTreeMap<String, String>) -> Vec<(LayerId, Option<String>)> {
    let layers = graph.nodes().iter().enumerate().filter(|(_, node)| !matches!(node.op, Op::Input | Op::Constant(_)));
    layers.map(|(index, node)| (LayerId(index), path(&node.name, modules))).collect()
}

/// The path of the module that a node is of: by the exporter's notes, or by its name.
fn path(node: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    // What an operator was taken apart to is called by its node's name and more.
    let mut name = node;
    loop {
        if let Some(module) = modules.get(name) {
            return Some(module.clone());
        }
        match name.rfind('/') {
            Some(end) => name = &name[..end],
            None => break,
        }
    }
    if node.starts_with('/') { of_script(node) } else { Some(node.to_owned()) }
}

/// `layer3.0.relu` of `/layer3/layer3.0/relu/Relu`: `TorchScript`'s exporter writes each module under the one around it, and the
/// members of a sequence by the sequence's name and a number.
fn of_script(node: &str) -> Option<String> {
    let (scope, _) = node.rsplit_once('/')?;
    let (mut path, mut before) = (String::new(), "");
    for part in scope.split('/').filter(|part| !part.is_empty()) {
        match part.strip_prefix(before).filter(|rest| !before.is_empty() && rest.starts_with('.')) {
            Some(rest) => path.push_str(rest),
            None if path.is_empty() => path.push_str(part),
            None => path = format!("{path}.{part}"),
        }
        before = part;
    }
    (!path.is_empty()).then_some(path)
}

/// The path of a node's module in the list that `PyTorch`'s newer exporter notes: `['', 'layer3', 'layer3.0', 'relu_2']`, the
/// last of which is the node itself.
pub(crate) fn of_scopes(list: &str) -> Option<String> {
    let list = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut scopes: Vec<&str> = list.split(',').map(|scope| scope.trim().trim_matches(['\'', '"'])).collect();
    scopes.pop();
    scopes.pop().filter(|scope| !scope.is_empty()).map(str::to_owned)
}

/// Names and paths that hold `wanted` or look like it.
fn near(wanted: &str, graph: &Graph, paths: &[(LayerId, Option<String>)]) -> Vec<String> {
    let mut known = BTreeSet::new();
    for (layer, path) in paths {
        known.insert(graph.layers()[layer.0].name.as_str());
        let path = path.as_deref().unwrap_or_default();
        known.extend(path.match_indices('.').map(|(end, _)| &path[..end]));
        known.extend((!path.is_empty()).then_some(path));
    }
    let mut found = suggest(wanted, known.iter().copied());
    let lower = wanted.to_lowercase();
    let holding = known.iter().filter(|name| !lower.is_empty() && name.to_lowercase().contains(&lower));
    for name in holding {
        if !found.iter().any(|one| one == name) {
            found.push((*name).to_owned());
        }
    }
    found.truncate(SUGGESTIONS);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Loading, ModelSource};
    use std::path::Path;

    fn model(file: &str) -> Model {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/onnx").join(file);
        Model::load(&ModelSource::Onnx(path), &Loading::default()).unwrap()
    }

    #[test]
    fn modules_of_both_exporters_are_found_by_their_paths() {
        for (file, own) in
            [("modules_dynamo.onnx", "node_relu_1"), ("modules_script.onnx", "/layer1/layer1.1/relu/Relu")]
        {
            let model = model(file);
            let name = |text: &str| model.layer(text).map(|layer| model.graph.layers()[layer.0].name.clone());
            for text in ["layer1", "layer1.1", "layer1.1.relu", own] {
                assert_eq!(name(text).unwrap(), own, "{file}: {text}");
            }
            assert_ne!(name("layer1.0").unwrap(), own);
            let refused = name("layer3").unwrap_err().to_string();
            assert!(refused.contains("`layer1`") && refused.contains("`layer2`"), "{file}: {refused}");
            assert!(name("").is_err() && name("/").is_err() && name("nothing like it").is_err());
        }
        let model = model("modules_script.onnx");
        assert_eq!(model.layer("layer2/layer2.1/Ad").unwrap(), model.graph.layer("/layer2/layer2.1/Add").unwrap());
    }

    #[test]
    fn paths_are_read_from_names_and_notes() {
        assert_eq!(of_script("/features/features.1/conv/conv.0/conv.0.0/Conv").as_deref(), Some("features.1.conv.0.0"));
        assert_eq!(of_script("/Flatten"), None);
        assert_eq!(of_scopes("['', 'layer1', 'layer1.0', 'layer1.0.bn1', 'norm_1']").as_deref(), Some("layer1.0.bn1"));
        assert_eq!((of_scopes("['', 'view']"), of_scopes("junk"), of_scopes("[]")), (None, None, None));
    }
}
