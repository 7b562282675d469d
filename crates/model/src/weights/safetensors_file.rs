//! The `.safetensors` format: <https://huggingface.co/docs/safetensors>.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, io,
    path::Path,
};

use safetensors::{Dtype, SafeTensors, View};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use tch::{Kind, Tensor};

use super::{
    FormatError, StateDict, WeightsError, eight_bit,
    names::{Named, cleaned},
    pickle::Cursor,
};

/// The dtypes that both safetensors and libtorch have, in pairs.
const TYPES: [(Dtype, Kind); 10] = [
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::I16, Kind::Int16),
    (Dtype::I8, Kind::Int8),
    (Dtype::U8, Kind::Uint8),
    (Dtype::BOOL, Kind::Bool),
];

/// Returns whether the file starts like a safetensors file: the header's length, then a JSON object.
pub(super) fn is_safetensors(file: &[u8]) -> bool {
    file.get(8) == Some(&b'{')
}

pub(super) fn read(file: &[u8]) -> Result<Named<Tensor>, FormatError> {
    let parsed = SafeTensors::deserialize(file).map_err(|error| match cut_off(file) {
        true => FormatError::CutOff { bytes: file.len() },
        false => error.into(),
    })?;
    refuse_duplicates(file)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in parsed.iter() {
        let kind = TYPES.iter().find(|(dtype, _)| *dtype == view.dtype()).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| FormatError::tensor(name, "Lookout does not support its dtype"))?;
        let size: Result<Vec<i64>, _> = view.shape().iter().map(|size| i64::try_from(*size)).collect();
        let size = size.map_err(|_| FormatError::tensor(name, "it has too many elements"))?;
        if kind == Kind::Bool && view.data().iter().any(|byte| *byte > 1) {
            return Err(FormatError::tensor(name, "a bool is neither 0 nor 1"));
        }
        tensors.insert(name.to_owned(), Tensor::f_from_data_size(view.data(), &size, kind)?);
    }
    if tensors.is_empty() {
        return Err(FormatError::NoTensors { found: "no names".to_owned() });
    }
    eight_bit::expand(&mut tensors)?;
    Ok(cleaned(tensors))
}

/// Returns whether the file is shorter than its header, or the tensors that the header lists, require.
fn cut_off(file: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Place {
        data_offsets: Option<[u64; 2]>,
    }
    let Some((length, rest)) = file.split_first_chunk() else { return true };
    let length = u64::from_le_bytes(*length);
    // The safetensors crate accepts no larger header. A larger length means that the file has another format.
    if length > 100_000_000 {
        return false;
    }
    let Some((header, data)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length))
    else {
        return true;
    };
    let places: Option<BTreeMap<String, Place>> = serde_json::from_slice(header).ok();
    let ends = places.iter().flatten().filter_map(|(_, place)| place.data_offsets.map(|[_, end]| end));
    ends.max().is_some_and(|end| end > data.len() as u64)
}

/// Returns an error if two tensors have the same name. The safetensors crate would silently use the last one,
/// which may not be the intended one.
fn refuse_duplicates(file: &[u8]) -> Result<(), FormatError> {
    struct Names(Option<String>);

    impl<'de> Visitor<'de> for &mut Names {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut seen = BTreeSet::new();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if seen.contains(&name) {
                    self.0 = Some(name);
                    return Err(A::Error::custom("a name is used twice"));
                }
                seen.insert(name);
            }
            Ok(())
        }
    }

    let mut cursor = Cursor::new(file);
    let length = u64::from_le_bytes(cursor.array()?);
    let mut names = Names(None);
    let parsed = serde_json::Deserializer::from_slice(cursor.take(length)?).deserialize_map(&mut names);
    match (parsed, names.0) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(name)) => Err(FormatError::duplicate(&name)),
        (Err(error), None) => Err(FormatError::malformed(error.to_string())),
    }
}

/// A tensor in the form in which it is written to a file.
struct Laid {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Laid {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl StateDict {
    /// Writes the tensors as `.safetensors`, with the digest of the file that they were read from as `source`
    /// in its metadata. The file is written atomically and replaces an existing one.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or a tensor has a dtype that the format lacks.
    pub fn write_safetensors(&self, path: &Path) -> Result<(), WeightsError> {
        let failed = |source| WeightsError::Write { path: path.to_owned(), source };
        let laid: Result<Vec<_>, FormatError> =
            self.tensors.iter().map(|(name, tensor)| Ok((name, laid(tensor)?))).collect();
        let laid = laid.map_err(io::Error::other).map_err(failed)?;
        // Only one entry: the crate writes metadata in no fixed order, and equal tensors should give a file
        // with an equal digest.
        let about = HashMap::from([("source".to_owned(), self.digest.clone())]);
        let views = laid.iter().map(|(name, laid)| (name, laid));
        let bytes = safetensors::serialize(views, Some(about)).map_err(io::Error::other).map_err(failed)?;
        let part = super::part::Part::beside(path).map_err(failed)?;
        part.write_all(&bytes).and_then(|()| part.keep()).map_err(failed)
    }
}

fn laid(tensor: &Tensor) -> Result<Laid, FormatError> {
    let dtype = TYPES.iter().find(|(_, kind)| *kind == tensor.kind()).map(|(dtype, _)| *dtype);
    let dtype = dtype
        .ok_or(FormatError::Unsupported { what: "a tensor of a dtype that .safetensors does not have" })?;
    let tensor = tensor.f_detach()?.f_to(tch::Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    let shape = tensor.size().iter().map(|size| usize::try_from(*size).unwrap_or_default()).collect();
    Ok(Laid { dtype, shape, bytes })
}
