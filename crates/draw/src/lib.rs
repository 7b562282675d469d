//! Draws inference results on images, and metrics as plots.

mod canvas;
mod chart;
mod color;
mod confusion_matrix;
mod findings;
mod labels;
mod pen;
mod plot;
mod precision_recall;

pub use chart::INK;
pub use color::of_class;
pub use confusion_matrix::confusion_matrix;
pub use findings::with_findings;
pub use pen::Pen;
pub use plot::{Plot, Series};
pub use precision_recall::precision_recall;
