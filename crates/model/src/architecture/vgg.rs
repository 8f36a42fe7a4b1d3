use super::plan::{ConvShape, Plan, window};
use crate::NodeId;

/// Where a stage of convolutions ends with a 2x2 max pooling.
const POOL: usize = 0;

/// The channels of the convolutions in order, [`POOL`] between stages.
pub(super) type Stages = &'static [usize];

/// Configuration A: 11 layers.
pub(super) const A: Stages = &[64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL];
/// Configuration B: 13 layers.
pub(super) const B: Stages = &[64, 64, POOL, 128, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL];
/// Configuration D: 16 layers.
pub(super) const D: Stages =
    &[64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512, POOL];
/// Configuration E: 19 layers.
pub(super) const E: Stages =
    &[64, 64, POOL, 128, 128, POOL, 256, 256, 256, 256, POOL, 512, 512, 512, 512, POOL, 512, 512, 512, 512, POOL];

/// VGG (Simonyan and Zisserman 2015, table 1), with batch norm behind each convolution where `normalized`.
pub(super) fn vgg(stages: Stages, normalized: bool, classes: usize) -> Plan {
    let (mut plan, x) = Plan::new();
    let (x, channels) = features(&mut plan, x, stages, normalized);
    let x = plan.adaptive_avg_pool("avgpool", x, [7, 7]);
    let x = plan.flatten("flatten", x);
    let x = plan.linear("classifier.0", x, channels * 7 * 7, 4096);
    let x = plan.relu("classifier.1", x);
    let x = plan.identity("classifier.2", x);
    let x = plan.linear("classifier.3", x, 4096, 4096);
    let x = plan.relu("classifier.4", x);
    let x = plan.identity("classifier.5", x);
    let x = plan.linear("classifier.6", x, 4096, classes);
    plan.identity("classifier", x);
    plan
}

/// The network that this program ships: a VGG in small, for 96 x 96 pixels. Like its model, it has a head that is not
/// linear and takes inputs of any size.
pub(super) fn scenes_vgg(classes: usize) -> Plan {
    const SMALL: Stages = &[8, POOL, 16, POOL, 32, 32, POOL, 64, 64, POOL];
    let (mut plan, x) = Plan::new();
    let (x, channels) = features(&mut plan, x, SMALL, false);
    let x = plan.adaptive_avg_pool("avgpool", x, [3, 3]);
    let x = plan.flatten("flatten", x);
    let x = plan.linear("classifier.0", x, channels * 3 * 3, 96);
    let x = plan.relu("classifier.1", x);
    let x = plan.linear("classifier.2", x, 96, classes);
    plan.identity("classifier", x);
    plan
}

/// The convolutional part, and how many channels it ends with.
fn features(plan: &mut Plan, mut x: NodeId, stages: Stages, normalized: bool) -> (NodeId, usize) {
    let mut channels = 3;
    let mut index = 0;
    let mut next = || {
        index += 1;
        format!("features.{}", index - 1)
    };
    for &outputs in stages {
        if outputs == POOL {
            x = plan.max_pool(next(), x, window(2, 2, 0, false));
            continue;
        }
        x = plan.conv(next(), x, ConvShape { bias: true, ..ConvShape::new(channels, outputs, 3) });
        if normalized {
            x = plan.batch_norm(next(), x, outputs);
        }
        x = plan.relu(next(), x);
        channels = outputs;
    }
    (plan.identity("features", x), channels)
}
