//! The workbench at the model.
