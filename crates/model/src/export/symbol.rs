/// The cases for which sizes are known while a file is written: two sizes of the batch, and another size of the input.
/// What is the same in all is a number in the file.
pub(crate) const TRIALS: usize = 3;

/// The size of an axis in each case.
pub type Extent = [usize; TRIALS];

/// The value of a node of the file that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub(super) name: String,
    pub(super) shape: Vec<Extent>,
}

impl Symbol {
    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its axes.
    pub fn shape(&self) -> &[Extent] {
        &self.shape
    }

    /// The number of its axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The axes in one of the cases.
    pub(super) fn at(&self, trial: usize) -> Vec<usize> {
        self.shape.iter().map(|extent| extent[trial]).collect()
    }

    /// The sizes at the nominal size of the input.
    pub fn nominal(&self) -> Vec<usize> {
        self.at(0)
    }
}

/// The size, where it is the same in all cases.
pub fn fixed(extent: Extent) -> Option<usize> {
    extent.iter().all(|size| *size == extent[0]).then_some(extent[0])
}

/// Sizes that are the same in all cases.
pub fn sizes(dims: &[usize]) -> Vec<Extent> {
    dims.iter().map(|&size| [size; TRIALS]).collect()
}

/// Extents from the shapes in each case, which have as many axes.
pub(super) fn from_trials(shape: impl Fn(usize) -> Option<Vec<usize>>) -> Option<Vec<Extent>> {
    let trials: Vec<Vec<usize>> = (0..TRIALS).map(shape).collect::<Option<_>>()?;
    let rank = trials[0].len();
    if trials.iter().any(|trial| trial.len() != rank) {
        return None;
    }
    Some((0..rank).map(|axis| std::array::from_fn(|trial| trials[trial][axis])).collect())
}
