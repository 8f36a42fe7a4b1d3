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
    let (x, channels) = features(&mut plan, x, 3, stages, normalized);
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

/// The network for drawn scenes of 96 x 96 pixels: a VGG in small. Like its model, it has a head that is not linear and takes
/// inputs of any size.
pub(super) fn scenes_vgg(classes: usize) -> Plan {
    const SMALL: Stages = &[8, POOL, 16, POOL, 32, 32, POOL, 64, 64, POOL];
    let (plan, x) = Plan::new();
    scenes(plan, x, 3, SMALL, 96, classes)
}

/// The network for drawn scenes of 224 x 224 pixels, which this program uses where none is named: the same in larger, behind a
/// first convolution that halves the picture.
pub(super) fn scenes_224(classes: usize) -> Plan {
    const STEM: usize = 16;
    const STAGES: Stages = &[16, POOL, 24, 32, POOL, 48, 64, POOL, 96, 128, POOL];
    let (mut plan, x) = Plan::new();
    let x = plan.conv("stem.0", x, ConvShape { stride: 2, bias: true, ..ConvShape::new(3, STEM, 5) });
    let x = plan.relu("stem.1", x);
    scenes(plan, x, STEM, STAGES, 128, classes)
}

fn scenes(mut plan: Plan, x: NodeId, channels: usize, stages: Stages, hidden: usize, classes: usize) -> Plan {
    let (x, channels) = features(&mut plan, x, channels, stages, false);
    let x = plan.adaptive_avg_pool("avgpool", x, [3, 3]);
    let x = plan.flatten("flatten", x);
    let x = plan.linear("classifier.0", x, channels * 3 * 3, hidden);
    let x = plan.relu("classifier.1", x);
    let x = plan.linear("classifier.2", x, hidden, classes);
    plan.identity("classifier", x);
    plan
}

/// The convolutional part, and how many channels it ends with.
fn features(plan: &mut Plan, mut x: NodeId, mut channels: usize, stages: Stages, normalized: bool) -> (NodeId, usize) {
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
