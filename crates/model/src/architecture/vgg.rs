use super::plan::{ConvShape, Plan, window};

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
    let (mut plan, mut x) = Plan::new();
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
    x = plan.identity("features", x);
    x = plan.adaptive_avg_pool("avgpool", x, [7, 7]);
    x = plan.flatten("flatten", x);
    x = plan.linear("classifier.0", x, channels * 7 * 7, 4096);
    x = plan.relu("classifier.1", x);
    x = plan.identity("classifier.2", x);
    x = plan.linear("classifier.3", x, 4096, 4096);
    x = plan.relu("classifier.4", x);
    x = plan.identity("classifier.5", x);
    x = plan.linear("classifier.6", x, 4096, classes);
    plan.identity("classifier", x);
    plan
}
