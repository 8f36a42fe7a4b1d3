//! Lists what can be fetched and how well each file is known, and looks for one of them without asking the network.
//!
//! `cargo run -p faithful-fetch --example what_there_is`

use faithful_fetch::{CATALOGUE, Error, Settings, Store, item};

fn main() -> Result<(), Error> {
    for item in CATALOGUE {
        println!("{}: {}", item.name, item.about);
        for source in item.sources {
            let known = match source.sha256.len() {
                64 => "its SHA-256 is published",
                0 => "its SHA-256 is written down when it is first seen",
                _ => "the first digits of its SHA-256 are published",
            };
            let size = source.bytes.map_or_else(String::new, |bytes| format!("{} MB, ", bytes / 1_000_000));
            println!("    {}: {size}{known}", source.address.file_name());
        }
    }

    let home = std::env::temp_dir().join(format!("faithful-what-there-is-{}", std::process::id()));
    let store = Store::new(home.clone(), Settings { offline: true, ..Settings::default() });
    if let Some(vgg16) = item("vgg16") {
        // No other process works on it until this is dropped.
        let turn = store.turn(vgg16, &mut |_| {})?;
        match turn.fetch(&mut |_| {}) {
            Ok(fetched) => println!("{}", fetched.path.display()),
            Err(error) => println!("{error}"),
        }
    }
    // An empty folder that cannot be removed is no failure.
    let _ = std::fs::remove_dir_all(home);
    Ok(())
}
