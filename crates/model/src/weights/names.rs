//! Where in a checkpoint the state dict lies, and what its tensors are called.

use std::collections::BTreeMap;

use super::{
    FormatError,
    pickle::{Object, Pickle, TensorSpec, Value, shortened},
};

/// Keys under which training scripts keep the state dict, the likelier ones first.
const USUAL_KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// What DataParallel puts before every name.
const PARALLEL: &str = "module.";

/// How deep dicts may lie in one another: it ends a pickle that holds itself.
const MAX_DEPTH: usize = 8;

/// Bytes of a name. It bounds what shared keys of nested dicts can multiply to.
const MAX_NAME: usize = 1024;

/// Values looked at. Dicts that share their parts can hold very many more than the file has; with
/// [`MAX_NAME`] it bounds the names to 64 MiB.
const MAX_VISITS: usize = 1 << 16;

/// The tensors of the state dict in a pickle, by name.
///
/// The state dict is the pickle's dict, or what lies in it under one of [`USUAL_KEYS`]. A dict within
/// it gives its name and a point to the names of its tensors. Where every name begins with `module.`
/// (DataParallel), that is taken off. What is not a tensor is passed over.
pub(super) fn tensors<'p, 'a>(
    pickle: &'p Pickle<'a>,
) -> Result<BTreeMap<String, &'p TensorSpec<'a>>, FormatError> {
    let mut root = pickle.root;
    for _ in 0..MAX_DEPTH {
        match usual(pickle, root) {
            Some(inner) => root = inner,
            None => break,
        }
    }
    let mut walk = Walk { pickle, tensors: BTreeMap::new(), visits: 0 };
    walk.dict(root, "", 0)?;
    if walk.tensors.is_empty() {
        return Err(FormatError::NoTensors { found: keys(pickle, root) });
    }
    if walk.tensors.keys().all(|name| name.len() > PARALLEL.len() && name.starts_with(PARALLEL)) {
        // Names that differ before differ behind the same beginning.
        let tensors = walk.tensors.into_iter();
        return Ok(tensors.map(|(name, tensor)| (name[PARALLEL.len()..].to_owned(), tensor)).collect());
    }
    Ok(walk.tensors)
}

/// The dict under the first of the usual keys that `value` has.
fn usual<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> Option<Value<'a>> {
    let items = pickle.dict(value)?;
    USUAL_KEYS.iter().find_map(|usual| {
        let found =
            items.iter().find(|(key, inner)| *key == Value::Text(usual) && pickle.dict(*inner).is_some());
        found.map(|(_, inner)| *inner)
    })
}

/// What to tell the user about a pickle in which there is no tensor.
fn keys<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> String {
    let Some(items) = pickle.dict(value) else {
        return "no dict".to_owned();
    };
    let names = items.iter().filter_map(|(key, _)| match key {
        Value::Text(key) => Some(format!("`{}`", shortened(key))),
        _ => None,
    });
    let names: Vec<String> = names.take(10).collect();
    if names.is_empty() { "no names".to_owned() } else { names.join(", ") }
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    tensors: BTreeMap<String, &'p TensorSpec<'a>>,
    visits: usize,
}

impl<'a> Walk<'_, 'a> {
    fn dict(&mut self, value: Value<'a>, prefix: &str, depth: usize) -> Result<(), FormatError> {
        let Some(items) = self.pickle.dict(value) else {
            return Ok(());
        };
        for (key, value) in items {
            self.visits += 1;
            if self.visits > MAX_VISITS || depth > MAX_DEPTH {
                return Err(FormatError::malformed(
                    "its dicts hold too many values, or lie too deep in one another",
                ));
            }
            let Value::Text(key) = key else {
                continue;
            };
            match self.pickle.object(*value) {
                Some(Object::Tensor(tensor)) => {
                    let name = joined(prefix, key)?;
                    if self.tensors.insert(name, tensor).is_some() {
                        return Err(FormatError::duplicate(key));
                    }
                }
                Some(Object::Dict(_)) => {
                    self.dict(*value, &format!("{}.", joined(prefix, key)?), depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn joined(prefix: &str, key: &str) -> Result<String, FormatError> {
    let name = format!("{prefix}{key}");
    if name.len() > MAX_NAME {
        return Err(FormatError::malformed("a tensor's name is longer than 1,024 bytes"));
    }
    Ok(name)
}
