//! The stack machine that runs a pickle.

use std::collections::HashMap;

use super::{
    Cursor, Pickle,
    value::{Global, Object, Value},
};
use crate::weights::FormatError;

/// Maximum number of values that a pickle may put on the stack, into containers and into the memo, in total. A
/// network of 1,000 tensors needs some 40,000. This bounds the memory to some 200 MB and the time to a second.
const MAX_VALUES: usize = 1 << 21;

/// Reads the pickle at the cursor, and moves the cursor past it.
pub(in crate::weights) fn load<'a>(input: &mut Cursor<'a>) -> Result<Pickle<'a>, FormatError> {
    let mut machine = Machine {
        input,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        spent: 0,
    };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Pickle { root, objects: machine.objects });
        }
    }
}

pub(super) struct Machine<'a, 'c> {
    input: &'c mut Cursor<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pub(super) objects: Vec<Object<'a>>,
    spent: usize,
}

impl<'a> Machine<'a, '_> {
    /// Runs one instruction. Returns the root value when the pickle ends.
    fn step(&mut self) -> Result<Option<Value<'a>>, FormatError> {
        self.spend(1)?;
        let at = self.input.at();
        match self.input.byte()? {
            b'.' => return self.pop().map(Some),
            // PROTO, FRAME: protocol version and frame length, which do not matter here.
            0x80 => drop(self.input.byte()?),
            0x95 => drop(self.input.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => {
                let int = i32::from_le_bytes(self.input.array()?);
                self.stack.push(Value::Int(int.into()));
            }
            b'K' => {
                let int = self.input.byte()?;
                self.stack.push(Value::Int(int.into()));
            }
            b'M' => {
                let int = u16::from_le_bytes(self.input.array()?);
                self.stack.push(Value::Int(int.into()));
            }
            0x8a => self.long()?,
            // LONG4: an integer of more than 255 bytes.
            0x8b => {
                let count = u32::from_le_bytes(self.input.array()?);
                self.other(count.into())?;
            }
            b'G' => {
                self.input.array::<8>()?;
                self.stack.push(Value::Other);
            }
            b'U' | 0x8c => {
                let count = self.input.byte()?;
                self.text(count.into())?;
            }
            b'T' | b'X' => {
                let count = u32::from_le_bytes(self.input.array()?);
                self.text(count.into())?;
            }
            0x8d => {
                let count = u64::from_le_bytes(self.input.array()?);
                self.text(count)?;
            }
            b'C' => {
                let count = self.input.byte()?;
                self.other(count.into())?;
            }
            b'B' => {
                let count = u32::from_le_bytes(self.input.array()?);
                self.other(count.into())?;
            }
            // BINBYTES8, BYTEARRAY8.
            0x8e | 0x96 => {
                let count = u64::from_le_bytes(self.input.array()?);
                self.other(count)?;
            }
            // EMPTY_SET, ADDITEMS, FROZENSET: a set cannot hold a tensor with a name.
            0x8f => self.stack.push(Value::Other),
            0x90 => {
                self.pop_to_mark()?;
                if self.top()? != Value::Other {
                    return Err(self.malformed("items are added to a value that is not a set"));
                }
            }
            0x91 => {
                self.pop_to_mark()?;
                self.stack.push(Value::Other);
            }
            b']' => self.make(Object::List(Vec::new())),
            b'}' => self.make(Object::Dict(Vec::new())),
            b')' => self.make(Object::Tuple(Vec::new())),
            0x85 => self.short_tuple(1)?,
            0x86 => self.short_tuple(2)?,
            0x87 => self.short_tuple(3)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.make(Object::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            b'q' => {
                let key = self.input.byte()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.input.array()?);
                self.remember(key)?;
            }
            0x94 => self.remember(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
            b'h' => {
                let key = self.input.byte()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.input.array()?);
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.stack.push(Value::Global(Global::named(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(FormatError::pickle(at, "a global's name is not a string"));
                };
                self.stack.push(Value::Global(Global::named(module, name)?));
            }
            // REDUCE calls a function, NEWOBJ a class.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = self.call(function, arguments)?;
                self.stack.push(result);
            }
            b'b' => {
                // BUILD sets attributes of a dict or tensor, where torch stores the versions of the modules.
                // They are ignored.
                self.pop()?;
                let top = self.top()?;
                let plain = matches!(top, Value::Other | Value::Unreadable(_));
                if !plain && !matches!(self.objects_at(top), Some(Object::Dict(_) | Object::Tensor(_))) {
                    return Err(self.malformed("attributes are set on a value that is not a dict or tensor"));
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.make(Object::Storage(storage));
            }
            code => {
                return Err(FormatError::Opcode { code, at });
            }
        }
        Ok(None)
    }

    pub(super) fn malformed(&self, what: &'static str) -> FormatError {
        FormatError::pickle(self.input.at(), what)
    }

    /// Counts values before they are stored, so that small files cannot use much memory.
    pub(super) fn spend(&mut self, values: usize) -> Result<(), FormatError> {
        self.spent = self.spent.saturating_add(values);
        if self.spent > MAX_VALUES { Err(FormatError::TooManyValues { limit: MAX_VALUES }) } else { Ok(()) }
    }

    pub(super) fn objects_at(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    /// Returns the parts of a list or tuple.
    pub(super) fn parts(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.objects_at(value)? {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn add(&mut self, object: Object<'a>) -> Value<'a> {
        self.objects.push(object);
        Value::Object(self.objects.len() - 1)
    }

    fn make(&mut self, object: Object<'a>) {
        let value = self.add(object);
        self.stack.push(value);
    }

    /// Returns the height of the stack at the last open mark, below which no value may be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, FormatError> {
        let top = self.stack.get(self.floor()..).and_then(<[_]>::last);
        top.copied().ok_or_else(|| self.malformed("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Value<'a>, FormatError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, FormatError> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed("the stack has no mark"))?;
        let count = self.stack.len().saturating_sub(mark);
        self.spend(count)?;
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn text(&mut self, count: u64) -> Result<(), FormatError> {
        let text = self.input.text(count)?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn other(&mut self, count: u64) -> Result<(), FormatError> {
        self.input.take(count)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    /// LONG1: an integer of up to 255 bytes.
    fn long(&mut self) -> Result<(), FormatError> {
        let count = self.input.byte()?;
        let bytes = self.input.take(count.into())?;
        let value = if bytes.len() <= 8 {
            let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        } else {
            Value::Wide(bytes)
        };
        self.stack.push(value);
        Ok(())
    }

    /// TUPLE1, TUPLE2, TUPLE3.
    fn short_tuple(&mut self, count: usize) -> Result<(), FormatError> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.spend(count)?;
        self.make(Object::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: &[Value<'a>]) -> Result<(), FormatError> {
        let top = self.top()?;
        self.spend(items.len())?;
        match self.object_mut(top) {
            Some(Object::List(list)) => list.extend(items),
            _ => return Err(self.malformed("an item is added to a value that is not a list")),
        }
        Ok(())
    }

    /// Adds the key-value pairs of `items` to the dict on top of the stack.
    fn set(&mut self, items: &[Value<'a>]) -> Result<(), FormatError> {
        let top = self.top()?;
        self.spend(items.len())?;
        if !items.len().is_multiple_of(2) {
            return Err(self.malformed("a dict's key has no value"));
        }
        match self.object_mut(top) {
            Some(Object::Dict(dict)) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err(self.malformed("a key is set in a value that is not a dict")),
        }
        Ok(())
    }

    fn object_mut(&mut self, value: Value<'a>) -> Option<&mut Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get_mut(index),
            _ => None,
        }
    }

    fn remember(&mut self, key: u32) -> Result<(), FormatError> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), FormatError> {
        let value = self.memo.get(&key).copied();
        self.stack.push(value.ok_or_else(|| self.malformed("a memo entry is read that was not written"))?);
        Ok(())
    }
}
