use crate::Row;

/// A row with a value.
pub(crate) fn row(image: usize, method: &str, metric: &str, value: f64) -> Row {
    Row {
        image: format!("{image}.jpg"),
        method: method.into(),
        metric: metric.into(),
        value: Some(value),
        error: None,
        class: Some(1),
        probability: Some(0.9),
        layer: None,
        seconds: Some(0.25),
        seed: 0,
        protocol: String::new(),
        version: "0".into(),
        curve: None,
    }
}
