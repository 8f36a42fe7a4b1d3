//! `faithful model pull` and `convert`.

use crate::arguments::{ConvertArguments, PullArguments};
use crate::failure::{Outcome, Usage};
use crate::fetching;
use crate::files::spare;
use crate::output::Output;
use anyhow::{Context, Result};
use faithful_core::{find_named, remove_left_over, write_atomic};
use faithful_fetch::{CATALOGUE, Fetched, Item, Kind, Store};
use faithful_model::{architecture, convert_weights};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn run(arguments: &PullArguments, output: &Output) -> Result<Outcome> {
    let items = items(&arguments.names)?;
    if arguments.fetch.sha256.is_some() && items.len() > 1 {
        return Err(Usage::from("--sha256 goes with one name".to_owned()).into());
    }
    let store = fetching::store(&arguments.fetch)?;
    let mut failures = 0;
    for item in &items {
        let name = item.name;
        match pull(&store, item, arguments.fetch.sha256.as_deref(), output) {
            Ok((path, fetched)) => {
                output.object(&fetching::object(name, &path, fetched.as_ref()))?;
                output.line(&fetching::line(name, &path, fetched.as_ref()))?;
            }
            Err(error) if items.len() > 1 => {
                output.error(&format!("{:#}", fetching::with_way_out(error, name)));
                failures += 1;
            }
            Err(error) => return Err(fetching::with_way_out(error, name)),
        }
    }
    Ok(Outcome::of_failures(failures))
}

/// The items that are asked for.
fn items(names: &[String]) -> Result<Vec<&'static Item>> {
    let weights: Vec<&'static Item> = CATALOGUE.iter().filter(|item| item.kind == Kind::Weights).collect();
    if names.iter().any(|name| name == "all") {
        return Ok(weights);
    }
    let find = |name: &String| {
        let found = find_named("published model", name, &weights, |item| item.name);
        found.copied().map_err(|error| Usage::with_hint(&error, "`faithful model list` shows what can be fetched"))
    };
    names.iter().map(find).collect()
}

/// The weights of `item`: where they are, and how they came there if they were not there before.
fn pull(
    store: &Store,
    item: &'static Item,
    sha256: Option<&str>,
    output: &Output,
) -> Result<(PathBuf, Option<Fetched>)> {
    let architecture = architecture(item.name)?;
    let folder = fetching::home()?.join("models");
    fs::create_dir_all(&folder).with_context(|| format!("cannot write to `{}`", folder.display()))?;
    remove_left_over(&folder);
    let path = folder.join(format!("{}.safetensors", item.name));
    let tell = &mut |event: faithful_fetch::Event<'_>| fetching::tell(item.name, event, output);
    let turn = store.turn(item, tell)?;
    // Another process may have had its turn just now.
    if path.is_file() && sha256.is_none_or(|sha256| side(&path)["sha256"] == sha256.to_ascii_lowercase()) {
        return Ok((path, None));
    }
    let fetched = turn.fetch(tell)?;
    if let Err(error) = convert_weights(&fetched.path, &path, Some(architecture)) {
        turn.reject(&fetched)?;
        return Err(anyhow::Error::from(error).context(format!("what {} gave is of no use", fetched.url)));
    }
    let mut about = side(&path);
    for (key, value) in
        [("source", json!(fetched.url)), ("sha256", json!(fetched.sha256)), ("about", json!(item.about))]
    {
        about.insert(key.into(), value);
    }
    write_side(&path, &about)?;
    turn.accept(&fetched, None)?;
    Ok((path, Some(fetched)))
}

/// What stands in the JSON beside a model's file; nothing where there is none.
fn side(path: &Path) -> Map<String, Value> {
    let text = fs::read(path.with_extension("json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write_side(path: &Path, about: &Map<String, Value>) -> Result<()> {
    write_atomic(&path.with_extension("json"), &serde_json::to_vec(about)?)?;
    Ok(())
}

pub(crate) fn convert(arguments: &ConvertArguments, output: &Output) -> Result<Outcome> {
    let ConvertArguments { from, to, architecture: name } = arguments;
    if to.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(Usage::from(format!("`{}` should end in .safetensors", to.display())).into());
    }
    let architecture = name.as_deref().map(architecture).transpose()?;
    spare(to, [from.as_path()])?;
    remove_left_over(to.parent().unwrap_or(Path::new("")));
    let converted = convert_weights(from, to, architecture)?;
    output.object(&json!({
        "file": to.display().to_string(), "format": converted.format,
        "tensors": converted.tensors, "bytes": converted.bytes,
    }))?;
    let (tensors, format) = (converted.tensors, converted.format);
    output.line(&format!("{}: {tensors} tensors of {format}", to.display()))?;
    Ok(Outcome::Complete)
}
