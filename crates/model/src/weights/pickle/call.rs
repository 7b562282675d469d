//! Replacements for the function calls in a pickle: the few functions that rebuild dicts and tensors, and
//! functions whose results do not matter here.

use tch::Kind;

use super::{
    machine::Machine,
    value::{Global, Object, QUANTIZED, StorageRef, TensorSpec, Value},
};
use crate::weights::FormatError;

/// Maximum number of dimensions of a tensor. It also bounds how much a file can have copied for each of its
/// tensors.
const MAX_DIMS: usize = 16;

impl<'a> Machine<'a, '_> {
    /// Returns the value that stands for the result of `function(*arguments)`. No Python code is run.
    pub(super) fn call(
        &mut self,
        function: Value<'a>,
        arguments: Value<'a>,
    ) -> Result<Value<'a>, FormatError> {
        let Value::Global(function) = function else {
            return Err(self.malformed("something that is not a function is called"));
        };
        let Some(arguments) = self.parts(arguments) else {
            return Err(self.malformed("a call's arguments are not a tuple"));
        };
        match (function, arguments) {
            (Global::Dict, []) => Ok(self.add(Object::Dict(Vec::new()))),
            (Global::Dict, &[items]) => self.dict_of(items),
            (Global::RebuildTensor, &[storage, offset, size, stride, ..]) => {
                let metadata = arguments.get(6).copied();
                self.tensor([storage, offset, size, stride], metadata)
            }
            // Returns the tensor itself: whether it is a parameter does not matter for a state dict.
            (Global::RebuildParameter, &[tensor, ..]) => Ok(tensor),
            (Global::RebuildFromType, &[function, Value::Global(kind), arguments, _]) => {
                let known = matches!(kind, Global::Tensor | Global::RebuildParameter);
                // A nested call of the same function is rejected, which bounds the recursion depth.
                if !known || function == Value::Global(Global::RebuildFromType) {
                    return Err(self.malformed("a tensor is rebuilt as another type"));
                }
                self.call(function, arguments)
            }
            (Global::Size, &[size]) => Ok(size),
            (Global::Size, []) => Ok(Value::Other),
            (Global::Unreadable(what), _) => Ok(Value::Unreadable(what)),
            (Global::Inert, _) => Ok(Value::Other),
            _ => Err(self.malformed("a known function is called with unknown arguments")),
        }
    }

    /// Returns a dict from a dict, or from a list of pairs, as Python 2 wrote the items of an OrderedDict.
    fn dict_of(&mut self, pairs: Value<'a>) -> Result<Value<'a>, FormatError> {
        if let Some(Object::Dict(_)) = self.objects_at(pairs) {
            return Ok(pairs);
        }
        // Counted before the copy, because the same list may be converted many times.
        self.spend(self.parts(pairs).map_or(0, <[_]>::len))?;
        let items = self.parts(pairs).and_then(|pairs| {
            pairs
                .iter()
                .map(
                    |pair| {
                        if let Some(&[key, value]) = self.parts(*pair) { Some((key, value)) } else { None }
                    },
                )
                .collect()
        });
        match items {
            Some(items) => Ok(self.add(Object::Dict(items))),
            None => Err(self.malformed("an OrderedDict's items are not a list of pairs")),
        }
    }

    fn tensor(
        &mut self,
        [storage, offset, size, stride]: [Value<'a>; 4],
        metadata: Option<Value<'a>>,
    ) -> Result<Value<'a>, FormatError> {
        // The metadata marks a complex tensor as a conjugate view, or a tensor as a negative view.
        let plain = match metadata {
            None | Some(Value::None) => true,
            Some(metadata) => {
                matches!(self.objects_at(metadata), Some(Object::Dict(items)) if items.is_empty())
            }
        };
        if !plain {
            return Ok(Value::Unreadable("a tensor that is a conjugate or negative view"));
        }
        let Some(&Object::Storage(storage)) = self.objects_at(storage) else {
            return Err(self.malformed("a tensor has no storage"));
        };
        match storage.kind {
            Kind::ComplexFloat | Kind::ComplexDouble => {
                return Ok(Value::Unreadable("a tensor of complex numbers"));
            }
            Kind::QInt8 | Kind::QUInt8 | Kind::QInt32 => return Ok(Value::Unreadable(QUANTIZED)),
            _ => {}
        }
        let Value::Int(offset) = offset else {
            return Err(self.malformed("a tensor's offset is not an integer"));
        };
        let (size, stride) = (self.ints(size)?, self.ints(stride)?);
        self.spend(size.len() + stride.len())?;
        Ok(self.add(Object::Tensor(Box::new(TensorSpec { storage, offset, size, stride }))))
    }

    fn ints(&self, value: Value<'a>) -> Result<Vec<i64>, FormatError> {
        let parts = self.parts(value).filter(|parts| parts.len() <= MAX_DIMS);
        let ints = parts.and_then(|parts| {
            parts.iter().map(|part| if let Value::Int(int) = part { Some(*int) } else { None }).collect()
        });
        ints.ok_or_else(|| self.malformed("a tensor's size or stride is not a short tuple of integers"))
    }

    /// Parses a persistent id: `("storage", type, key, device, elements)`. In the format from before torch 1.6,
    /// a sixth part follows that is None or the view `(key, offset, elements)`.
    pub(super) fn storage(&self, id: Value<'a>) -> Result<StorageRef<'a>, FormatError> {
        let (kind, key, numel, view): (Kind, _, _, _) = match self.parts(id) {
            Some(
                &[
                    Value::Text("storage"),
                    Value::Global(Global::Storage(kind)),
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(numel),
                    ref view @ ..,
                ],
            ) => (kind, key, numel, view),
            _ => return Err(self.malformed("a storage is not described as torch does it")),
        };
        let count = |int: i64| {
            u64::try_from(int).map_err(|_| self.malformed("a storage's number of elements is negative"))
        };
        let numel = count(numel)?;
        let (view_offset, view_numel) = match view {
            [] | [Value::None] => (0, numel),
            [view] => match self.parts(*view) {
                Some(&[Value::Text(_), Value::Int(offset), Value::Int(numel)]) => {
                    (count(offset)?, count(numel)?)
                }
                _ => return Err(self.malformed("a view of a storage is not described as torch does it")),
            },
            _ => return Err(self.malformed("a storage is not described as torch does it")),
        };
        if view_offset.checked_add(view_numel).is_none_or(|end| end > numel) {
            return Err(self.malformed("a view of a storage reaches past its end"));
        }
        Ok(StorageRef { key, kind, numel, view_offset, view_numel })
    }
}
