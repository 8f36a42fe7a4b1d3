//! Counts the rows of a Parquet file, and says what is wrong with one that is damaged.

use faithful_parquet::{Cells, Field, Kind, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = Writer::new(Vec::new(), vec![Field::new("cycle", Kind::Double, true)], &[])?;
    writer.write(&[Cells::Numbers((1..=200).map(|cycle| Some(f64::from(cycle))).collect())])?;
    let whole = writer.finish()?;
    for (name, bytes) in [("whole.parquet", whole.clone()), ("cut.parquet", whole[..whole.len() / 2].to_vec())] {
        let mut found = 0;
        let about = faithful_parquet::read(name, &bytes.into(), |rows| {
            found += rows.count;
            Ok(())
        });
        match about {
            Ok(about) => println!("{name}: {found} rows of {} columns", about.fields.len()),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
