//! Networks, weights, preprocessing and postprocessing on libtorch.
//!
//! The entry point is [`load`], which turns settings into a network that is ready for inference. The networks are
//! written from their papers and use torchvision's parameter names, so that each can be compared with torchvision layer
//! by layer. [`Network`] is a network that can be trained.

pub mod archs;
mod classifier;
mod conv;
mod conv_norm_act;
mod detection;
mod detector;
mod error;
mod gpu_scaler;
mod graphs;
mod image_file;
mod impostor;
mod init;
mod input;
mod jpeg;
mod kernel;
mod labels;
mod libtorch_error;
mod linear;
mod load;
mod max_pool;
mod misfit;
mod network;
mod norm;
mod prepared_conv;
mod random;
mod raw;
mod replica;
mod replicas;
mod resized_image;
mod resnet;
mod resnet_block;
mod script_error;
mod script_inference;
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
pub use image_file::{ImageHeader, image_header, read_image};
pub use impostor::{IMPOSTOR_BYTES, impostor};
pub use input::stack_images;
pub use labels::Labels;
pub use libtorch_error::caught;
pub use load::{Bare, Loaded, load, load_bare, load_raw, load_stream, planned_input, usual_fit};
pub use network::{Network, Outputs, PreparedClassifier, PreparedDetector, PreparedNetwork, resnet50};
pub use random::random_values;
pub use raw::{RawError, RawInput, RawOutput};
pub use replica::Replica;
pub use replicas::{LoadStep, Replicas, load_replicas};
pub use resized_image::ResizedImage;
pub use script_error::ScriptError;
pub use streams::Streams;
pub use target::{Precision, Target, device_memory_used};
pub use text::decoded;
pub use torchscript::{PreparedScript, ScriptBoxes, ScriptOutput};
