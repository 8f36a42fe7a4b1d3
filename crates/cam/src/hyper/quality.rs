//! Settings that go together.

use super::{
    BaseMap, Combination, DecompositionParameters, DependencyParameters, Evidence, Filter, FusionParameters,
    HyperParameters, Refinement, StageParameters,
};
use faithful_core::{Probabilities, Result, value_named};
use std::num::NonZeroUsize;

/// How much work an explanation may be, and which form of the method it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quality {
    /// For a first look: the default's formula with few draws.
    Draft,
    /// The default: details of all levels and the base map, by a plain formula; no stages, which cost much and change little.
    #[default]
    Standard,
    /// For publication: more draws, and the stages of parts I and II added as levels.
    Full,
    /// Another map: part IV's, mixed with its own low frequencies and scaled as the network answers best
    /// ([`Refinement::Asked`]). Coarser, and chosen by asking what drop, increase and ADD ask.
    Compact,
    /// As section 4.8 of the thesis has it: one baseline, Expected Grad-CAM of every level, high-pass filters, the stages
    /// multiplied.
    Thesis,
}

impl Quality {
    /// Every quality with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("draft", Self::Draft),
        ("standard", Self::Standard),
        ("full", Self::Full),
        ("compact", Self::Compact),
        ("thesis", Self::Thesis),
    ];

    /// The quality called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`](faithful_core::Error::UnknownName) with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        value_named("quality", name, &Self::ALL)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, quality)| *quality == self).map_or("", |(name, _)| name)
    }

    /// How many draws the tracked pass takes.
    pub fn draws(self) -> NonZeroUsize {
        let draws = match self {
            Self::Draft => 8,
            Self::Standard | Self::Compact | Self::Thesis => 50,
            Self::Full => 200,
        };
        NonZeroUsize::new(draws).unwrap_or(NonZeroUsize::MIN)
    }

    /// What it means beside the number of draws.
    pub fn parameters(self) -> HyperParameters {
        let number = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let stages = |count, draws| {
            let stages = StageParameters { count, ..StageParameters::default() };
            (stages, DependencyParameters { draws: number(draws), ..DependencyParameters::default() })
        };
        let (none, dependencies) = stages(Some(0), 1);
        let standard = HyperParameters {
            blurred: 0.5,
            blur: 5.0,
            stratified: true,
            base: BaseMap::Difference,
            stages: none,
            dependencies,
            decomposition: DecompositionParameters::default(),
            fusion: FusionParameters::default(),
            refinement: Refinement::None,
            contrast: true,
            probabilities: Probabilities::Softmax,
            agreement: Some(0.9),
        };
        match self {
            Self::Draft => HyperParameters { agreement: None, ..standard },
            Self::Standard => standard,
            Self::Full => {
                let (stages, dependencies) = stages(None, 4);
                HyperParameters { stages, dependencies, ..standard }
            }
            Self::Compact => HyperParameters {
                decomposition: DecompositionParameters {
                    evidence: Evidence::Place,
                    injection: 1.0,
                    ..standard.decomposition
                },
                fusion: FusionParameters { base: 0.0, ..standard.fusion },
                refinement: Refinement::asked(),
                agreement: None,
                ..standard
            },
            Self::Thesis => {
                let (stages, dependencies) = stages(None, 4);
                HyperParameters {
                    blurred: 0.0,
                    stratified: false,
                    stages,
                    dependencies,
                    decomposition: DecompositionParameters {
                        evidence: Evidence::Layer,
                        filter: Filter::Laplacian,
                        injection: 1.0,
                    },
                    fusion: FusionParameters { combination: Combination::Product, base: 0.0, ..standard.fusion },
                    base: BaseMap::Activation,
                    contrast: false,
                    agreement: None,
                    ..standard
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quality_has_a_name_of_its_own() {
        for (name, quality) in Quality::ALL {
            assert_eq!((Quality::named(name).unwrap(), quality.name()), (quality, name));
        }
        assert_eq!(HyperParameters::default(), Quality::Standard.parameters());
        assert_eq!(Quality::Thesis.parameters().fusion.modulation, 0.95);
    }
}
