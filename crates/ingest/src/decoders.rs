//! The video decoders of this GStreamer installation.

use std::fmt;

use gstreamer as gst;

use crate::{
    Fault,
    decoder_policy::order,
    init,
    nvcodec::{self, offered},
};

/// The decoder that is used for a codec with `decoder = "auto"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    /// Name of the codec, such as `H.264`.
    pub codec: &'static str,
    /// Name of the GStreamer element, such as `avdec_h264`.
    pub element: String,
    pub hardware: bool,
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hardware = if self.hardware { ", hardware" } else { "" };
        write!(f, "{} ({}{hardware})", self.codec, self.element)
    }
}

/// The codecs that cameras send, with GStreamer's media types.
const CODECS: [(&str, &str); 5] = [
    ("H.264", "video/x-h264"),
    ("H.265", "video/x-h265"),
    ("MPEG-4", "video/mpeg"),
    ("JPEG", "image/jpeg"),
    ("AV1", "video/x-av1"),
];

/// Returns the decoders for the codecs that cameras send. Codecs without an installed decoder are left out.
///
/// # Errors
/// GStreamer cannot be initialized.
pub fn decoders() -> Result<Vec<Decoder>, Fault> {
    init()?;
    let factories = nvcodec::video_decoders();
    let decoder = |(codec, media_type): (&'static str, &str)| {
        let caps = match media_type {
            "video/mpeg" => gst::Caps::builder(media_type).field("mpegversion", 4).build(),
            _ => gst::Caps::new_empty_simple(media_type),
        };
        let accepts = |factory: &&gst::ElementFactory| factory.can_sink_any_caps(&caps);
        let offers: Vec<_> = factories.iter().filter(accepts).map(offered).collect();
        let first = offers.get(*order(&offers, true).first()?)?;
        Some(Decoder { codec, element: first.name.clone(), hardware: first.is_hardware() })
    };
    Ok(CODECS.into_iter().filter_map(decoder).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_h264_decoder_is_listed() {
        let decoders = decoders().unwrap();
        let h264 = decoders.iter().find(|decoder| decoder.codec == "H.264").unwrap();
        assert!(h264.to_string().contains("264"), "{h264}");
    }
}
