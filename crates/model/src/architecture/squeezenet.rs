use super::plan::{ConvShape, Plan, window};
use crate::NodeId;

/// An element of `features`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Element {
    /// A fire module: channels after squeezing, channels of each of the two expansions.
    Fire(usize, usize),
    /// Max pooling 3/2 with a last window that may overhang.
    Pool,
}
use Element::{Fire, Pool};

/// Version 1.0, behind the stem.
pub(super) const V1_0: &[Element] = &[
    Fire(16, 64),
    Fire(16, 64),
    Fire(32, 128),
    Pool,
    Fire(32, 128),
    Fire(48, 192),
    Fire(48, 192),
    Fire(64, 256),
    Pool,
    Fire(64, 256),
];
/// Version 1.1, behind the stem: pools earlier.
pub(super) const V1_1: &[Element] = &[
    Fire(16, 64),
    Fire(16, 64),
    Pool,
    Fire(32, 128),
    Fire(32, 128),
    Pool,
    Fire(48, 192),
    Fire(48, 192),
    Fire(64, 256),
    Fire(64, 256),
];

/// `SqueezeNet` (Iandola et al. 2016): a stem convolution of `[channels, kernel]` and stride 2, then `elements`.
///
/// The classifier is a 1x1 convolution with as many channels as classes, followed by a relu and the mean.
pub(super) fn squeezenet([stem, kernel]: [usize; 2], elements: &[Element], classes: usize) -> Plan {
    let (mut plan, mut x) = Plan::new();
    let shape = ConvShape { stride: 2, padding: 0, bias: true, ..ConvShape::new(3, stem, kernel) };
    x = plan.conv("features.0", x, shape);
    x = plan.relu("features.1", x);
    x = plan.max_pool("features.2", x, window(3, 2, 0, true));
    let mut channels = stem;
    for (index, element) in (3..).zip(elements) {
        let name = format!("features.{index}");
        match *element {
            Fire(squeezed, expanded) => {
                x = fire(&mut plan, &name, x, [channels, squeezed, expanded]);
                channels = 2 * expanded;
            }
            Pool => x = plan.max_pool(name, x, window(3, 2, 0, true)),
        }
    }
    x = plan.identity("features", x);
    x = plan.identity("classifier.0", x);
    x = plan.conv("classifier.1", x, ConvShape { bias: true, ..ConvShape::new(channels, classes, 1) });
    x = plan.relu("classifier.2", x);
    x = plan.adaptive_avg_pool("classifier.3", x, [1, 1]);
    x = plan.identity("classifier", x);
    plan.flatten("flatten", x);
    plan
}

fn fire(plan: &mut Plan, name: &str, x: NodeId, [inputs, squeezed, expanded]: [usize; 3]) -> NodeId {
    let convolve = |plan: &mut Plan, part: &str, x: NodeId, shape: ConvShape| {
        let x = plan.conv(format!("{name}.{part}"), x, ConvShape { bias: true, ..shape });
        plan.relu(format!("{name}.{part}_activation"), x)
    };
    let x = convolve(plan, "squeeze", x, ConvShape::new(inputs, squeezed, 1));
    let narrow = convolve(plan, "expand1x1", x, ConvShape::new(squeezed, expanded, 1));
    let wide = convolve(plan, "expand3x3", x, ConvShape::new(squeezed, expanded, 3));
    plan.concat(name, &[narrow, wide])
}
