use crate::{
    BackwardRule, Cotangents, Error, Grid, LayerId, Network, Probe, Propagation, Result, Tap, VectorJacobianProducts,
    delegate_network,
};
use candle_core::Tensor;

/// How a network takes series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SeriesLayout {
    /// `(N, sensors, time)`, as `PyTorch`'s convolutions do.
    #[default]
    SensorsTime,
    /// `(N, time, sensors)`, as `PyTorch`'s recurrent layers and Keras do.
    TimeSensors,
}

/// A network over series, whatever its layout, seen as one over `(N, sensors, time)`; or over pictures of height one,
/// `(N, sensors, 1, time)`, for methods that mask pictures.
///
/// Layers with channels and time keep their layout; as a picture, their outputs `(N, C, t)` become `(N, C, 1, t)`.
#[derive(Clone, Debug)]
pub struct SeriesView<N> {
    network: N,
    layout: SeriesLayout,
    picture: bool,
    shape: Vec<usize>,
}

impl<N: Network> SeriesView<N> {
    /// `network` as one over `(N, sensors, time)`.
    ///
    /// # Errors
    /// [`Error::Shape`] where its usual input is no series.
    pub fn new(network: N, layout: SeriesLayout) -> Result<Self> {
        let shape = network.input_shape().unwrap_or_default();
        let &[first, second] = shape else {
            return Err(Error::shape("the network's input", "a series, (sensors, time) or (time, sensors)", shape));
        };
        let shape = match layout {
            SeriesLayout::SensorsTime => vec![first, second],
            SeriesLayout::TimeSensors => vec![second, first],
        };
        Ok(Self { network, layout, picture: false, shape })
    }

    /// The network itself.
    pub fn inner(&self) -> &N {
        &self.network
    }

    /// The same as one over pictures of height one, `(N, sensors, 1, time)`.
    pub fn as_picture(self) -> Self {
        let shape = match *self.shape {
            [sensors, time] => vec![sensors, 1, time],
            _ => self.shape,
        };
        Self { picture: true, shape, ..self }
    }

    /// From what callers give to what the network takes.
    fn inward(&self, input: &Tensor) -> Result<Tensor> {
        let wanted = if self.picture { 4 } else { 3 };
        if input.rank() != wanted || (self.picture && input.dim(2)? != 1) {
            let expected = if self.picture { "(N, sensors, 1, time)" } else { "(N, sensors, time)" };
            return Err(Error::shape("the network's input", expected, input.dims()));
        }
        let series = if self.picture { input.squeeze(2)? } else { input.clone() };
        Ok(match self.layout {
            SeriesLayout::SensorsTime => series,
            SeriesLayout::TimeSensors => series.transpose(1, 2)?.contiguous()?,
        })
    }

    /// From the network's input, or a gradient there, to what callers see.
    fn outward(&self, input: &Tensor) -> Result<Tensor> {
        let series = match self.layout {
            SeriesLayout::SensorsTime => input.clone(),
            SeriesLayout::TimeSensors => input.transpose(1, 2)?.contiguous()?,
        };
        self.layer_outward(&series)
    }

    fn layer_outward(&self, activation: &Tensor) -> Result<Tensor> {
        Ok(if self.picture && activation.rank() == 3 { activation.unsqueeze(2)? } else { activation.clone() })
    }

    fn products_outward(&self, taps: &[Tap], products: VectorJacobianProducts) -> Result<VectorJacobianProducts> {
        let VectorJacobianProducts { output, values, gradients } = products;
        let outward = |values: Vec<Tensor>| -> Result<Vec<Tensor>> {
            let pairs = taps.iter().zip(values);
            pairs
                .map(|(tap, value)| match tap {
                    Tap::Input => self.outward(&value),
                    Tap::Layer(_) => self.layer_outward(&value),
                })
                .collect()
        };
        let gradients = gradients.into_iter().map(outward).collect::<Result<_>>()?;
        Ok(VectorJacobianProducts { output, values: outward(values)?, gradients })
    }

    fn layer_inward(&self, activation: &Tensor) -> Result<Tensor> {
        let is_ours = self.picture && activation.rank() == 4 && activation.dim(2)? == 1;
        Ok(if is_ours { activation.squeeze(2)? } else { activation.clone() })
    }
}

struct Through<'a, N> {
    view: &'a SeriesView<N>,
    probe: &'a mut dyn Probe,
}

impl<N: Network> Probe for Through<'_, N> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let seen = self.probe.visit(layer, self.view.layer_outward(&activation)?)?;
        self.view.layer_inward(&seen)
    }
}

impl<N: Network> Network for SeriesView<N> {
    delegate_network!(self => self.network; layers, dtype, device, attentions, announce, can_vjp_from);

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.network.forward(&self.inward(input)?, &mut Through { view: self, probe })
    }

    fn input_shape(&self) -> Option<&[usize]> {
        Some(&self.shape)
    }

    /// None: a series has no image's places.
    fn grid(&self, _: LayerId) -> Option<Grid> {
        None
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        let (output, values) = self.network.evaluate(&self.inward(input)?, layers)?;
        Ok((output, values.iter().map(|value| self.layer_outward(value)).collect::<Result<_>>()?))
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        self.network.evaluate_similar(&self.inward(input)?)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        let values = self.network.activations(&self.inward(input)?, layers)?;
        values.iter().map(|value| self.layer_outward(value)).collect()
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        match self.layer_inward(activation) {
            Ok(activation) => self.network.resume(layer, &activation),
            Err(error) => Some(Err(error)),
        }
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        let biases = self.network.biases()?;
        biases.into_iter().map(|(layer, bias)| Ok((layer, self.layer_outward(&bias)?))).collect()
    }

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        self.products_outward(taps, self.network.vjp(&self.inward(input)?, taps, cotangents)?)
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        let activation = self.layer_inward(activation)?;
        self.products_outward(taps, self.network.vjp_from(layer, &activation, taps, cotangents)?)
    }

    fn bytes_of_pass(&self, input: &[usize], taps: &[Tap], gradients: usize) -> Option<u64> {
        let (&[rows, sensors, time] | &[rows, sensors, 1, time]) = input else { return None };
        let input = match self.layout {
            SeriesLayout::SensorsTime => [rows, sensors, time],
            SeriesLayout::TimeSensors => [rows, time, sensors],
        };
        self.network.bytes_of_pass(&input, taps, gradients)
    }

    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        let network = self.network.with_propagation(rule)?;
        let Self { layout, picture, shape, .. } = self;
        Ok(Box::new(SeriesView { network, layout: *layout, picture: *picture, shape: shape.clone() }))
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        let network = self.network.with_backward_rule(rule)?;
        let Self { layout, picture, shape, .. } = self;
        Ok(Box::new(SeriesView { network, layout: *layout, picture: *picture, shape: shape.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CandleModel, CandleNetwork, LayerInfo, Objective, Target};
    use candle_core::Device;

    /// `(N, time, sensors)`: the layer is the input's square as `(N, sensors, time)`, the output a weighted sum of it.
    struct Weighted(Vec<LayerInfo>, Tensor);

    impl CandleModel for Weighted {
        fn layers(&self) -> &[LayerInfo] {
            &self.0
        }

        fn input_shape(&self) -> Option<&[usize]> {
            Some(&[3, 2])
        }

        fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
            let square = probe.visit(LayerId(0), input.sqr()?.transpose(1, 2)?.contiguous()?)?;
            Ok(square.broadcast_mul(&self.1)?.sum((1, 2))?.unsqueeze(1)?)
        }
    }

    #[test]
    fn every_view_has_the_same_values_and_gradients_in_its_own_shape() {
        let cpu = Device::Cpu;
        let layers = vec![LayerInfo { name: "square".into(), kind: "square".into(), shape: vec![2, 3] }];
        let weights = Tensor::new(&[[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]], &cpu).unwrap();
        let network = CandleNetwork(Weighted(layers, weights));
        let series = Tensor::new(&[[[1f32, -1.0, 2.0], [0.5, 3.0, -2.0]]], &cpu).unwrap();
        let view = SeriesView::new(&network, SeriesLayout::TimeSensors).unwrap();
        assert_eq!(view.input_shape().unwrap(), [2, 3]);
        let of = |network: &dyn Network, input: &Tensor| {
            Objective::new(network, &Target::Output(0)).differentiate(input, &[LayerId(0)], true).unwrap()
        };
        let plain = of(&view, &series);
        let expected = [[2.0, -4.0, 12.0], [4.0, 30.0, -24.0]];
        assert_eq!(plain.input_gradient.as_ref().unwrap().to_vec3::<f32>().unwrap()[0], expected);
        assert_eq!(plain.traces[0].activation.dims(), [1, 2, 3]);
        let picture = view.clone().as_picture();
        let seen = of(&picture, &series.unsqueeze(2).unwrap());
        assert_eq!(seen.scores.to_vec1::<f32>().unwrap(), plain.scores.to_vec1::<f32>().unwrap());
        assert_eq!(seen.traces[0].gradient.dims(), [1, 2, 1, 3]);
        assert_eq!(seen.input_gradient.unwrap().dims(), [1, 2, 1, 3]);
        assert!(view.evaluate(&series.unsqueeze(2).unwrap(), &[]).is_err());
        assert!(picture.evaluate(&series, &[]).is_err());
    }
}
