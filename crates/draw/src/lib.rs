//! Draws inference results on images, and metrics as plots.
#![warn(missing_docs)]

mod annotated_image;
mod canvas;
mod chart;
mod color;
mod confusion_matrix;
mod findings;
mod plot;
mod precision_recall;
mod text;

pub use chart::INK;
pub use color::of_class;
pub use confusion_matrix::confusion_matrix;
pub use findings::with_findings;
pub use plot::{Plot, Series};
pub use precision_recall::precision_recall;
pub use text::TextRenderer;
