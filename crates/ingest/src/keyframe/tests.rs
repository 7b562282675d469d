use proptest::prelude::*;

use super::*;

const SPS: &[u8] = &[0x67, 1, 2];
const PPS: &[u8] = &[0x68, 3];
const IDR: &[u8] = &[0x65, 0x80, 9];
const DELTA: &[u8] = &[0x41, 0x9a, 9];

fn gate(codec: Codec, layout: Layout) -> Gate {
    Gate { format: Format { codec, layout }, parameter_sets: Vec::new() }
}

fn unit(layout: Layout, units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| layout.written(unit)).collect()
}

#[test]
fn withholds_h264_until_an_idr_frame_and_keeps_preceding_parameter_sets() {
    for layout in [Layout::StartCodes, Layout::Lengths(4), Layout::Lengths(2)] {
        let mut gate = gate(Codec::H264, layout);
        assert_eq!(gate.admit(&unit(layout, &[SPS, PPS, DELTA]), true), Admitted::No { frame: true });
        assert_eq!(gate.admit(&unit(layout, &[DELTA]), true), Admitted::No { frame: true });
        assert_eq!(gate.admit(&unit(layout, &[SPS, PPS]), false), Admitted::No { frame: false });
        let prefix = unit(layout, &[SPS, PPS]);
        // A key frame is recognized even if a demuxer's index marks it as a delta frame.
        assert_eq!(gate.admit(&unit(layout, &[IDR]), true), Admitted::First { prefix, recovery: 0 });
    }
}

#[test]
fn an_intra_frame_that_the_parser_marks_as_key_frame_is_accepted() {
    let layout = Layout::StartCodes;
    let first = gate(Codec::H264, layout).admit(&unit(layout, &[DELTA]), false);
    assert_eq!(first, Admitted::First { prefix: Vec::new(), recovery: 0 });
}

#[test]
fn streams_with_intra_refresh_start_at_a_recovery_point() {
    // recovery_frame_cnt = 24, which has the code 25, in bits `000011001`.
    let sei: &[u8] = &[6, 5, 2, 0xaa, 0xbb, 6, 2, 0b0000_1100, 0b1100_0000, 0x80];
    let layout = Layout::StartCodes;
    let first = gate(Codec::H264, layout).admit(&unit(layout, &[sei, DELTA]), true);
    assert_eq!(first, Admitted::First { prefix: Vec::new(), recovery: 24 });
    // recovery_poc_cnt = 24, which has the code number 47 and the code 48.
    let sei: &[u8] = &[39 << 1, 1, 6, 2, 0b0000_0110, 0b0001_1100, 0x80];
    let delta: &[u8] = &[1 << 1, 1, 0x80];
    let first = gate(Codec::H265, layout).admit(&unit(layout, &[sei, delta]), true);
    assert_eq!(first, Admitted::First { prefix: Vec::new(), recovery: 24 });
}

#[test]
fn h265_starts_at_idr_cra_and_bla_frames() {
    let layout = Layout::StartCodes;
    for kind in 0..32u8 {
        let first = gate(Codec::H265, layout).admit(&unit(layout, &[&[kind << 1, 1, 0x80]]), true);
        assert_eq!(matches!(first, Admitted::First { .. }), (16..=21).contains(&kind), "{kind}");
    }
}

#[test]
fn intra_only_codecs_are_never_withheld() {
    assert_eq!(gate(Codec::Other, Layout::StartCodes).admit(&[1, 2, 3], true), Admitted::Always);
    assert_eq!(gate(Codec::Mpeg4, Layout::StartCodes).admit(&[1, 2, 3], true), Admitted::No { frame: true });
}

#[test]
fn formats_are_read_from_caps() {
    crate::init().unwrap();
    let avc = gst::Buffer::from_slice([1u8, 0x64, 0, 0x1f, 0xfd, 0xe1]);
    let caps =
        gst::Caps::builder("video/x-h264").field("stream-format", "avc").field("codec_data", avc).build();
    assert_eq!(Format::of(&caps), Format { codec: Codec::H264, layout: Layout::Lengths(2) });
    let caps = gst::Caps::builder("video/x-h265").field("stream-format", "byte-stream").build();
    assert_eq!(Format::of(&caps), Format { codec: Codec::H265, layout: Layout::StartCodes });
    let caps = gst::Caps::builder("image/jpeg").build();
    assert_eq!(Format::of(&caps).codec, Codec::Other);
}

#[test]
fn emulation_prevention_is_removed() {
    assert_eq!(without_emulation_prevention(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 1..20),
        h265 in any::<bool>(), size in 0usize..5,
    ) {
        let layout = if size == 0 { Layout::StartCodes } else { Layout::Lengths(size) };
        let mut gate = gate(if h265 { Codec::H265 } else { Codec::H264 }, layout);
        for (bytes, is_delta) in packets {
            let _ = gate.admit(&bytes, is_delta);
        }
    }
}
