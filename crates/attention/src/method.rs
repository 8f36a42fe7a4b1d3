use crate::legrad::legrad;
use crate::places::Places;
use crate::product::{relevance, rollout};
use crate::tokens::Transformer;
use candle_core::Tensor;
use faithful_core::{Family, MethodInfo, Objective, Resolution, Result, Score, ScoreKind, TokenGrid};

/// A named way from a transformer's attention to a map.
#[derive(Clone, Copy)]
pub struct Method {
    /// What one knows of it without running it.
    pub info: MethodInfo,
    /// Of every token, how much it counts: `(N, tokens)` per score.
    tokens: TokenMethod,
}

type TokenMethod = fn(&Transformer, &Objective<'_>, &Tensor, &[&dyn Score]) -> Result<Vec<Tensor>>;

impl std::fmt::Debug for Method {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Method").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What a method found.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The raw map over the grid of patches, `(N, h, w)`; of a series over its tokens, `(N, t)`. Never negative.
    pub map: Tensor,
    /// The scores `(N,)` that were explained.
    pub score: Tensor,
}

const fn info(name: &'static str, summary: &'static str, source: &'static str) -> MethodInfo {
    MethodInfo {
        name,
        summary,
        source,
        family: Family::Attention,
        resolution: Resolution::Layer,
        class_agnostic: false,
        signed: false,
        score: ScoreKind::Logit,
        draws: false,
    }
}

/// Every method of this crate.
pub const METHODS: &[Method] = &[
    Method {
        info: MethodInfo {
            class_agnostic: true,
            ..info(
                "attention-rollout",
                "the product of all attentions, each halved with what goes around it, without regard to a class",
                "Abnar and Zuidema 2020 (arXiv 2005.00928), Eq. 1",
            )
        },
        tokens: rollout,
    },
    Method {
        info: info(
            "attention-relevance",
            "the product of all attentions, each weighted by its positive gradient",
            "Chefer et al. 2021 (arXiv 2103.15679), Eq. 5-6",
        ),
        tokens: relevance,
    },
    Method {
        info: info(
            "legrad",
            "the positive gradient at the attention of every block, of the score that its own tokens would have",
            "Bousselham et al. 2024 (arXiv 2404.03214)",
        ),
        tokens: legrad,
    },
];

/// The method called `name`.
///
/// # Errors
/// [`Error::UnknownName`](faithful_core::Error::UnknownName) with suggestions.
pub fn method(name: &str) -> Result<&'static Method> {
    MethodInfo::find(name, METHODS, |method| &method.info)
}

/// Explains each of `scores` for the inputs `(N, …)`: photos `(N, C, H, W)` or series `(N, C, T)`.
///
/// `grid` says how the tokens lie over the photo where their number does not. Class and register tokens, which stand before the
/// patches, are left out.
///
/// # Errors
/// [`Error::Unsupported`](faithful_core::Error::Unsupported) for a network without attention, or whose attentions are not each over all
/// tokens of the one before (Swin's windows, attention between convolutions); [`Error::Shape`](faithful_core::Error::Shape) for tokens that make no grid.
pub fn explain(
    method: &Method,
    objective: &Objective<'_>,
    input: &Tensor,
    scores: &[&dyn Score],
    grid: Option<TokenGrid>,
) -> Result<Vec<Explanation>> {
    let transformer = Transformer::of(objective.network(), input)?;
    let places = Places::of(transformer.tokens, input.dims(), grid)?;
    let output = objective.network().evaluate(input, &[])?.0;
    let found = (method.tokens)(&transformer, objective, input, scores)?;
    let explanation = |(tokens, score): (Tensor, &&dyn Score)| {
        Ok(Explanation { map: places.map(&tokens)?, score: score.score(&output)? })
    };
    found.into_iter().zip(scores).map(explanation).collect()
}
