//! The integration tests of `lookout-model`, in one binary that is linked once.

mod detector_at_work;
mod detectors;
mod image_files;
mod plain;
mod resnets;
mod second_stage;
mod state_dicts;
mod torchscript;
mod weights_apply;
mod weights_fetch;
mod weights_files;
mod weights_hostile;
mod weights_wrapped;
mod weights_zip;
