//! Creates, adds and links GStreamer elements.

use gst::prelude::*;
use gstreamer as gst;

use crate::Fault;

pub(crate) fn make(name: &'static str) -> Result<gst::Element, Fault> {
    gst::ElementFactory::make(name).build().map_err(|error| Fault::element(name, &error))
}

pub(crate) fn put(pipeline: &gst::Pipeline, element: &gst::Element) -> Result<(), Fault> {
    pipeline.add(element).map_err(|error| Fault::element(&element.name(), &error))
}

pub(crate) fn link(from: &gst::Element, to: &gst::Element) -> Result<(), Fault> {
    from.link(to).map_err(|error| Fault::element(&from.name(), &error))
}
