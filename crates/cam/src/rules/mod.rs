//! The rules, one small function each; [`RULES`] lists them.

mod channel;
mod element;
mod projection;
#[cfg(test)]
mod reference;

use crate::CamRule;
use crate::rule::gradient;
use faithful_core::{Result, find_named};

pub(crate) use channel::{by_sum, plus_plus_weights_outside, powers, relative_activation};
pub(crate) use projection::centered_projection;

/// Every rule, each of which runs on every estimator.
pub const RULES: &[CamRule] = &[
    CamRule {
        name: "grad-cam",
        summary: "channels weighted by their mean gradient",
        source: "Selvaraju et al. 2017, Eq. 1-2 (thesis, Eq. 28-29)",
        map: channel::grad_cam,
        ..LINEAR
    },
    CamRule {
        name: "cam",
        summary: "channels weighted by the linear layer behind a global average pool",
        source: "Zhou et al. 2016, Eq. 2 (thesis, Eq. 24-26)",
        signed: true,
        pooled_head: true,
        conserves: true,
        sensitivity: channel::constant_gradient,
        map: channel::cam,
        weighted: Some(channel::by_sum),
        ..LINEAR
    },
    CamRule {
        name: "grad-cam++",
        summary: "positive gradients, weighted so that every occurrence of an object counts alike",
        source: "Chattopadhay et al. 2018, Eq. 19 with the ReLU of Eq. 7",
        sensitivity: channel::grad_cam_plus_plus,
        map: channel::summed,
        weighted: Some(channel::by_sum),
        ..LINEAR
    },
    CamRule {
        name: "expected-grad-cam++",
        summary: "the expectation of difference times the weights of Grad-CAM++, draw by draw",
        source: "Buono and Åkesson 2023, Eq. 59-60",
        estimator: "expected",
        sensitivity: channel::plus_plus_weights,
        map: channel::grad_cam,
        ..LINEAR
    },
    CamRule {
        name: "smooth-grad-cam++",
        summary: "Grad-CAM++ from the averages of the gradient's powers",
        source: "Omeiza et al. 2019, Eq. 8-10",
        estimator: "smooth",
        sensitivity: channel::powers,
        map: channel::smooth_grad_cam_plus_plus,
        weighted: Some(channel::by_powers),
        ..LINEAR
    },
    CamRule {
        name: "xgrad-cam",
        summary: "channels weighted by their gradient where they are active",
        source: "Fu et al. 2020, Eq. 8",
        conserves: true,
        map: channel::xgrad_cam,
        weighted: Some(|estimate| relative_activation(estimate, 0.0)),
        ..LINEAR
    },
    CamRule {
        name: "hires-cam",
        summary: "gradient times activation at each place",
        source: "Draelos and Carin 2020, Eq. 6",
        conserves: true,
        map: element::hires_cam,
        weighted: Some(element::products),
        ..LINEAR
    },
    CamRule {
        name: "layer-cam",
        summary: "positive gradient times activation at each place",
        source: "Jiang et al. 2021, Eq. 6-8",
        map: element::layer_cam,
        weighted: Some(element::positive_gradients),
        ..LINEAR
    },
    CamRule {
        name: "grad-cam-elementwise",
        summary: "the positive products of gradient and activation at each place",
        source: "pytorch-grad-cam 1.5 (Gildenblat et al.)",
        map: element::element_wise,
        weighted: Some(element::positive_products),
        ..LINEAR
    },
    CamRule {
        name: "eigen-cam",
        summary: "the first principal component of the activation, without regard to a class",
        source: "Muhammad and Yeasin 2020, Eq. 4",
        class_agnostic: true,
        signed: true,
        map: projection::eigen_cam,
        weighted: None,
        ..LINEAR
    },
    CamRule {
        name: "eigen-grad-cam",
        summary: "the first principal component of gradient times activation",
        source: "pytorch-grad-cam 1.5 (Gildenblat et al.)",
        signed: true,
        map: projection::eigen_grad_cam,
        weighted: None,
        ..LINEAR
    },
];

/// What most rules are: linear in the gradient and rectified.
const LINEAR: CamRule = CamRule {
    name: "",
    summary: "",
    source: "",
    estimator: "plain",
    class_agnostic: false,
    signed: false,
    pooled_head: false,
    conserves: false,
    sensitivity: gradient,
    map: channel::grad_cam,
    weighted: Some(channel::by_mean),
};

/// The rule called `name`.
///
/// # Errors
/// [`Error::UnknownName`](faithful_core::Error::UnknownName) with suggestions.
pub fn rule(name: &str) -> Result<&'static CamRule> {
    find_named("rule", name, RULES, |rule| rule.name)
}
