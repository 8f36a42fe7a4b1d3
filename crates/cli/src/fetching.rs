//! Fetching, told to the user.

use crate::arguments::FetchArguments;
use crate::output::Output;
use anyhow::{Context, Result, anyhow};
use faithful_fetch::{Event, Fetched, Settings, Store, Trust, item, kept_file, parse_sha256};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The folder of what was fetched.
pub(crate) fn home() -> Result<PathBuf> {
    faithful_model::faithful_home().context("this system names no cache folder; set FAITHFUL_HOME")
}

/// The store as the options and the environment want it.
pub(crate) fn store(arguments: &FetchArguments) -> Result<Store> {
    let mut settings = Settings::from_environment();
    settings.offline |= arguments.offline;
    settings.sha256 = arguments.sha256.as_deref().map(parse_sha256).transpose()?;
    Ok(Store::new(home()?, settings))
}

/// The item `name`, kept as it is: where it lies, and how it came there if it was not there before. What `check` refuses is
/// not kept.
pub(crate) fn keep(
    store: &Store,
    name: &'static str,
    check: &dyn Fn(&Path) -> Result<()>,
    output: &Output,
) -> Result<(PathBuf, Option<Fetched>)> {
    let item = item(name).with_context(|| format!("nothing is called {name}"))?;
    let path = kept_file(&home()?, name).with_context(|| format!("{name} is not kept as it is"))?;
    let turn = store.turn(item, &mut |event| tell(name, event, output))?;
    if path.is_file() && !store.wants_digest() {
        return Ok((path, None));
    }
    let fetched = turn.fetch(&mut |event| tell(name, event, output))?;
    if let Err(error) = check(&fetched.path) {
        let url = fetched.url.clone();
        turn.reject(&fetched)?;
        return Err(error.context(format!("what {url} gave is of no use")));
    }
    turn.accept(&fetched, Some(&path))?;
    Ok((path, Some(fetched)))
}

/// Shows what happens.
pub(crate) fn tell(name: &str, event: Event, output: &Output) {
    match event {
        Event::Waiting => output.note(&format!("another process is fetching {name}; waiting for it")),
        Event::Found(path) => output.note(&format!("{name}: found {path}")),
        Event::Asking(url) => output.note(&format!("{name}: {url}")),
        Event::Started { from, total } => {
            output.start_bytes(total);
            output.advance_to(from as usize);
            if from > 0 {
                output.note(&format!("{name}: going on after {from} bytes"));
            }
        }
        Event::Received(bytes) => output.advance_to(bytes as usize),
        Event::Again { reason, pause } => {
            output.finish();
            output.note(&format!("{name}: {reason}; again in {:.0} s", pause.as_secs_f64().ceil()));
        }
        Event::Next(reason) => {
            output.finish();
            output.note(&format!("{name}: {reason}"));
        }
        Event::Checking => output.finish(),
        _ => {}
    }
}

/// How far the bytes can be trusted, in words.
pub(crate) fn trust(fetched: &Fetched) -> String {
    match fetched.trust {
        Trust::Asked => "its SHA-256 is the one that was asked for".into(),
        Trust::Published => "its SHA-256 is the published one".into(),
        Trust::Digits(count) => format!("its SHA-256 begins with the {count} published digits"),
        Trust::Recorded => "its SHA-256 is what it was before".into(),
        Trust::First => format!("no SHA-256 is published; {} is written down and must stay", fetched.sha256),
    }
}

/// The result for programs.
pub(crate) fn object(name: &str, path: &Path, fetched: Option<&Fetched>) -> Value {
    json!({
        "name": name,
        "file": path.display().to_string(),
        "fetched": fetched.is_some(),
        "url": fetched.map(|fetched| &fetched.url),
        "sha256": fetched.map(|fetched| &fetched.sha256),
        "bytes": fetched.map(|fetched| fetched.bytes),
        "trust": fetched.map(|fetched| format!("{:?}", fetched.trust).to_lowercase()),
    })
}

/// The result for people.
pub(crate) fn line(name: &str, path: &Path, fetched: Option<&Fetched>) -> String {
    let path = path.display();
    match fetched {
        Some(fetched) => format!("{name}: {path} ({})", trust(fetched)),
        None => format!("{name}: {path} (it was here already)"),
    }
}

/// An error of fetching with what else can be done about it.
pub(crate) fn with_way_out(error: anyhow::Error, name: &str) -> anyhow::Error {
    use faithful_fetch::Error;
    match error.downcast_ref::<Error>() {
        Some(Error::Offline { .. } | Error::Unreachable { .. }) => anyhow!(
            "{error}; with a file from elsewhere: `faithful model convert FILE OUT.safetensors`, then \
             `--model {name}:OUT.safetensors`"
        ),
        _ => error,
    }
}
