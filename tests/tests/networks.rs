//! A law over every network that stands before another one: each call reaches the network behind it.

use candle_core::{DType, Device, Tensor};
use faithful_core::{
    AtLayer, Attention, BackwardRule, CandleModel, CandleNetwork, Composite, Cotangents, Grid, LayerId, LayerInfo,
    Linear, Network, Probe, Propagation, ReadOut, Reading, Replicas, Result, SeriesLayout, SeriesView, Tap, UpToLayer,
    VectorJacobianProducts, Watch, Watched, delegate_network,
};
use std::sync::{Arc, Mutex};

/// `(N, 2, 3)` to `(N, 2)`: squares, doubles, and sums over the last axis.
#[derive(Clone)]
struct Squares(Vec<LayerInfo>);

impl CandleModel for Squares {
    fn layers(&self) -> &[LayerInfo] {
        &self.0
    }
    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let square = probe.visit(LayerId(0), input.sqr()?)?;
        Ok(probe.visit(LayerId(1), (square * 2.0)?)?.sum(2)?)
    }
    fn dtype(&self) -> DType {
        DType::F64
    }
    fn input_shape(&self) -> Option<&[usize]> {
        Some(&[2, 3])
    }
}

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Can do everything, and writes down what it is asked for.
#[derive(Clone)]
struct Recording {
    network: CandleNetwork<Squares>,
    log: Log,
}

impl Recording {
    fn new() -> Self {
        let layer = |name: &str| LayerInfo { name: name.into(), kind: name.into(), shape: vec![2, 3] };
        Self { network: CandleNetwork(Squares(["square", "double"].map(layer).to_vec())), log: Log::default() }
    }

    fn note(&self, name: &'static str) -> &CandleNetwork<Squares> {
        self.log.lock().unwrap().push(name);
        &self.network
    }
}

impl Network for Recording {
    delegate_network!(self => self.network; layers, dtype, device, input_shape);

    fn grid(&self, _: LayerId) -> Option<Grid> {
        self.note("grid");
        None
    }

    fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        self.note("forward").forward(input, probe)
    }
    fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        self.note("evaluate").evaluate(input, layers)
    }
    fn evaluate_similar(&self, input: &Tensor) -> Result<Tensor> {
        self.note("evaluate_similar").evaluate_similar(input)
    }
    fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        self.note("activations").activations(input, layers)
    }
    fn resume(&self, layer: LayerId, activation: &Tensor) -> Option<Result<Tensor>> {
        self.note("resume");
        let factor = [2.0, 1.0][layer.0];
        Some((activation * factor).and_then(|double| double.sum(2)).map_err(Into::into))
    }
    fn biases(&self) -> Result<Vec<(LayerId, Tensor)>> {
        self.note("biases");
        let bias = Tensor::zeros((1, 2, 3), DType::F64, &Device::Cpu)?;
        Ok(vec![(LayerId(0), bias.clone()), (LayerId(1), bias)])
    }
    fn attentions(&self) -> Result<Vec<Attention>> {
        self.note("attentions");
        Ok(vec![Attention { probabilities: LayerId(1), tokens: None }])
    }
    fn announce(&self, evaluated: usize, differentiated: usize) {
        self.note("announce").announce(evaluated, differentiated);
    }
    fn vjp(&self, input: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        self.note("vjp").vjp(input, taps, cotangents)
    }
    fn can_vjp_from(&self, _: LayerId, _: &[Tap]) -> bool {
        self.note("can_vjp_from");
        true
    }
    /// From the first layer to itself.
    fn vjp_from(
        &self,
        layer: LayerId,
        activation: &Tensor,
        taps: &[Tap],
        cotangents: &mut Cotangents<'_>,
    ) -> Result<VectorJacobianProducts> {
        self.note("vjp_from");
        assert_eq!((layer, taps), (LayerId(0), &[Tap::Layer(LayerId(0))][..]));
        let output = (activation * 2.0)?.sum(2)?;
        let back = |cotangent: &Tensor| {
            Ok(vec![(cotangent.unsqueeze(2)? * 2.0)?.broadcast_as(activation.shape())?.contiguous()?])
        };
        let gradients = cotangents(&output)?.iter().map(back).collect::<Result<_>>()?;
        Ok(VectorJacobianProducts { output, values: vec![activation.clone()], gradients })
    }
    fn bytes_of_pass(&self, input: &[usize], _: &[Tap], gradients: usize) -> Option<u64> {
        self.note("bytes_of_pass");
        assert_eq!(input[1..], [2, 3]);
        Some((input[0] * gradients) as u64)
    }
    fn with_backward_rule(&self, _: BackwardRule) -> Result<Box<dyn Network + '_>> {
        self.note("with_backward_rule");
        Ok(Box::new(self))
    }
    fn with_propagation(&self, _: Propagation) -> Result<Box<dyn Network + '_>> {
        self.note("with_propagation");
        Ok(Box::new(self))
    }
}

/// Writes down what is announced as the network would.
struct Heard(Log);

impl Watch for Heard {
    fn announce(&self, work: u64) {
        assert_eq!(work, 3 + 3 * 4);
        self.0.lock().unwrap().push("announce");
    }
    fn advance(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A wrapper as a program outside of this workspace writes it.
struct Own<N>(N);

impl<N: Network> Network for Own<N> {
    delegate_network!(self => self.0;
        layers, forward, dtype, device, input_shape, grid, evaluate, evaluate_similar, activations, resume, biases,
        attentions, announce, vjp, can_vjp_from, vjp_from, bytes_of_pass, with_backward_rule, with_propagation);
}

const FIRST: LayerId = LayerId(0);

/// Calls what `method` names with an input and the first layer's activation for it.
fn call(method: &str, network: &dyn Network, input: &Tensor, activation: &Tensor) {
    let mut ones = |output: &Tensor| Ok(vec![output.ones_like()?]);
    let taps = [Tap::Layer(FIRST)];
    match method {
        "grid" => drop(network.grid(FIRST)),
        "forward" => drop(network.forward(input, &mut faithful_core::Unobserved).unwrap()),
        "evaluate" => drop(network.evaluate(input, &[]).unwrap()),
        "evaluate_similar" => drop(network.evaluate_similar(input).unwrap()),
        "activations" => drop(network.activations(input, &[FIRST]).unwrap()),
        "resume" => drop(network.resume(FIRST, activation).map(Result::unwrap)),
        "biases" => drop(network.biases().unwrap()),
        "attentions" => drop(network.attentions().unwrap()),
        "announce" => network.announce(3, 4),
        "vjp" => drop(network.vjp(input, &taps, &mut ones).unwrap()),
        "can_vjp_from" => drop(network.can_vjp_from(FIRST, &taps)),
        "vjp_from" => drop(network.vjp_from(FIRST, activation, &taps, &mut ones)),
        "bytes_of_pass" => drop(network.bytes_of_pass(input.dims(), &taps, 3)),
        "with_backward_rule" => drop(network.with_backward_rule(BackwardRule::Guided).unwrap()),
        "with_propagation" => drop(network.with_propagation(Propagation::Relevance(Composite::Epsilon))),
        other => panic!("no method {other}"),
    }
}

const METHODS: [&str; 15] = [
    "grid",
    "forward",
    "evaluate",
    "evaluate_similar",
    "activations",
    "resume",
    "biases",
    "attentions",
    "announce",
    "vjp",
    "can_vjp_from",
    "vjp_from",
    "bytes_of_pass",
    "with_backward_rule",
    "with_propagation",
];

/// Checks that each method of `network` reaches the recording one as `arrives` says; empty: it is answered without it.
fn check(
    name: &str,
    log: &Log,
    network: &dyn Network,
    shape: &[usize],
    arrives: &dyn Fn(&'static str) -> &'static str,
) {
    assert_eq!((network.dtype(), network.layers()[0].name.as_str()), (DType::F64, "square"), "{name}");
    assert_eq!(network.input_shape().unwrap(), &shape[1..], "{name}");
    let input = Tensor::ones(shape, DType::F64, &Device::Cpu).unwrap();
    let activation = network.activations(&input, &[FIRST]).unwrap().remove(0);
    for method in METHODS {
        log.lock().unwrap().clear();
        call(method, network, &input, &activation);
        let (log, expected) = (log.lock().unwrap(), arrives(method));
        if expected.is_empty() {
            assert!(log.is_empty(), "{name}: {method} arrived as {log:?}");
        } else {
            assert!(log.contains(&expected), "{name}: {method} arrived as {log:?} and not as {expected}");
        }
    }
}

#[test]
fn every_call_reaches_the_network_behind() {
    let network = Recording::new();
    let log = &network.log;
    let same: &dyn Fn(&'static str) -> &'static str = &|method| method;
    let heard = Heard(log.clone());
    let series = |layout| SeriesView::new(&network, layout).unwrap();
    check("a reference", log, &&network, &[4, 2, 3], same);
    check("a box", log, &(Box::new(network.clone()) as Box<dyn Network>), &[4, 2, 3], same);
    check("an arc", log, &(Arc::new(network.clone()) as Arc<dyn Network>), &[4, 2, 3], same);
    check("one's own", log, &Own(&network), &[4, 2, 3], same);
    let same_outputs: Arc<dyn Reading> = Arc::new(Linear::outputs(2, &[0, 1]).unwrap());
    check("read out", log, &ReadOut::new(&network, same_outputs), &[4, 2, 3], same);
    check("watched", log, &Watched::new(&network, &heard), &[4, 2, 3], same);
    // A series has no image's places.
    let but_grid: &dyn Fn(&'static str) -> &'static str = &|method| if method == "grid" { "" } else { method };
    check("a series", log, &series(SeriesLayout::SensorsTime), &[4, 2, 3], but_grid);
    check("a picture", log, &series(SeriesLayout::SensorsTime).as_picture(), &[4, 2, 1, 3], but_grid);
    for copies in [1, 3] {
        let replicas = Replicas::new(vec![&network; copies], Device::Cpu, DType::F64).unwrap();
        check("replicas", log, &replicas, &[4, 2, 3], same);
        assert_eq!(replicas.bytes_of_pass(&[4, 2, 3], &[], 3), Some(12));
    }
    let input = Tensor::ones((1, 2, 3), DType::F64, &Device::Cpu).unwrap();
    let at_layer = AtLayer::new(&network, FIRST, &input).unwrap();
    check("from a layer on", log, &at_layer, &[4, 2, 3], &|method| match method {
        "evaluate" | "evaluate_similar" => "resume",
        "activations" => "forward",
        "vjp" => "vjp_from",
        "grid" => "",
        other => other,
    });
    let up_to = UpToLayer::new(&network, FIRST).unwrap();
    check("up to a layer", log, &up_to, &[4, 2, 3], &|method| match method {
        "evaluate" | "evaluate_similar" | "activations" | "vjp" => "forward",
        "resume" | "can_vjp_from" | "vjp_from" | "bytes_of_pass" | "with_propagation" => "",
        other => other,
    });
}

#[test]
fn the_layout_of_a_series_is_that_of_the_network_behind() {
    let network = Recording::new();
    let view = SeriesView::new(&network, SeriesLayout::TimeSensors).unwrap();
    assert_eq!(view.bytes_of_pass(&[5, 3, 2], &[], 1), Some(5));
    assert_eq!(view.as_picture().bytes_of_pass(&[5, 3, 1, 2], &[], 1), Some(5));
}

#[test]
fn from_a_layer_on_the_networks_own_reverse_pass_gives_candles_gradients() {
    let network = Recording::new();
    let input = Tensor::new(&[[[1f64, -2.0, 3.0], [0.5, 0.0, -1.0]]], &Device::Cpu).unwrap();
    let mut cotangents = |output: &Tensor| Ok(vec![output.ones_like()?, output.clone()]);
    let of = |network: &dyn Network, cotangents: &mut Cotangents<'_>| {
        let activation = network.activations(&input, &[FIRST]).unwrap().remove(0);
        let at_layer = AtLayer::new(network, FIRST, &input).unwrap();
        let found = at_layer.vjp(&activation, &[Tap::Input], cotangents).unwrap();
        let values = found.gradients.iter().flatten().chain(&found.values).chain([&found.output]);
        values.map(|value| value.flatten_all().unwrap().to_vec1::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let (own, candle) = (of(&network, &mut cotangents), of(&network.network, &mut cotangents));
    assert_eq!(own, candle);
    assert!(network.log.lock().unwrap().contains(&"vjp_from"));
}
