use super::plan::{ConvShape, Plan};
use crate::NodeId;

/// Expansion, output channels, blocks, stride of the first block (table 2 of the paper).
const SETTINGS: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];

/// `MobileNetV2` of width 1 (Sandler et al. 2018).
pub(super) fn mobilenet_v2(classes: usize) -> Plan {
    let (mut plan, mut x) = Plan::new();
    x = convolve(&mut plan, "features.0", x, ConvShape { stride: 2, ..ConvShape::new(3, 32, 3) });
    let mut channels = 32;
    let mut index = 1;
    for [expansion, outputs, blocks, first_stride] in SETTINGS {
        for block in 0..blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            x = inverted_residual(&mut plan, &format!("features.{index}"), x, [channels, outputs, expansion, stride]);
            channels = outputs;
            index += 1;
        }
    }
    x = convolve(&mut plan, &format!("features.{index}"), x, ConvShape::new(channels, 1280, 1));
    x = plan.identity("features", x);
    x = plan.adaptive_avg_pool("adaptive_avg_pool2d", x, [1, 1]);
    x = plan.flatten("flatten", x);
    x = plan.identity("classifier.0", x);
    x = plan.linear("classifier.1", x, 1280, classes);
    plan.identity("classifier", x);
    plan
}

/// Convolution, batch norm, relu6: `name.0`, `name.1`, `name.2`, and `name` for the result.
fn convolve(plan: &mut Plan, name: &str, x: NodeId, shape: ConvShape) -> NodeId {
    let x = plan.conv(format!("{name}.0"), x, shape);
    let x = plan.batch_norm(format!("{name}.1"), x, shape.outputs);
    let x = plan.relu6(format!("{name}.2"), x);
    plan.identity(name, x)
}

fn inverted_residual(
    plan: &mut Plan,
    name: &str,
    x: NodeId,
    [inputs, outputs, expansion, stride]: [usize; 4],
) -> NodeId {
    let hidden = inputs * expansion;
    let mut index = 0;
    let mut next = || {
        index += 1;
        format!("{name}.conv.{}", index - 1)
    };
    let mut branch = x;
    if expansion != 1 {
        branch = convolve(plan, &next(), branch, ConvShape::new(inputs, hidden, 1));
    }
    let depthwise = ConvShape { stride, groups: hidden, ..ConvShape::new(hidden, hidden, 3) };
    branch = convolve(plan, &next(), branch, depthwise);
    branch = plan.conv(next(), branch, ConvShape::new(hidden, outputs, 1));
    branch = plan.batch_norm(next(), branch, outputs);
    branch = plan.identity(format!("{name}.conv"), branch);
    if stride == 1 && inputs == outputs { plan.add(name, x, branch) } else { plan.identity(name, branch) }
}
