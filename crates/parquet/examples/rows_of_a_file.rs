//! Counts the rows of a Parquet file, and says what is wrong with one that is damaged.

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cycles: ArrayRef = Arc::new((1..=200).map(|cycle| Some(f64::from(cycle))).collect::<Float64Array>());
    let batch = RecordBatch::try_from_iter([("cycle", cycles)])?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    let whole = writer.into_inner()?;
    for (name, bytes) in [("whole.parquet", whole.clone()), ("cut.parquet", whole[..whole.len() / 2].to_vec())] {
        let mut rows = 0;
        let found = faithful_parquet::read(name, &bytes.into(), |batch| {
            rows += batch.num_rows();
            Ok(())
        });
        match found {
            Ok(columns) => println!("{name}: {rows} rows of {} columns", columns.fields().len()),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
