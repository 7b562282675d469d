//! A rendered frame.

use lookout_schema::Size;

/// An image: RGB, 8 bits per channel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFrame {
    pub size: Size,
    pub rgb: Vec<u8>,
}
