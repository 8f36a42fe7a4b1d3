use crate::{
    BackwardRule, Cotangents, Error, LayerId, Network, Probe, Propagation, Result, Tap, VectorJacobianProducts,
    delegate_network,
};
use candle_core::{DType, Device, Tensor};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// One network as copies on several devices, or in another type than its users compute in.
///
/// Inputs come to `device` and in `dtype`, and so everything goes back; each copy gets its share of a batch's rows,
/// wherever and in whichever type its weights are, and all run at once. Rows are independent, so the result is that of
/// one copy. Only [`forward`](Network::forward), which tracks through one graph, runs whole on the first copy.
///
/// From one GPU to another values go straight, without the host.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use faithful_core::{CandleModel, CandleNetwork, LayerId, LayerInfo, Network, Probe, Replicas, Result};
/// # #[derive(Clone)]
/// # struct Square(Vec<LayerInfo>);
/// # impl CandleModel for Square {
/// #     fn layers(&self) -> &[LayerInfo] { &self.0 }
/// #     fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
/// #         probe.visit(LayerId(0), input.sqr()?)
/// #     }
/// # }
/// # fn main() -> Result<()> {
/// # let layer = LayerInfo { name: "square".into(), kind: "square".into(), shape: vec![1] };
/// # let square = CandleNetwork(Square(vec![layer]));
/// let two = Replicas::new(vec![square.clone(), square], Device::Cpu, DType::F32)?;
/// let input = Tensor::new(&[[1f32], [2.], [3.]], &Device::Cpu)?;
/// assert_eq!(two.evaluate(&input, &[])?.0.to_vec2::<f32>()?, [[1.], [4.], [9.]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Replicas<N> {
    copies: Vec<N>,
    device: Device,
    dtype: DType,
}

/// What [`Network::evaluate`] gives.
type Evaluated = (Tensor, Vec<Tensor>);

/// [`Network::vjp`] or [`Network::vjp_from`] of a copy.
type Differentiate<'a, N> = dyn Fn(&N, &Tensor, &mut Cotangents<'_>) -> Result<VectorJacobianProducts> + Sync + 'a;

impl<N: Network> Replicas<N> {
    /// `copies` of one network, seen as one at `device` that takes and gives `dtype`.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there are none, or they are not copies of each other.
    pub fn new(copies: Vec<N>, device: Device, dtype: DType) -> Result<Self> {
        let Some(first) = copies.first() else {
            return Err(Error::parameter("replicas", "there is no copy of the network"));
        };
        if copies.iter().any(|copy| copy.layers() != first.layers()) {
            return Err(Error::parameter("replicas", "the networks are not copies of one: their layers differ"));
        }
        Ok(Self { copies, device, dtype })
    }

    fn first(&self) -> &N {
        &self.copies[0]
    }

    /// `x` as a copy takes it.
    fn inward(copy: &N, x: &Tensor) -> Result<Tensor> {
        Ok(moved(x, &copy.device())?.to_dtype(copy.dtype())?)
    }

    /// `x` as users take it.
    fn outward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(moved(x, &self.device)?.to_dtype(self.dtype)?)
    }

    fn all_outward(&self, values: &[Tensor]) -> Result<Vec<Tensor>> {
        values.iter().map(|value| self.outward(value)).collect()
    }

    /// The rows of each copy that gets any.
    fn shares(&self, rows: usize) -> Vec<(&N, Range<usize>)> {
        let count = self.copies.len();
        let start = |copy: usize| rows * copy / count;
        let shares = self.copies.iter().enumerate().map(|(index, copy)| (copy, start(index)..start(index + 1)));
        shares.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// `work` of every copy on its share of `input`, at once, in the rows' order.
    fn spread<R: Send>(&self, input: &Tensor, work: impl Fn(&N, &Tensor) -> Result<R> + Sync) -> Result<Vec<R>> {
        let shares = self.shares(input.dim(0)?);
        if shares.len() < 2 {
            let copy = shares.first().map_or(self.first(), |(copy, _)| copy);
            return Ok(vec![work(copy, &Self::inward(copy, input)?)?]);
        }
        let work = &work;
        thread::scope(|scope| {
            let mut running = Vec::with_capacity(shares.len());
            for (copy, rows) in shares {
                let part = input.narrow(0, rows.start, rows.len())?.contiguous()?;
                running.push(scope.spawn(move || work(copy, &Self::inward(copy, &part)?)));
            }
            running.into_iter().map(joined).collect()
        })
    }

    fn evaluate_copy(&self, copy: &N, input: &Tensor, layers: &[LayerId]) -> Result<Evaluated> {
        let (output, values) = copy.evaluate(input, layers)?;
        Ok((self.outward(&output)?, self.all_outward(&values)?))
    }

    /// One copy's part of `differentiate`, with the cotangents of whoever sees all outputs.
    fn vjp_copy(
        &self,
        copy: &N,
        x: &Tensor,
        cotangents: &mut Cotangents<'_>,
        differentiate: &Differentiate<'_, N>,
    ) -> Result<VectorJacobianProducts> {
        let mut inside = |output: &Tensor| {
            let cotangents = cotangents(&self.outward(output)?)?;
            cotangents.iter().map(|cotangent| Self::inward(copy, cotangent)).collect()
        };
        let found = differentiate(copy, &Self::inward(copy, x)?, &mut inside)?;
        let VectorJacobianProducts { output, values, gradients } = found;
        Ok(VectorJacobianProducts {
            output: self.outward(&output)?,
            values: self.all_outward(&values)?,
            gradients: gradients.iter().map(|one| self.all_outward(one)).collect::<Result<_>>()?,
        })
    }

    /// `differentiate` of every copy on its share of `x`, at once; the cotangents are made once, from all outputs.
    fn spread_vjp(
        &self,
        x: &Tensor,
        cotangents: &mut Cotangents<'_>,
        differentiate: &Differentiate<'_, N>,
    ) -> Result<VectorJacobianProducts> {
        let shares = self.shares(x.dim(0)?);
        if shares.len() < 2 {
            let copy = shares.first().map_or(self.first(), |(copy, _)| copy);
            return self.vjp_copy(copy, x, cotangents, differentiate);
        }
        let parts: Vec<VectorJacobianProducts> = thread::scope(|scope| {
            let mut counters = Vec::with_capacity(shares.len());
            let mut running = Vec::with_capacity(shares.len());
            for (copy, rows) in shares {
                let ((output, outputs), (answer, answers)) = (channel(), channel());
                let desk = Desk { output, cotangents: answers };
                let part = x.narrow(0, rows.start, rows.len())?.contiguous()?;
                counters.push(Counter { output: outputs, cotangents: answer, rows });
                running.push(
                    scope.spawn(move || self.vjp_copy(copy, &part, &mut |output| desk.ask(output), differentiate)),
                );
            }
            let served = serve(counters, cotangents);
            let parts: Vec<Result<VectorJacobianProducts>> = running.into_iter().map(joined).collect();
            first_cause(served, parts)
        })?;
        let outputs: Vec<&Tensor> = parts.iter().map(|part| &part.output).collect();
        let output = Tensor::cat(&outputs, 0)?;
        let values: Vec<Vec<Tensor>> = parts.iter().map(|part| part.values.clone()).collect();
        let gradients = (0..parts[0].gradients.len()).map(|cotangent| {
            joined_rows(&parts.iter().map(|part| part.gradients[cotangent].clone()).collect::<Vec<_>>())
        });
        Ok(VectorJacobianProducts {
            output,
            values: joined_rows(&values)?,
            gradients: gradients.collect::<Result<_>>()?,
        })
    }
}

/// `x` on `device`.
fn moved(x: &Tensor, device: &Device) -> Result<Tensor> {
    let moved = x.to_device(device)?;
    // candle lets the receiving GPU do the copy and the sending one not wait for it: its memory would be free for others as
    // soon as `x` is dropped.
    if x.device().is_cuda() && device.is_cuda() && !x.device().same_device(device) {
        device.synchronize()?;
    }
    Ok(moved)
}

/// What a thread found; a panic in it goes on here.
fn joined<R>(running: thread::ScopedJoinHandle<'_, Result<R>>) -> Result<R> {
    running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The parts of values, one list per copy, as one list.
fn joined_rows(parts: &[Vec<Tensor>]) -> Result<Vec<Tensor>> {
    let count = parts.first().map_or(0, Vec::len);
    let join = |value: usize| {
        let parts: Vec<&Tensor> = parts.iter().map(|part| &part[value]).collect();
        Ok(Tensor::cat(&parts, 0)?)
    };
    (0..count).map(join).collect()
}

/// A copy that lost its partner: another one failed and says why.
fn abandoned() -> Error {
    Error::internal("a copy of the network failed and did not say why")
}

/// Where one copy hands its output in and waits for its share of the cotangents.
struct Desk {
    output: Sender<Tensor>,
    cotangents: Receiver<Vec<Tensor>>,
}

impl Desk {
    fn ask(&self, output: &Tensor) -> Result<Vec<Tensor>> {
        self.output.send(output.clone()).map_err(|_| abandoned())?;
        self.cotangents.recv().map_err(|_| abandoned())
    }
}

/// The other side of a [`Desk`].
struct Counter {
    output: Receiver<Tensor>,
    cotangents: Sender<Vec<Tensor>>,
    rows: Range<usize>,
}

/// Takes all outputs in, makes the cotangents of the whole batch once, and hands the shares out.
///
/// # Errors
/// What the cotangents' maker says; a copy that failed says so itself. Either way the others stop waiting.
fn serve(counters: Vec<Counter>, cotangents: &mut Cotangents<'_>) -> Result<()> {
    let outputs: Vec<Tensor> =
        counters.iter().map(|counter| counter.output.recv().map_err(|_| abandoned())).collect::<Result<_>>()?;
    let whole = cotangents(&Tensor::cat(&outputs, 0)?)?;
    for Counter { cotangents, rows, .. } in counters {
        let share = |cotangent: &Tensor| Ok(cotangent.narrow(0, rows.start, rows.len())?.contiguous()?);
        // A copy that left says why where it is joined.
        let _ = cotangents.send(whole.iter().map(share).collect::<Result<_>>()?);
    }
    Ok(())
}

struct Converting<'a, N> {
    replicas: &'a Replicas<N>,
    probe: &'a mut dyn Probe,
}

impl<N: Network> Probe for Converting<'_, N> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let seen = self.probe.visit(layer, self.replicas.outward(&activation)?)?;
        Replicas::inward(self.replicas.first(), &seen)
    }
}

impl<N: Network> Network for Replicas<N> {
    delegate_network!(self => self.first(); layers, input_shape, grid, attentions, announce);

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let input = Self::inward(self.first(), input)?;
        self.outward(&self.first().forward(&input, &mut Converting { replicas: self, probe })?)
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        let parts = self.spread(input, |copy, input| self.evaluate_copy(copy, input, layers))?;
        let (outputs, values): (Vec<Tensor>, Vec<Vec<Tensor>>) = parts.into_iter().unzip();
        Ok((Tensor::cat(&outputs, 0)?, joined_rows(&values)?))
    }

    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        let outputs = self.spread(input, |copy, input| self.outward(&copy.evaluate_similar(input)?))?;
        Ok(Tensor::cat(&outputs, 0)?)
    }

    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        joined_rows(&self.spread(input, |copy, input| self.all_outward(&copy.activations(input, layers)?))?)
    }

    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        let resumed = self.spread(activation, |copy, activation| {
            copy.resume(layer, activation).transpose()?.map(|output| self.outward(&output)).transpose()
        });
        match resumed.map(|parts| parts.into_iter().collect::<Option<Vec<Tensor>>>()) {
            Ok(None) => None,
            Ok(Some(parts)) => Some(Tensor::cat(&parts, 0).map_err(Into::into)),
            Err(error) => Some(Err(error)),
        }
    }

    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        self.first().biases()?.into_iter().map(|(layer, bias)| Ok((layer, self.outward(&bias)?))).collect()
    }

    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        self.spread_vjp(input, cotangents, &|copy, input, cotangents| copy.vjp(input, taps, cotangents))
    }

    fn can_vjp_from(&self, layer: LayerId, taps: &[Tap]) -> bool {
        self.copies.iter().all(|copy| copy.can_vjp_from(layer, taps))
    }

    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        self.spread_vjp(activation, cotangents, &|copy, activation, cotangents| {
            copy.vjp_from(layer, activation, taps, cotangents)
        })
    }

    /// The copies run at once, each on its share of the rows.
    fn bytes_of_pass(&self, input: &[usize], taps: &[Tap], gradients: usize) -> Option<u64> {
        let (&rows, row) = input.split_first()?;
        let shares = self.shares(rows).into_iter();
        let bytes = shares.map(|(copy, rows)| {
            let share: Vec<usize> = std::iter::once(rows.len()).chain(row.iter().copied()).collect();
            copy.bytes_of_pass(&share, taps, gradients)
        });
        bytes.sum()
    }

    fn with_backward_rule(&self, rule: BackwardRule) -> Result<Box<dyn Network + '_>> {
        let copies = self.copies.iter().map(|copy| copy.with_backward_rule(rule)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Replicas { copies, device: self.device.clone(), dtype: self.dtype }))
    }

    fn with_propagation(&self, rule: Propagation) -> Result<Box<dyn Network + '_>> {
        let copies = self.copies.iter().map(|copy| copy.with_propagation(rule)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Replicas { copies, device: self.device.clone(), dtype: self.dtype }))
    }
}

/// All parts, or the error that began it: those who were left waiting only say that they were.
fn first_cause(served: Result<()>, parts: Vec<Result<VectorJacobianProducts>>) -> Result<Vec<VectorJacobianProducts>> {
    let mut left = None;
    let mut whole = Vec::with_capacity(parts.len());
    for part in std::iter::once(served.map(|()| None)).chain(parts.into_iter().map(|part| part.map(Some))) {
        match part {
            Ok(part) => whole.extend(part),
            Err(error @ Error::Internal(_)) => left = Some(error),
            Err(error) => return Err(error),
        }
    }
    left.map_or(Ok(whole), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CandleModel, CandleNetwork, LayerInfo, Objective, Target};

    /// `softplus`-like curves of products, with a layer in between; it fails for inputs that hold 9.
    #[derive(Clone)]
    struct Curved(Vec<LayerInfo>);

    impl Curved {
        fn new() -> CandleNetwork<Self> {
            CandleNetwork(Self(vec![LayerInfo { name: "square".into(), kind: "square".into(), shape: vec![2] }]))
        }
    }

    impl CandleModel for Curved {
        fn layers(&self) -> &[LayerInfo] {
            &self.0
        }

        fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
            if input.flatten_all()?.to_vec1::<f32>()?.contains(&9.0) {
                return Err(Error::parameter("input", "it holds 9"));
            }
            let square = probe.visit(LayerId(0), input.sqr()?)?;
            Ok(square.exp()?.broadcast_sub(&square.sum_keepdim(1)?)?)
        }
    }

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (values.len() / 2, 2), &Device::Cpu).unwrap()
    }

    fn copies(count: usize) -> Replicas<CandleNetwork<Curved>> {
        Replicas::new(vec![Curved::new(); count], Device::Cpu, DType::F32).unwrap()
    }

    #[test]
    fn any_number_of_copies_gives_the_same_bits() {
        let input = rows(&[0.1, 0.2, -0.3, 0.4, 0.5, -0.6, 0.7, 0.8, 0.9, 1.0]);
        let found = |network: &dyn Network| {
            let target = Target::Output(1);
            let found = Objective::new(network, &target).differentiate(&input, &[LayerId(0)], true).unwrap();
            let trace = &found.traces[0];
            let layer = network.activations(&input, &[LayerId(0)]).unwrap().remove(0);
            let all = [&found.outputs, &trace.activation, &trace.gradient, &found.input_gradient.unwrap(), &layer];
            all.map(|x| x.to_vec2::<f32>().unwrap())
        };
        let one = found(&Curved::new());
        for count in [1, 2, 3, 7] {
            assert_eq!(one, found(&copies(count)), "{count} copies");
        }
    }

    #[test]
    fn cotangents_are_made_once_for_the_whole_batch() {
        let mut seen = Vec::new();
        let input = rows(&[0.1, 0.2, -0.3, 0.4, 0.5, -0.6]);
        let products = copies(2)
            .vjp(&input, &[Tap::Input], &mut |output| {
                seen.push(output.dims().to_vec());
                Ok(vec![output.ones_like()?, output.zeros_like()?])
            })
            .unwrap();
        assert_eq!(seen, [[3, 2]]);
        assert_eq!(products.gradients.len(), 2);
        assert_eq!(products.gradients[1][0].to_vec2::<f32>().unwrap(), [[0.0; 2]; 3]);
    }

    #[test]
    fn whoever_fails_says_why_and_nobody_waits() {
        let (first, last) = (rows(&[9.0, 0.2, 0.3, 0.4]), rows(&[0.1, 0.2, 0.3, 9.0]));
        for input in [&first, &last] {
            let error = copies(2).vjp(input, &[Tap::Input], &mut |output| Ok(vec![output.clone()])).unwrap_err();
            assert_eq!(error.to_string(), "input: it holds 9");
            assert_eq!(copies(2).evaluate(input, &[]).unwrap_err().to_string(), "input: it holds 9");
        }
        let refuse = &mut |_: &Tensor| Err(Error::parameter("score", "there is none"));
        let error = copies(2).vjp(&rows(&[0.1; 4]), &[Tap::Input], refuse).unwrap_err();
        assert_eq!(error.to_string(), "score: there is none");
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        assert!(Replicas::<CandleNetwork<Curved>>::new(Vec::new(), Device::Cpu, DType::F32).is_err());
        let error =
            Replicas::new(vec![Curved::new(), CandleNetwork(Curved(Vec::new()))], Device::Cpu, DType::F32).map(|_| ());
        assert!(error.unwrap_err().to_string().contains("their layers differ"));
    }

    #[test]
    fn other_types_stay_inside() {
        // f64 outside, f32 inside.
        let network = Replicas::new(vec![Curved::new(); 2], Device::Cpu, DType::F64).unwrap();
        let input = rows(&[0.1, 0.2, 0.3, 0.4]).to_dtype(DType::F64).unwrap();
        let (output, values) = network.evaluate(&input, &[LayerId(0)]).unwrap();
        assert_eq!((output.dtype(), values[0].dtype()), (DType::F64, DType::F64));
        let output = network.forward(&input, &mut crate::Unobserved).unwrap();
        assert_eq!(output.dtype(), DType::F64);
    }
}
