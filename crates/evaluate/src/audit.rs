use crate::complete::Complete;
use crate::statistics::{Interval, bootstrap, bootstrap_mean};
use crate::{Format, Rows};
use faithful_core::{Error, Result, rank_correlation};
use std::fmt::Write as _;

/// How well each metric of a run orders its methods as a ground truth does.
///
/// The truth is a metric of the same run that knows what made the network decide: `energy`, `pointing` or `iou` in the
/// mask of the one thing that the network goes by (`evaluate --images planted`).
#[derive(Clone, Debug)]
pub struct Audit {
    /// The metric that is taken for true.
    pub truth: String,
    /// How many methods are ordered.
    pub methods: usize,
    /// The images that count: those with a value for every method and metric.
    pub images: usize,
    /// The other metrics, the most truthful first.
    pub lines: Vec<Agreement>,
}

/// A metric's agreement with the truth: 1 for the same order of methods, 0 for none, -1 for the reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The metric.
    pub metric: String,
    /// Spearman's rank correlation over methods on one image, its mean over images. An image on which all methods have the same value
    /// counts as 0.
    pub per_image: Interval,
    /// Spearman's rank correlation of the methods' means, with the interval of resampled images.
    pub of_means: Interval,
}

impl Audit {
    /// The audit of `rows` by the metric `truth`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] where the run does not have `truth`, [`Error::Parameter`] for fewer than three methods or no other
    /// metric, [`Error::Format`] where no image is complete.
    pub fn new(rows: &Rows, truth: &str) -> Result<Self> {
        let complete = Complete::of(rows, &[])?;
        if !complete.metrics.contains(&truth) {
            return Err(Error::unknown("metric in this run", truth, complete.metrics));
        }
        if complete.methods.len() < 3 || complete.metrics.len() < 2 {
            let reason = format!(
                "{} methods and {} metrics: an order takes at least three methods, and a metric beside `{truth}`",
                complete.methods.len(),
                complete.metrics.len()
            );
            return Err(Error::parameter("run", reason));
        }
        let by_image = |metric: &str| Merits::of(&complete, metric);
        let known = by_image(truth);
        let others = complete.metrics.iter().filter(|metric| **metric != truth);
        let mut lines: Vec<Agreement> = others.map(|metric| agreement(metric, &by_image(metric), &known)).collect();
        lines.sort_by(|a, b| b.per_image.mean.total_cmp(&a.per_image.mean));
        Ok(Self { truth: truth.to_owned(), methods: complete.methods.len(), images: complete.images.len(), lines })
    }

    /// The audit in `format`, ending with a line break.
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Json => format!("{}\n", self.json()),
            Format::Csv => self.csv(),
            Format::Markdown | Format::Latex | Format::Text => self.grid(format),
        }
    }

    fn json(&self) -> serde_json::Value {
        let interval = |of: &Interval| serde_json::json!({ "mean": of.mean, "interval": [of.low, of.high] });
        let lines = self.lines.iter().map(|line| {
            serde_json::json!({
                "metric": line.metric, "per_image": interval(&line.per_image), "of_means": interval(&line.of_means),
            })
        });
        serde_json::json!({
            "truth": self.truth, "methods": self.methods, "images": self.images, "metrics": lines.collect::<Vec<_>>(),
        })
    }

    fn csv(&self) -> String {
        let mut text =
            "metric,truth,per_image,per_image_low,per_image_high,of_means,of_means_low,of_means_high,images\n"
                .to_owned();
        for Agreement { metric, per_image: a, of_means: b } in &self.lines {
            let _ = writeln!(
                text,
                "{metric},{},{},{},{},{},{},{},{}",
                self.truth, a.mean, a.low, a.high, b.mean, b.low, b.high, self.images
            );
        }
        text
    }

    fn grid(&self, format: Format) -> String {
        let interval = |of: &Interval| format!("{:.2} [{:.2}, {:.2}]", of.mean, of.low, of.high);
        let mut grid = vec![["metric".to_owned(), "on one image".to_owned(), "of the means".to_owned()].to_vec()];
        grid.extend(
            self.lines
                .iter()
                .map(|line| vec![line.metric.clone(), interval(&line.per_image), interval(&line.of_means)]),
        );
        let mut text = crate::table::lay(&grid, format);
        let _ = writeln!(
            text,
            "\nRank correlation with `{}` over {} methods, {} images, with 95% bootstrap intervals: 1 is the true order, 0 none.",
            self.truth, self.methods, self.images
        );
        text
    }
}

/// A metric's values, the higher the better, by image and then by method.
struct Merits(Vec<Vec<f64>>);

impl Merits {
    fn of(complete: &Complete, metric: &str) -> Self {
        let columns: Vec<Vec<f64>> = complete.methods.iter().map(|method| complete.merits(method, metric)).collect();
        Self((0..complete.images.len()).map(|image| columns.iter().map(|column| column[image]).collect()).collect())
    }

    /// The sums over `images`, by method: they have the order of the means.
    fn sums(&self, images: &[usize]) -> Vec<f64> {
        let methods = self.0[0].len();
        (0..methods).map(|method| images.iter().map(|image| self.0[*image][method]).sum()).collect()
    }
}

fn agreement(metric: &str, found: &Merits, truth: &Merits) -> Agreement {
    let alike: Vec<f64> = found.0.iter().zip(&truth.0).map(|(found, truth)| rank_correlation(found, truth)).collect();
    Agreement {
        metric: metric.to_owned(),
        per_image: bootstrap_mean(&alike).expect("there are images"),
        of_means: bootstrap(alike.len(), |images| rank_correlation(&found.sums(images), &truth.sums(images)))
            .expect("there are images"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::row;

    /// Deletion orders three methods as the truth does (lower is better), insertion the other way round, and drop on
    /// every second image.
    fn rows() -> Rows {
        let mut rows = Vec::new();
        for image in 0..8 {
            for (place, method) in ["good", "fair", "poor"].into_iter().enumerate() {
                let place = place as f64;
                let wobble = image as f64 / 100.0;
                rows.push(row(image, method, "energy", 0.9 - 0.2 * place + wobble));
                rows.push(row(image, method, "deletion", 0.1 + 0.2 * place + wobble));
                rows.push(row(image, method, "insertion", 0.1 + 0.2 * place + wobble));
                rows.push(row(image, method, "drop", if image % 2 == 0 { place } else { -place }));
            }
        }
        Rows { rows, damaged: Vec::new() }
    }

    #[test]
    fn a_metric_that_orders_as_the_truth_has_one_and_its_reverse_minus_one() {
        let audit = Audit::new(&rows(), "energy").unwrap();
        assert_eq!((audit.methods, audit.images), (3, 8));
        let names: Vec<&str> = audit.lines.iter().map(|line| line.metric.as_str()).collect();
        assert_eq!(names, ["deletion", "drop", "insertion"]);
        let [deletion, drop, insertion] = &audit.lines[..] else { panic!("three lines") };
        assert_eq!((deletion.per_image.mean, deletion.of_means.mean, deletion.of_means.low), (1.0, 1.0, 1.0));
        assert_eq!((insertion.per_image.mean, insertion.of_means.high), (-1.0, -1.0));
        assert_eq!(drop.per_image.mean, 0.0);
        assert!(drop.per_image.low < 0.0 && drop.per_image.high > 0.0, "{drop:?}");
    }

    #[test]
    fn every_format_names_the_metrics() {
        let audit = Audit::new(&rows(), "energy").unwrap();
        for format in [Format::Text, Format::Markdown, Format::Csv, Format::Latex, Format::Json] {
            let text = audit.write(format);
            assert!(text.contains("deletion") && text.ends_with('\n'), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_audited_is_refused() {
        let error = |rows: &Rows, truth: &str| Audit::new(rows, truth).unwrap_err().to_string();
        assert!(error(&rows(), "enrgy").contains("`energy`"));
        let mut two = rows();
        two.rows.retain(|row| row.method != "poor");
        assert!(error(&two, "energy").contains("at least three methods"));
        assert!(error(&Rows::default(), "energy").contains("no image"));
    }
}
