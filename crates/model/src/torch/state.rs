//! From a pickle to the tensors of a state dictionary.

use super::pickle::{Pickle, Value};
use safetensors::Dtype;
use std::collections::BTreeMap;

/// A tensor as its checkpoint describes it, all numbers in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) storage: String,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The tensors of a checkpoint, and the type of every storage it mentions.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tensors: Vec<Described>,
    pub(super) storages: BTreeMap<String, Dtype>,
}

/// Keys under which training programs put the state dictionary beside other things, in order of preference.
const KEYS: [&str; 6] = ["state_dict", "model_state_dict", "state_dict_ema", "model", "network", "net"];

/// A parameter of a parameter is none; deeper nesting is a mistake.
const NESTING: usize = 4;

/// What is wrong with it, in words.
pub(super) fn describe(pickle: &Pickle) -> Result<State, String> {
    let mut state = State::default();
    // All storages, also of what is not asked for: the older format must skip them.
    for place in 0..pickle.objects.len() {
        if let Some(Persistent { key, dtype, .. }) = persistent(pickle, Value::Object(place))
            && let Some(other) = state.storages.insert(key.clone(), dtype)
            && other != dtype
        {
            return Err(format!("its storage {key} is of two types"));
        }
    }
    let Some(root) = pickle.dictionary(pickle.root) else {
        let reason = match pickle.call(pickle.root) {
            Some((module, name, _)) => format!("it holds a whole object, {module}.{name}"),
            None => "it holds no dictionary".into(),
        };
        return Err(format!("{reason}; save the state dictionary: torch.save(model.state_dict(), …)"));
    };
    state.tensors = tensors(pickle, root)?;
    if state.tensors.is_empty() {
        let inner = KEYS.iter().find_map(|key| {
            let (_, value) = root.iter().find(|(name, _)| pickle.text(*name) == Some(key))?;
            pickle.dictionary(*value)
        });
        state.tensors = inner.map_or_else(|| Ok(Vec::new()), |inner| tensors(pickle, inner))?;
    }
    if state.tensors.is_empty() {
        return Err("there are no tensors in it".into());
    }
    Ok(state)
}

/// The tensors of a dictionary; what is none is left out.
fn tensors(pickle: &Pickle, dictionary: &[(Value, Value)]) -> Result<Vec<Described>, String> {
    let mut found: BTreeMap<&str, Described> = BTreeMap::new();
    for (name, value) in dictionary {
        let Some(name) = pickle.text(*name) else { continue };
        let described = tensor(pickle, name, *value).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        if let Some(described) = described
            && found.insert(name, described).is_some()
        {
            return Err(format!("tensor `{name}` is there twice"));
        }
    }
    Ok(found.into_values().collect())
}

fn tensor(pickle: &Pickle, name: &str, mut value: Value) -> Result<Option<Described>, String> {
    for _ in 0..NESTING {
        let Some((module, function, arguments)) = pickle.call(value) else { return Ok(None) };
        match (module, function, arguments) {
            // storage, offset, shape, strides; then what is of no matter here.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
                let Some(persistent) = persistent(pickle, *storage) else {
                    return Err("its storage is of an unknown kind".into());
                };
                let (shape, strides) = (numbers(pickle, *shape)?, numbers(pickle, *strides)?);
                if shape.len() != strides.len() {
                    return Err(format!("{} strides for {} axes", strides.len(), shape.len()));
                }
                let offset = persistent.offset.checked_add(number(*offset)?).ok_or("its offset is too large")?;
                let (name, storage) = (name.to_owned(), persistent.key);
                return Ok(Some(Described { name, storage, offset, shape, strides }));
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [inner, ..]) => value = *inner,
            ("torch._tensor" | "torch.tensor", "_rebuild_from_type_v2" | "_rebuild_from_type", _) => {
                return Err("it is of a class of its own; save plain tensors".into());
            }
            ("torch._utils", other, _) if other.starts_with("_rebuild") => {
                return Err(format!("{other} is not known; save plain dense tensors"));
            }
            _ => return Ok(None),
        }
    }
    Err("it is nested too deeply".into())
}

struct Persistent {
    key: String,
    dtype: Dtype,
    offset: usize,
}

/// `('storage', type, key, location, length[, view])` of either format; a view is `(key, offset, length)`.
fn persistent(pickle: &Pickle, value: Value) -> Option<Persistent> {
    let super::pickle::Object::Persistent(identifier) = pickle.object(value)? else { return None };
    let [kind, class, key, _location, _length, rest @ ..] = pickle.sequence(*identifier)? else { return None };
    if pickle.text(*kind)? != "storage" {
        return None;
    }
    let super::pickle::Object::Global(_, class) = pickle.object(*class)? else { return None };
    let dtype = match class.as_str() {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    };
    let offset = match rest {
        [view, ..] if *view != Value::None => number(*pickle.sequence(*view)?.get(1)?).ok()?,
        _ => 0,
    };
    Some(Persistent { key: pickle.text(*key)?.to_owned(), dtype, offset })
}

fn number(value: Value) -> Result<usize, String> {
    match value {
        Value::Int(number) => usize::try_from(number).map_err(|_| format!("{number} is no count")),
        _ => Err("a count is no number".into()),
    }
}

fn numbers(pickle: &Pickle, value: Value) -> Result<Vec<usize>, String> {
    // `torch.Size` is a call with the sizes in it.
    let values = match pickle.call(value) {
        Some(("torch", "Size", [inner])) => pickle.sequence(*inner),
        _ => pickle.sequence(value),
    };
    values.ok_or("its shape is no list")?.iter().map(|value| number(*value)).collect()
}
