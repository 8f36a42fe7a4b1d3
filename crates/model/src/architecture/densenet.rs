use super::plan::{ConvShape, Plan, window};
use crate::NodeId;

/// Channels that each dense layer adds.
const GROWTH: usize = 32;
/// Width of a dense layer's bottleneck, in growths.
const BOTTLENECK: usize = 4;

/// `DenseNet` with compression 1/2 (Huang et al. 2017, table 1), growth 32.
pub(super) fn densenet(depths: [usize; 4], classes: usize) -> Plan {
    let (mut plan, mut x) = Plan::new();
    x = plan.conv("features.conv0", x, ConvShape { stride: 2, ..ConvShape::new(3, 64, 7) });
    x = plan.batch_norm("features.norm0", x, 64);
    x = plan.relu("features.relu0", x);
    x = plan.max_pool("features.pool0", x, window(3, 2, 1, false));
    let mut channels = 64;
    for (block, depth) in (1..).zip(depths) {
        let mut parts = vec![x];
        for layer in 1..=depth {
            let name = format!("features.denseblock{block}.denselayer{layer}");
            parts.push(dense_layer(&mut plan, &name, &parts, channels));
            channels += GROWTH;
        }
        x = plan.concat(format!("features.denseblock{block}"), &parts);
        if block < depths.len() {
            let name = format!("features.transition{block}");
            x = plan.batch_norm(format!("{name}.norm"), x, channels);
            x = plan.relu(format!("{name}.relu"), x);
            x = plan.conv(format!("{name}.conv"), x, ConvShape::new(channels, channels / 2, 1));
            x = plan.avg_pool(format!("{name}.pool"), x, window(2, 2, 0, false));
            x = plan.identity(name, x);
            channels /= 2;
        }
    }
    x = plan.batch_norm("features.norm5", x, channels);
    x = plan.identity("features", x);
    x = plan.relu("relu", x);
    x = plan.adaptive_avg_pool("adaptive_avg_pool2d", x, [1, 1]);
    x = plan.flatten("flatten", x);
    plan.linear("classifier", x, channels, classes);
    plan
}

fn dense_layer(plan: &mut Plan, name: &str, parts: &[NodeId], inputs: usize) -> NodeId {
    let mut x = match parts {
        [one] => *one,
        many => plan.concat(format!("{name}.cat"), many),
    };
    x = plan.batch_norm(format!("{name}.norm1"), x, inputs);
    x = plan.relu(format!("{name}.relu1"), x);
    x = plan.conv(format!("{name}.conv1"), x, ConvShape::new(inputs, BOTTLENECK * GROWTH, 1));
    x = plan.batch_norm(format!("{name}.norm2"), x, BOTTLENECK * GROWTH);
    x = plan.relu(format!("{name}.relu2"), x);
    x = plan.conv(format!("{name}.conv2"), x, ConvShape::new(BOTTLENECK * GROWTH, GROWTH, 3));
    plan.identity(name, x)
}
