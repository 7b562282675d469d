//! The GStreamer elements that decodebin must not use.
//!
//! decodebin starts any element that claims to read the data, and the data comes from untrusted sources. With some
//! elements, the data of one camera could block all other cameras or harm the machine.

use gst::prelude::*;
use gstreamer as gst;

/// Name prefixes of elements that are never started, with the reason as an error message states it.
const REFUSED: [(&str, &str); 8] = [
    // gst-libav's demuxers hold one lock for the whole process while they read. A source that pauses, or a damaged
    // file, blocks every decoder that another camera starts or stops.
    ("avdemux_", "its demuxer blocks all other cameras while it reads"),
    // These connect to any address that the data contains.
    ("hlsdemux", "a playlist can make this machine connect to any address"),
    ("dashdemux", "a playlist can make this machine connect to any address"),
    ("mssdemux", "a playlist can make this machine connect to any address"),
    ("sdpdemux", "a session description can make this machine connect to any address"),
    // A few hundred bytes can describe an image of any size and decoding cost.
    ("rsvgdec", "vector drawings are not decoded"),
    ("openexrdec", "OpenEXR images are not decoded"),
    // Bitmap subtitles would be mistaken for the video.
    (SUBTITLES, "subtitles are not decoded"),
];

const SUBTITLES: &str = "dvdsubdec";

/// Keeps decodebin from choosing the refused elements, by removing their rank.
pub(crate) fn refuse() {
    for (factory, _) in refused() {
        factory.set_rank(gst::Rank::NONE);
    }
}

/// Returns why data of type `caps` is not decoded, if a refused element could have decoded it.
///
/// To be called for types for which decodebin found no element. Returns None for subtitles, which are skipped
/// silently because they accompany a video.
pub(crate) fn reason(caps: &gst::Caps) -> Option<&'static str> {
    let takes =
        |factory: &gst::ElementFactory| factory.name() != SUBTITLES && factory.can_sink_any_caps(caps);
    refused().find(|(factory, _)| takes(factory)).map(|(_, why)| why)
}

fn refused() -> impl Iterator<Item = (gst::ElementFactory, &'static str)> {
    let kinds = gst::ElementFactoryType::DECODABLE;
    let factories = gst::ElementFactory::factories_with_type(kinds, gst::Rank::NONE);
    factories.into_iter().filter_map(|factory| {
        let name = factory.name();
        let (_, why) = REFUSED.into_iter().find(|(refused, _)| name.starts_with(refused))?;
        Some((factory, why))
    })
}

/// Returns the common name of a container or format, derived from its media type.
pub(crate) fn format_name(caps: &gst::Caps) -> String {
    let media_type = caps.structure(0).map_or("unknown", |caps| caps.name().as_str());
    let name = media_type.rsplit('/').next().unwrap_or(media_type);
    ["x-gst-av-", "x-"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_elements_are_not_available_to_decodebin() {
        crate::init().unwrap();
        let decodable = gst::ElementFactoryType::DECODABLE;
        let chosen = gst::ElementFactory::factories_with_type(decodable, gst::Rank::MARGINAL);
        let names: Vec<_> = chosen.iter().map(|factory| factory.name()).collect();
        for (refused, _) in REFUSED {
            assert!(!names.iter().any(|name| name.starts_with(refused)), "{refused}");
        }
        // The decoders of gst-libav remain available.
        assert!(names.iter().any(|name| name.as_str() == "avdec_h264"), "{names:?}");
        assert!(names.iter().any(|name| name.as_str() == crate::gif::NAME));
    }

    #[test]
    fn a_refused_format_is_reported_with_its_reason() {
        crate::init().unwrap();
        let nut = gst::Caps::new_empty_simple("application/x-gst-av-nut");
        assert!(reason(&nut).unwrap().contains("all other cameras"));
        assert_eq!(format_name(&nut), "nut");
        for taken in ["video/quicktime", "subpicture/x-dvd", "video/x-h264"] {
            assert_eq!(reason(&gst::Caps::new_empty_simple(taken)), None, "{taken}");
        }
    }
}
