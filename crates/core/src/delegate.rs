//! Networks that stand before another network.

use crate::Network;
use std::sync::Arc;

/// Writes the named methods of [`Network`] so that they call those of another network, inside an `impl Network for …`.
///
/// Which methods are passed on is said by name, and there is no word for "all of them": a method that is added to [`Network`]
/// does not compile until every network that stands before another one says what becomes of it.
///
/// ```
/// use faithful_core::{Cotangents, LayerId, Network, Result, Tap, VectorJacobianProducts, candle_core::Tensor, delegate_network};
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// /// Counts the rows that are evaluated.
/// struct Counting<N> { network: N, rows: AtomicUsize }
///
/// impl<N: Network> Network for Counting<N> {
///     delegate_network!(self => self.network;
///         layers, forward, dtype, device, input_shape, grid, evaluate_similar, activations, resume, biases, attentions,
///         announce, vjp, can_vjp_from, vjp_from, bytes_of_pass, with_backward_rule, with_propagation);
///
///     fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
///         self.rows.fetch_add(input.dim(0)?, Ordering::Relaxed);
///         self.network.evaluate(input, layers)
///     }
/// }
/// ```
#[macro_export]
macro_rules! delegate_network {
    ($me:ident => $to:expr; $($method:ident),* $(,)?) => {
        $($crate::delegate_network!(@ $method $me, $to);)*
    };
    (@ layers $me:ident, $to:expr) => {
        fn layers(&$me) -> &[$crate::LayerInfo] {
            $to.layers()
        }
    };
    (@ forward $me:ident, $to:expr) => {
        fn forward(
            &$me,
            input: &$crate::candle_core::Tensor,
            probe: &mut dyn $crate::Probe,
        ) -> $crate::Result<$crate::candle_core::Tensor> {
            $to.forward(input, probe)
        }
    };
    (@ dtype $me:ident, $to:expr) => {
        fn dtype(&$me) -> $crate::candle_core::DType {
            $to.dtype()
        }
    };
    (@ device $me:ident, $to:expr) => {
        fn device(&$me) -> $crate::candle_core::Device {
            $to.device()
        }
    };
    (@ input_shape $me:ident, $to:expr) => {
        fn input_shape(&$me) -> Option<&[usize]> {
            $to.input_shape()
        }
    };
    (@ grid $me:ident, $to:expr) => {
        fn grid(&$me, layer: $crate::LayerId) -> Option<$crate::Grid> {
            $to.grid(layer)
        }
    };
    (@ evaluate $me:ident, $to:expr) => {
        fn evaluate(
            &$me,
            input: &$crate::candle_core::Tensor,
            layers: &[$crate::LayerId],
        ) -> $crate::Result<($crate::candle_core::Tensor, Vec<$crate::candle_core::Tensor>)> {
            $to.evaluate(input, layers)
        }
    };
    (@ evaluate_similar $me:ident, $to:expr) => {
        fn evaluate_similar(
            &$me,
            input: &$crate::candle_core::Tensor,
        ) -> $crate::Result<$crate::candle_core::Tensor> {
            $to.evaluate_similar(input)
        }
    };
    (@ activations $me:ident, $to:expr) => {
        fn activations(
            &$me,
            input: &$crate::candle_core::Tensor,
            layers: &[$crate::LayerId],
        ) -> $crate::Result<Vec<$crate::candle_core::Tensor>> {
            $to.activations(input, layers)
        }
    };
    (@ resume $me:ident, $to:expr) => {
        fn resume(
            &$me,
            layer: $crate::LayerId,
            activation: &$crate::candle_core::Tensor,
        ) -> Option<$crate::Result<$crate::candle_core::Tensor>> {
            $to.resume(layer, activation)
        }
    };
    (@ biases $me:ident, $to:expr) => {
        fn biases(&$me) -> $crate::Result<Vec<($crate::LayerId, $crate::candle_core::Tensor)>> {
            $to.biases()
        }
    };
    (@ attentions $me:ident, $to:expr) => {
        fn attentions(&$me) -> $crate::Result<Vec<$crate::Attention>> {
            $to.attentions()
        }
    };
    (@ announce $me:ident, $to:expr) => {
        fn announce(&$me, evaluated: usize, differentiated: usize) {
            $to.announce(evaluated, differentiated);
        }
    };
    (@ vjp $me:ident, $to:expr) => {
        fn vjp(
            &$me,
            input: &$crate::candle_core::Tensor,
            taps: &[$crate::Tap],
            cotangents: &mut $crate::Cotangents<'_>,
        ) -> $crate::Result<$crate::VectorJacobianProducts> {
            $to.vjp(input, taps, cotangents)
        }
    };
    (@ can_vjp_from $me:ident, $to:expr) => {
        fn can_vjp_from(&$me, layer: $crate::LayerId, taps: &[$crate::Tap]) -> bool {
            $to.can_vjp_from(layer, taps)
        }
    };
    (@ vjp_from $me:ident, $to:expr) => {
        fn vjp_from(
            &$me,
            layer: $crate::LayerId,
            activation: &$crate::candle_core::Tensor,
            taps: &[$crate::Tap],
            cotangents: &mut $crate::Cotangents<'_>,
        ) -> $crate::Result<$crate::VectorJacobianProducts> {
            $to.vjp_from(layer, activation, taps, cotangents)
        }
    };
    (@ bytes_of_pass $me:ident, $to:expr) => {
        fn bytes_of_pass(&$me, input: &[usize], taps: &[$crate::Tap], gradients: usize) -> Option<u64> {
            $to.bytes_of_pass(input, taps, gradients)
        }
    };
    (@ with_backward_rule $me:ident, $to:expr) => {
        fn with_backward_rule(
            &$me,
            rule: $crate::BackwardRule,
        ) -> $crate::Result<Box<dyn $crate::Network + '_>> {
            $to.with_backward_rule(rule)
        }
    };
    (@ with_propagation $me:ident, $to:expr) => {
        fn with_propagation(
            &$me,
            rule: $crate::Propagation,
        ) -> $crate::Result<Box<dyn $crate::Network + '_>> {
            $to.with_propagation(rule)
        }
    };
}

/// A network is also what points to one.
macro_rules! pointers {
    ($($pointer:ty),*) => {$(
        impl<N: Network + ?Sized> Network for $pointer {
            delegate_network!(self => (**self);
                layers, forward, dtype, device, input_shape, grid, evaluate, evaluate_similar, activations, resume,
                biases, attentions, announce, vjp, can_vjp_from, vjp_from, bytes_of_pass, with_backward_rule, with_propagation);
        }
    )*};
}

pointers!(&N, Box<N>, Arc<N>);
