use super::plan::{ConvShape, Plan, window};
use crate::NodeId;

/// What a residual block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (with the stride), 1x1 to four times the width.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// `ResNet` (He et al. 2016, table 1) as torchvision has it: a bottleneck's stride is at its 3x3 convolution.
pub(super) fn resnet(block: Block, depths: [usize; 4], classes: usize) -> Plan {
    let (mut plan, mut x) = Plan::new();
    x = plan.conv("conv1", x, ConvShape { stride: 2, ..ConvShape::new(3, 64, 7) });
    x = plan.batch_norm("bn1", x, 64);
    x = plan.relu("relu", x);
    x = plan.max_pool("maxpool", x, window(3, 2, 1, false));
    let mut channels = 64;
    for (stage, depth) in depths.into_iter().enumerate() {
        let width = 64 << stage;
        for i in 0..depth {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = residual(&mut plan, &format!("layer{}.{i}", stage + 1), x, block, [channels, width, stride]);
            channels = width * block.expansion();
        }
        x = plan.identity(format!("layer{}", stage + 1), x);
    }
    x = plan.adaptive_avg_pool("avgpool", x, [1, 1]);
    x = plan.flatten("flatten", x);
    plan.linear("fc", x, channels, classes);
    plan
}

/// One block. torchvision uses a single relu module several times per block: its name stands for the last use, as
/// a forward hook would leave it, and the uses before it are called `relu.1`, `relu.2`.
fn residual(plan: &mut Plan, name: &str, x: NodeId, block: Block, [inputs, width, stride]: [usize; 3]) -> NodeId {
    let outputs = width * block.expansion();
    let convolutions = match block {
        Block::Basic => vec![(inputs, width, 3, stride), (width, width, 3, 1)],
        Block::Bottleneck => vec![(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)],
    };
    let last = convolutions.len();
    let mut branch = x;
    for (number, (from, to, kernel, stride)) in (1..).zip(convolutions) {
        branch =
            plan.conv(format!("{name}.conv{number}"), branch, ConvShape { stride, ..ConvShape::new(from, to, kernel) });
        branch = plan.batch_norm(format!("{name}.bn{number}"), branch, to);
        if number < last {
            branch = plan.relu(format!("{name}.relu.{number}"), branch);
        }
    }
    let mut shortcut = x;
    if stride != 1 || inputs != outputs {
        let shape = ConvShape { stride, ..ConvShape::new(inputs, outputs, 1) };
        shortcut = plan.conv(format!("{name}.downsample.0"), shortcut, shape);
        shortcut = plan.batch_norm(format!("{name}.downsample.1"), shortcut, outputs);
        shortcut = plan.identity(format!("{name}.downsample"), shortcut);
    }
    let sum = plan.add(format!("{name}.add"), branch, shortcut);
    let output = plan.relu(format!("{name}.relu"), sum);
    plan.identity(name, output)
}
