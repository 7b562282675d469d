//! Images in the form of the network's input, in host memory or in the memory of a GPU.

use std::{fmt, sync::Arc};

use lookout_schema::Size;

/// An image in GPU memory: `[height, width, 3]`, RGB. The bytes must be complete when the object is created and must
/// not change while it lives.
pub trait GpuImage: fmt::Debug + Send + Sync {
    /// Returns the CUDA index of the GPU.
    fn device(&self) -> usize;

    /// Returns the start address of the bytes in the GPU's memory.
    fn address(&self) -> u64;

    /// Returns the bytes in host memory, which are copied at the first call.
    fn download(&self) -> &[u8];
}

/// The model's input image: `[height, width, 3]`, RGB, 8 bits, rows without padding, in host memory or in the memory of
/// a GPU.
#[derive(Clone)]
pub struct Pixels {
    size: Size,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Host(Arc<[u8]>),
    Gpu(Arc<dyn GpuImage>),
}

impl Pixels {
    /// Returns an image of `size` from `rgb`, or `None` if the length of `rgb` is not `width * height * 3` bytes.
    pub fn new(size: Size, rgb: impl Into<Arc<[u8]>>) -> Option<Self> {
        let rgb = rgb.into();
        let expected = size.width as usize * size.height as usize * 3;
        (rgb.len() == expected).then_some(Self { size, bytes: Bytes::Host(rgb) })
    }

    /// Returns a black image.
    pub fn black(size: Size) -> Self {
        let bytes = size.width as usize * size.height as usize * 3;
        Self { size, bytes: Bytes::Host(std::iter::repeat_n(0, bytes).collect()) }
    }

    /// Returns an image of `size` in a GPU's memory.
    pub fn on_gpu(size: Size, image: Arc<dyn GpuImage>) -> Self {
        Self { size, bytes: Bytes::Gpu(image) }
    }

    /// Returns the size of the image.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns the bytes in host memory. For an image in a GPU's memory, this is a copy, for which the first call
    /// waits.
    pub fn rgb(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Host(rgb) => rgb,
            Bytes::Gpu(image) => image.download(),
        }
    }

    /// Returns the address of the bytes in the memory of the GPU `device`, or `None` if they are not in its memory.
    pub fn address_on(&self, device: usize) -> Option<u64> {
        match &self.bytes {
            Bytes::Gpu(image) if image.device() == device => Some(image.address()),
            _ => None,
        }
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({}x{})", self.size.width, self.size.height)
    }
}
