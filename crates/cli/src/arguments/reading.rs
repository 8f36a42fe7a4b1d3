//! What is read off a network's outputs in place of one number per class.

use clap::Args;
use faithful_explain::Read;
use std::path::PathBuf;

/// At most one of these; none for the classes.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "reading", multiple = false)]
pub(crate) struct ReadingArguments {
    /// Of a segmentation, which places are explained: `box:LEFT,TOP,RIGHT,BOTTOM` and `point:X,Y` in the photo's pixels, a picture
    /// that is white there, or `class` for those that the network gives the class; unless said, all where it wins
    #[arg(long, value_name = "REGION", help_heading = "What is explained of the outputs")]
    pub(crate) region: Option<String>,
    /// Of a detection, which box is explained: its number in `faithful predict`, a class for its best box, or
    /// `box:LEFT,TOP,RIGHT,BOTTOM` for the one that overlaps most; with `/class`, `/objectness`, `/left`, `/top`, `/right`, `/bottom`,
    /// `/width` or `/height` behind it, that alone; with `/similar`, how alike the most similar box is, for `--method rise` (D-RISE)
    #[arg(long, value_name = "BOX", help_heading = "What is explained of the outputs")]
    pub(crate) detection: Option<String>,
    /// Of an embedding, its cosine to that of another photo, or to a vector in an .npy file
    #[arg(long, value_name = "PHOTO|FILE.npy", help_heading = "What is explained of the outputs")]
    pub(crate) similar_to: Option<PathBuf>,
    /// A sum of outputs, as `mean(density)`, `0.5*output[0] - output[3]` or `age=sum(bins[10:])`; repeat it for several
    #[arg(long, value_name = "SUM", help_heading = "What is explained of the outputs")]
    pub(crate) sum: Vec<String>,
}

impl ReadingArguments {
    /// What is read.
    pub(crate) fn read(&self) -> Read {
        match (&self.region, &self.detection, &self.similar_to) {
            (Some(region), _, _) => Read::Region(region.clone()),
            (_, Some(detection), _) => Read::Detection(detection.clone()),
            (_, _, Some(path)) => Read::SimilarTo(path.clone()),
            _ if !self.sum.is_empty() => Read::Sums(self.sum.clone()),
            _ => Read::Classes,
        }
    }
}
