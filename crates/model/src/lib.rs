//! Networks, weights, preprocessing and postprocessing on libtorch.
//!
//! The entry point is [`load`], which turns settings into a network that is ready for inference. The networks are
//! written from their papers and use torchvision's parameter names, so that each can be compared with torchvision layer
//! by layer. [`Network`] is a network that can be trained.

pub mod archs;
mod classifier;
mod detection;
mod detector;
mod error;
mod gpu_scaler;
mod graphs;
mod impostor;
mod input;
mod jpeg;
mod kernel;
mod labels;
mod layer;
mod load;
mod misfit;
mod network;
mod norm;
mod picture;
mod picture_file;
mod random;
mod raw;
mod replicas;
mod resnet;
mod second_stage;
mod streams;
mod target;
mod text;
mod torchscript;
pub mod weights;

pub use detection::{
    BoxCoder, DenseHeads, DenseOutputs, DetectionSettings, Detections, DetectorOutputs, FasterRcnnOutputs,
    Pick, ProposalSettings, Proposals, RoiHeads, RpnHeads, decode_distances, encode_distances,
};
pub use error::ModelError;
pub use gpu_scaler::gpu_scaler;
pub use impostor::{IMPOSTOR_BYTES, impostor};
pub use input::stack_pictures;
pub use labels::Labels;
pub use load::{Bare, Loaded, load, load_bare, load_raw, load_stream, planned_input, usual_fit};
pub use network::{Network, Outputs, PreparedClassifier, PreparedDetector, PreparedNetwork, caught};
pub use picture::Picture;
pub use picture_file::{PictureHeader, picture_header, read_picture};
pub use random::random_values;
pub use raw::{RawError, RawInput, RawOutput};
pub use replicas::{LoadStep, Replica, Replicas, load_replicas};
pub use streams::Streams;
pub use target::{Precision, Target, device_memory_used};
pub use text::decoded;
pub use torchscript::{PreparedScript, ScriptBoxes, ScriptError, ScriptOutput};
