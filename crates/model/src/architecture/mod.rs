//! Known architectures as data, with torchvision's names for layers and tensors.
//!
//! Every module of torchvision's has a layer of its name, containers included: `layer4.2` is the output of that block
//! and `layer4` that of the stage. What torchvision computes by functions rather than modules is called as its
//! tracer calls it (`layer4.2.add`, `flatten`). A module that runs more than once gives its name to its last run.

mod densenet;
mod mobilenet;
mod plan;
mod random;
mod resnet;
mod squeezenet;
mod vgg;

pub use random::portable_uniform;

use crate::Graph;
use crate::weights::Checkpoint;
use candle_core::Device;
use faithful_core::{Error, Preprocessing, Result, find_named};
use plan::{Parameter, Plan};
use std::collections::HashMap;
use std::io::{Read, Seek};

/// A network architecture that weights can be loaded into.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// Torchvision's name: `vgg16_bn`.
    pub name: &'static str,
    /// The family in words: `VGG`.
    pub family: &'static str,
    /// The layer whose output class activation maps are drawn from, unless another is asked for.
    pub target: &'static str,
    /// The tensor whose first axis has as many entries as there are classes.
    head: &'static str,
    plan: fn(usize) -> Plan,
}

/// Every architecture.
pub static ARCHITECTURES: [Architecture; 19] = [
    vgg_entry("vgg11", "features.19", |classes| vgg::vgg(vgg::A, false, classes)),
    vgg_entry("vgg11_bn", "features.27", |classes| vgg::vgg(vgg::A, true, classes)),
    vgg_entry("vgg13", "features.23", |classes| vgg::vgg(vgg::B, false, classes)),
    vgg_entry("vgg13_bn", "features.33", |classes| vgg::vgg(vgg::B, true, classes)),
    vgg_entry("vgg16", "features.29", |classes| vgg::vgg(vgg::D, false, classes)),
    vgg_entry("vgg16_bn", "features.42", |classes| vgg::vgg(vgg::D, true, classes)),
    vgg_entry("vgg19", "features.35", |classes| vgg::vgg(vgg::E, false, classes)),
    vgg_entry("vgg19_bn", "features.51", |classes| vgg::vgg(vgg::E, true, classes)),
    resnet_entry("resnet18", |classes| resnet::resnet(resnet::Block::Basic, [2, 2, 2, 2], classes)),
    resnet_entry("resnet34", |classes| resnet::resnet(resnet::Block::Basic, [3, 4, 6, 3], classes)),
    resnet_entry("resnet50", |classes| resnet::resnet(resnet::Block::Bottleneck, [3, 4, 6, 3], classes)),
    resnet_entry("resnet101", |classes| resnet::resnet(resnet::Block::Bottleneck, [3, 4, 23, 3], classes)),
    resnet_entry("resnet152", |classes| resnet::resnet(resnet::Block::Bottleneck, [3, 8, 36, 3], classes)),
    Architecture {
        name: "mobilenet_v2",
        family: "MobileNetV2",
        target: "features.18",
        head: "classifier.1.weight",
        plan: mobilenet::mobilenet_v2,
    },
    squeezenet_entry("squeezenet1_0", |classes| squeezenet::squeezenet([96, 7], squeezenet::V1_0, classes)),
    squeezenet_entry("squeezenet1_1", |classes| squeezenet::squeezenet([64, 3], squeezenet::V1_1, classes)),
    Architecture {
        name: "densenet121",
        family: "DenseNet",
        target: "relu",
        head: "classifier.weight",
        plan: |classes| densenet::densenet([6, 12, 24, 16], classes),
    },
    Architecture {
        name: "scenes-vgg",
        family: "VGG",
        target: "features.14",
        head: "classifier.2.weight",
        plan: vgg::scenes_vgg,
    },
    Architecture {
        name: "scenes-224",
        family: "VGG",
        target: "features.16",
        head: "classifier.2.weight",
        plan: vgg::scenes_224,
    },
];

const fn vgg_entry(name: &'static str, target: &'static str, plan: fn(usize) -> Plan) -> Architecture {
    Architecture { name, family: "VGG", target, head: "classifier.6.weight", plan }
}

const fn resnet_entry(name: &'static str, plan: fn(usize) -> Plan) -> Architecture {
    Architecture { name, family: "ResNet", target: "layer4", head: "fc.weight", plan }
}

/// The target is the last fire module. Behind it, the classifier is a 1x1 convolution whose channels are the
/// classes: there the gradient of a class is constant and of one channel only, so every rule would draw that channel.
const fn squeezenet_entry(name: &'static str, plan: fn(usize) -> Plan) -> Architecture {
    Architecture { name, family: "SqueezeNet", target: "features.12", head: "classifier.1.weight", plan }
}

/// The architecture called `name`.
pub fn architecture(name: &str) -> Result<&'static Architecture> {
    find_named("architecture", name, &ARCHITECTURES, |known| known.name)
}

impl Architecture {
    /// What torchvision's first `ImageNet` weights of this architecture were measured with.
    #[allow(clippy::unused_self)] // The same for all of them so far; callers should not rely on that.
    pub fn preprocessing(&self) -> Preprocessing {
        Preprocessing::default()
    }

    /// The network with the weights in a safetensors file or buffer; `what` names it in errors, `[height, width]` is the
    /// usual input's. The number of classes is read from the last layer's weight.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that is no safetensors, is cut off, or does not hold exactly this architecture's
    /// tensors: all that are missing, misshapen or surplus are listed (`num_batches_tracked` may be there).
    /// [`Error::NotFinite`] names the first tensor with NaN or infinity.
    pub fn load(&self, what: &str, source: impl Read + Seek, input_size: [usize; 2], device: &Device) -> Result<Graph> {
        let mut checkpoint = Checkpoint::new(what, source)?;
        let classes = checkpoint.shape(self.head).and_then(|shape| shape.first().copied()).unwrap_or(1000);
        let plan = (self.plan)(classes);
        let parameters = plan.parameters();
        check(self.name, &parameters, &checkpoint)?;
        let mut tensors = HashMap::with_capacity(parameters.len());
        for Parameter { name, .. } in parameters {
            let tensor = checkpoint.read(&name, device)?;
            tensors.insert(name, tensor);
        }
        plan.assemble(tensors, [3, input_size[0], input_size[1]])
    }

    /// Whether `checkpoint` holds exactly this architecture's tensors.
    ///
    /// # Errors
    /// [`Error::Format`] lists all that are missing, misshapen or surplus.
    pub(crate) fn check<R: Read + Seek>(&self, checkpoint: &Checkpoint<R>) -> Result<()> {
        let classes = checkpoint.shape(self.head).and_then(|shape| shape.first().copied()).unwrap_or(1000);
        check(self.name, &(self.plan)(classes).parameters(), checkpoint)
    }

    /// The network with random weights, the same for the same seed everywhere: for tests and timings that need no
    /// trained model. Activations stay within a few orders of magnitude of 1 through all layers.
    pub fn random(&self, classes: usize, seed: u64, device: &Device) -> Result<Graph> {
        let plan = (self.plan)(classes);
        let tensors = plan.parameters().into_iter().map(|Parameter { name, shape }| {
            let tensor = random::random_tensor(&name, &shape, seed)?.to_device(device)?;
            Ok((name, tensor))
        });
        let [height, width] = self.preprocessing().input_size;
        plan.assemble(tensors.collect::<Result<_>>()?, [3, height, width])
    }
}

fn check<R: Read + Seek>(architecture: &str, parameters: &[Parameter], checkpoint: &Checkpoint<R>) -> Result<()> {
    let known: HashMap<&str, &Parameter> = parameters.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for Parameter { name, shape } in parameters {
        match checkpoint.shape(name) {
            None => missing.push(format!("`{name}` {shape:?}")),
            Some(got) if got != shape => misshapen.push(format!("`{name}` is {got:?}, must be {shape:?}")),
            Some(_) => {}
        }
    }
    let surplus: Vec<String> = checkpoint
        .names()
        .into_iter()
        .filter(|name| !known.contains_key(name.as_str()) && !name.ends_with(".num_batches_tracked"))
        .map(|name| format!("`{name}`"))
        .collect();
    let lists = [("missing", missing), ("misshapen", misshapen), ("surplus", surplus)];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        return Ok(());
    }
    let lists: Vec<String> = lists
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(kind, list)| format!("{} {kind}: {}", list.len(), list.join(", ")))
        .collect();
    Err(Error::format(checkpoint.what(), format!("these are not {architecture}'s weights; {}", lists.join("; "))))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::random_file;
