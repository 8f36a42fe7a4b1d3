//! Options that gradient methods alone listen to: a new one is a field here and in
//! [`faithful_gradient::GradientParameters`].

use clap::{Args, ValueEnum};
use faithful_gradient::GradientParameters;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct GradientOptions {
    /// The rule that integrates along a path: `left`, `right`, `midpoint`, `trapezoid` or `gauss-legendre`
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        default_value = "gauss-legendre",
        help_heading = "Explanation, rarely needed"
    )]
    pub(crate) quadrature: Quadrature,
    /// From which blur blur-integrated-gradients begins, in pixels of what is explained
    #[arg(long, value_name = "PIXELS", default_value = "50", help_heading = "Explanation, rarely needed")]
    pub(crate) blur_sigma: f64,
    /// The share of values that guided-integrated-gradients moves at a time
    #[arg(long, value_name = "SHARE", default_value = "0.25", help_heading = "Explanation, rarely needed")]
    pub(crate) guided_fraction: f64,
    /// How far guided-integrated-gradients may be from the straight line, as a share of the way
    #[arg(long, value_name = "SHARE", default_value = "0.02", help_heading = "Explanation, rarely needed")]
    pub(crate) guided_distance: f64,
}

impl From<&GradientOptions> for GradientParameters<'static> {
    fn from(options: &GradientOptions) -> Self {
        Self {
            quadrature: options.quadrature.into(),
            sigma: options.blur_sigma,
            fraction: options.guided_fraction,
            max_distance: options.guided_distance,
            ..Self::default()
        }
    }
}

/// `--quadrature`; [`faithful_gradient::Quadrature`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Quadrature {
    Left,
    Right,
    Midpoint,
    Trapezoid,
    GaussLegendre,
}

impl From<Quadrature> for faithful_gradient::Quadrature {
    fn from(rule: Quadrature) -> Self {
        match rule {
            Quadrature::Left => Self::Left,
            Quadrature::Right => Self::Right,
            Quadrature::Midpoint => Self::Midpoint,
            Quadrature::Trapezoid => Self::Trapezoid,
            Quadrature::GaussLegendre => Self::GaussLegendre,
        }
    }
}
