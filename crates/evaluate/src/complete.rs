use crate::{Row, Rows};
use faithful_core::{Error, Result};
use faithful_metric::{Direction, Metric};
use std::collections::{BTreeMap, BTreeSet};

/// The values of the images that have one for every method and metric, so that all means are over the same ones.
pub(crate) struct Complete<'a> {
    /// Those named in the order that was asked for first, the others by name.
    pub(crate) methods: Vec<&'a str>,
    /// In the registry's order.
    pub(crate) metrics: Vec<&'a str>,
    /// By name.
    pub(crate) images: Vec<&'a str>,
    /// Rows with a value.
    pub(crate) rows: Vec<&'a Row>,
    by_key: BTreeMap<(&'a str, &'a str, &'a str), f64>,
}

impl<'a> Complete<'a> {
    /// # Errors
    /// [`Error::Format`] where no image is complete.
    pub(crate) fn of(rows: &'a Rows, order: &[String]) -> Result<Self> {
        let rows: Vec<&Row> = rows.rows.iter().filter(|row| row.value.is_some() && !row.method.is_empty()).collect();
        let mut methods = names(&rows, |row| &row.method);
        methods.sort_by_key(|method| order.iter().position(|name| name == method).unwrap_or(usize::MAX));
        let mut metrics = names(&rows, |row| &row.metric);
        metrics.sort_by_key(|metric| place(metric));
        let by_key: BTreeMap<_, f64> = rows.iter().filter_map(|row| Some((row.key(), row.value?))).collect();
        let has =
            |image: &str, method: &str| metrics.iter().all(|metric| by_key.contains_key(&(image, method, *metric)));
        let mut images = names(&rows, |row| &row.image);
        images.retain(|image| methods.iter().all(|method| has(image, method)));
        if images.is_empty() {
            return Err(Error::format("the run", "no image has a value for every method and metric yet"));
        }
        Ok(Self { methods, metrics, images, rows, by_key })
    }

    /// A value per image.
    pub(crate) fn column(&self, method: &str, metric: &str) -> Vec<f64> {
        self.images.iter().map(|image| self.by_key[&(*image, method, metric)]).collect()
    }

    /// A value per image, the higher the better.
    pub(crate) fn merits(&self, method: &str, metric: &str) -> Vec<f64> {
        let sign = if direction(metric) == Direction::Higher { 1.0 } else { -1.0 };
        self.column(method, metric).into_iter().map(|value| sign * value).collect()
    }
}

fn names<'a>(rows: &[&'a Row], of: impl Fn(&'a Row) -> &'a String) -> Vec<&'a str> {
    rows.iter().map(|row| of(row).as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

pub(crate) fn direction(metric: &str) -> Direction {
    Metric::parse(metric).map_or(Direction::Higher, |metric| metric.info.direction)
}

/// A metric's place in the registry, so that tables keep its order and not the alphabet's.
fn place(metric: &str) -> usize {
    let base = metric.split('@').next().unwrap_or(metric);
    faithful_metric::METRICS.iter().position(|known| known.name == base).unwrap_or(usize::MAX)
}
