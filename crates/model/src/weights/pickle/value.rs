//! What a pickle of tensors can hold.

use tch::Kind;

use crate::weights::FormatError;

/// One value. Containers lie in [`Pickle::objects`], because a pickle may name one twice, or inside
/// itself.
///
/// [`Pickle::objects`]: super::Pickle
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::weights) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits: little-endian, two's complement.
    Wide(&'a [u8]),
    Text(&'a str),
    /// A number with a point or a byte string: neither names nor describes a tensor.
    Other,
    Global(Global),
    Object(usize),
}

/// What a value of several parts is.
#[derive(Debug, Clone)]
pub(in crate::weights) enum Object<'a> {
    List(Vec<Value<'a>>),
    Tuple(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(StorageRef<'a>),
    Tensor(Box<TensorSpec<'a>>),
}

/// A run of elements that lies elsewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::weights) struct StorageRef<'a> {
    pub(in crate::weights) key: &'a str,
    pub(in crate::weights) kind: Kind,
    /// Elements of the whole storage.
    pub(in crate::weights) numel: u64,
    /// Elements into the storage where this view of it begins.
    pub(in crate::weights) view_offset: u64,
    /// Elements of this view of it.
    pub(in crate::weights) view_numel: u64,
}

/// A tensor as a view of a storage. Its numbers are as the file has them: not checked.
#[derive(Debug, Clone)]
pub(in crate::weights) struct TensorSpec<'a> {
    pub(in crate::weights) storage: StorageRef<'a>,
    pub(in crate::weights) offset: i64,
    pub(in crate::weights) size: Vec<i64>,
    pub(in crate::weights) stride: Vec<i64>,
}

/// The Python names that a pickle may use. Each is a word to this reader: nothing of Python runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::weights) enum Global {
    /// `OrderedDict`, and the `Counter` in the state of some learning rate schedules.
    Dict,
    /// `torch._utils._rebuild_tensor` (before 0.4) and `_rebuild_tensor_v2`.
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Kind),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Result<Self, FormatError> {
        let storage = |name| {
            Some(match name {
                "FloatStorage" => Kind::Float,
                "DoubleStorage" => Kind::Double,
                "HalfStorage" => Kind::Half,
                "BFloat16Storage" => Kind::BFloat16,
                "LongStorage" => Kind::Int64,
                "IntStorage" => Kind::Int,
                "ShortStorage" => Kind::Int16,
                "CharStorage" => Kind::Int8,
                "ByteStorage" => Kind::Uint8,
                "BoolStorage" => Kind::Bool,
                _ => return None,
            })
        };
        let unsupported = |what| Err(FormatError::Unsupported { what });
        match (module, name) {
            ("collections", "OrderedDict" | "Counter") => Ok(Self::Dict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") | ("torch.nn.parameter", "Parameter") => {
                Ok(Self::RebuildParameter)
            }
            ("torch", "Size") => Ok(Self::Size),
            ("torch._utils", "_rebuild_qtensor") => unsupported("a quantised tensor"),
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
                unsupported("a sparse tensor")
            }
            ("torch", "QInt8Storage" | "QUInt8Storage" | "QInt32Storage") => {
                unsupported("a quantised tensor")
            }
            ("torch", "ComplexFloatStorage" | "ComplexDoubleStorage") => {
                unsupported("a tensor of complex numbers")
            }
            ("torch._utils", "_rebuild_tensor_v3") => {
                unsupported("a tensor of a type that only newer versions of torch have")
            }
            ("torch", name) => storage(name)
                .map(Self::Storage)
                .ok_or_else(|| FormatError::Global { name: format!("torch.{}", shortened(name)) }),
            _ => Err(FormatError::Global { name: format!("{}.{}", shortened(module), shortened(name)) }),
        }
    }
}

/// At most 100 characters of a name out of a file, in one line.
pub(in crate::weights) fn shortened(name: &str) -> String {
    let mut short: String = name.chars().take(100).flat_map(char::escape_debug).collect();
    if name.chars().nth(100).is_some() {
        short.push('…');
    }
    short
}
