//! A layer's output with its channels second and its places behind.

use faithful_cam::Layout;
use faithful_core::Result;
use faithful_model::export::{OnnxWriter, Symbol};

/// What `layout` says of the layer's value, for an input of these shapes.
pub(super) fn resolved(layout: Layout, input: &Symbol, value: &Symbol) -> Result<Layout> {
    layout.resolve(&input.nominal(), &value.nominal())
}

/// `(N, …)` as `(N, C, h, w)`, or `(N, C, t)` of a series.
pub(super) fn channels_first(writer: &mut OnnxWriter, x: &Symbol, layout: Layout) -> Result<Symbol> {
    let last = x.rank() - 1;
    match layout {
        Layout::Auto | Layout::ChannelsFirst => Ok(x.clone()),
        Layout::ChannelsLast => {
            let order: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
            Ok(writer.transpose(x, &order))
        }
        Layout::Tokens { prefix, grid: [height, width] } => {
            let patches = writer.narrow(x, 1, prefix, height * width);
            let turned = writer.transpose(&patches, &[0, 2, 1]);
            let shape = [x.shape()[0], x.shape()[2], [height; 3], [width; 3]];
            writer.reshape(&turned, &shape)
        }
        Layout::TokensLast { prefix, grid: [height, width] } => {
            let patches = writer.narrow(x, 2, prefix, height * width);
            let shape = [x.shape()[0], x.shape()[1], [height; 3], [width; 3]];
            writer.reshape(&patches, &shape)
        }
    }
}
