//! Draws inference results on images, and metrics as plots.

mod canvas;
mod chart;
mod color;
mod findings;
mod labels;
mod pen;
mod plot;

pub use chart::{Chart, GROUND, INK, LETTERS};
pub use color::of_class;
pub use findings::with_findings;
pub use pen::Pen;
pub use plot::{Plot, Series};
