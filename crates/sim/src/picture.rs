//! A rendered image.

use lookout_schema::Size;

/// An image: RGB, 8 bits per channel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub size: Size,
    pub rgb: Vec<u8>,
}
