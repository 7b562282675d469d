//! The values that a pickle of tensors can hold.

use tch::Kind;

use crate::weights::{FormatError, shortened::shortened};

/// A value. Containers are stored in [`Pickle::objects`] and referred to by index, because a pickle may refer
/// to a container repeatedly, or from inside itself.
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
    /// A value that describes no tensor: a float, a byte string, a set, a device.
    Other,
    /// A tensor of an unsupported kind, with a description of the kind. It is an error only inside the state
    /// dict.
    Unreadable(&'static str),
    Global(Global),
    Object(usize),
}

/// A value with several parts.
#[derive(Debug, Clone)]
pub(in crate::weights) enum Object<'a> {
    List(Vec<Value<'a>>),
    Tuple(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(StorageRef<'a>),
    Tensor(Box<TensorSpec<'a>>),
}

/// A reference to a storage: a sequence of elements elsewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::weights) struct StorageRef<'a> {
    pub(in crate::weights) key: &'a str,
    pub(in crate::weights) kind: Kind,
    /// Number of elements of the whole storage.
    pub(in crate::weights) numel: u64,
    /// Offset in elements at which this view of the storage starts.
    pub(in crate::weights) view_offset: u64,
    /// Number of elements of this view.
    pub(in crate::weights) view_numel: u64,
}

/// A tensor as a view of a storage. Its numbers come from the file unchecked.
#[derive(Debug, Clone)]
pub(in crate::weights) struct TensorSpec<'a> {
    pub(in crate::weights) storage: StorageRef<'a>,
    pub(in crate::weights) offset: i64,
    pub(in crate::weights) size: Vec<i64>,
    pub(in crate::weights) stride: Vec<i64>,
}

/// The Python names that a pickle may use. They are only labels: no Python code runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::weights) enum Global {
    /// `OrderedDict`, and the `Counter` in the state of some learning rate schedules.
    Dict,
    /// `torch._utils._rebuild_tensor` (before 0.4) and `_rebuild_tensor_v2`.
    RebuildTensor,
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a tensor with additional attributes.
    RebuildFromType,
    /// The type `torch.Tensor`.
    Tensor,
    Size,
    Storage(Kind),
    /// A function that builds a tensor of an unsupported kind, with a description of the kind.
    Unreadable(&'static str),
    /// A name other than tensors that torch's `weights_only=True` accepts. The name and the result of calling
    /// it are both represented as [`Value::Other`]: no code runs.
    Inert,
}

/// torch's names of dtypes.
const DTYPES: [&str; 40] = [
    "float",
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "half",
    "double",
    "complex32",
    "complex64",
    "complex128",
    "chalf",
    "cfloat",
    "cdouble",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "short",
    "int",
    "long",
    "bool",
    "qint8",
    "quint8",
    "qint32",
    "quint4x2",
    "quint2x4",
    "bits8",
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e5m2fnuz",
    "float8_e4m3fnuz",
    "float8_e8m0fnu",
];

/// Names of torch's other constants: memory layouts and formats, and quantization schemes.
const NAMED: [&str; 15] = [
    "strided",
    "sparse_coo",
    "sparse_csr",
    "sparse_csc",
    "sparse_bsr",
    "sparse_bsc",
    "_mkldnn",
    "jagged",
    "contiguous_format",
    "channels_last",
    "channels_last_3d",
    "preserve_format",
    "per_tensor_affine",
    "per_channel_affine",
    "per_tensor_symmetric",
];

/// Returns whether a Python name is harmless. It is if `weights_only=True` accepts it and it builds no tensor
/// (`_get_allowed_globals` of torch's `torch/_weights_only_unpickler.py`), or if it is NumPy's for a number or
/// an array, which scripts store beside the state dict, for example as the best score. Protocol 2 uses the
/// names of Python 2.
fn is_inert(module: &str, name: &str) -> bool {
    match module {
        "builtins" | "__builtin__" => {
            matches!(name, "set" | "frozenset" | "bytearray" | "complex" | "bytes" | "slice" | "range")
        }
        "_codecs" => name == "encode",
        "torch" => name == "device" || DTYPES.contains(&name) || NAMED.contains(&name),
        "torch.serialization" | "torch._utils" => name == "_get_layout",
        "torch.torch_version" => name == "TorchVersion",
        "numpy" => matches!(name, "dtype" | "ndarray"),
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        "numpy.core.numeric" | "numpy._core.numeric" => name == "_frombuffer",
        "numpy.dtypes" => name.ends_with("DType"),
        _ => false,
    }
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
                "ComplexFloatStorage" => Kind::ComplexFloat,
                "ComplexDoubleStorage" => Kind::ComplexDouble,
                "QInt8Storage" => Kind::QInt8,
                "QUInt8Storage" => Kind::QUInt8,
                "QInt32Storage" => Kind::QInt32,
                _ => return None,
            })
        };
        match (module, name) {
            ("collections", "OrderedDict" | "Counter") => Ok(Self::Dict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter") => Ok(Self::RebuildParameter),
            ("torch._tensor", "_rebuild_from_type_v2") => Ok(Self::RebuildFromType),
            ("torch", "Tensor") => Ok(Self::Tensor),
            ("torch", "Size") => Ok(Self::Size),
            ("torch._utils", "_rebuild_qtensor") => Ok(Self::Unreadable(QUANTIZED)),
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
                Ok(Self::Unreadable("a sparse tensor"))
            }
            ("torch._utils", "_rebuild_tensor_v3") => {
                Ok(Self::Unreadable("a tensor of a type that only newer versions of torch have"))
            }
            ("torch._utils", "_rebuild_nested_tensor") => Ok(Self::Unreadable("a nested tensor")),
            ("torch._utils", "_rebuild_meta_tensor_no_storage") => {
                Ok(Self::Unreadable("a tensor on the device `meta`, which has no values"))
            }
            (
                "torch._utils",
                "_rebuild_device_tensor_from_numpy" | "_rebuild_device_tensor_from_cpu_tensor",
            ) => Ok(Self::Unreadable(
                "a tensor on a device that torch saves in another format; move it to the CPU first",
            )),
            ("torch._utils", "_rebuild_wrapper_subclass") => Ok(Self::Unreadable("a tensor of a subclass")),
            ("torch.storage", "UntypedStorage") => Ok(Self::Storage(Kind::Uint8)),
            (module, name) if is_inert(module, name) => Ok(Self::Inert),
            ("torch", name) => storage(name)
                .map(Self::Storage)
                .ok_or_else(|| FormatError::Global { name: format!("torch.{}", shortened(name)) }),
            _ => Err(FormatError::Global { name: format!("{}.{}", shortened(module), shortened(name)) }),
        }
    }
}

pub(super) const QUANTIZED: &str = "a quantized tensor";
