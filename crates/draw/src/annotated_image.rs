//! Boxes and labels, and the placement of the labels.

use image::RgbImage;
use lookout_schema::{Classification, Detection, Rect};

use crate::{
    canvas::{fill, frame, inset, overlap, touched},
    color::{ink_on, of_class},
    text::{Line, TextRenderer},
};

/// The image's short side divided by these gives the line width and the font height.
const LINES: f32 = 240.0;
const LETTERS: f32 = 33.0;

/// `USUAL_LETTERS` is the minimum of the normal font height, `MIN_LETTERS` that of the reduced one, in pixels.
const USUAL_LETTERS: f32 = 12.0;
const MIN_LETTERS: f32 = 9.0;

/// Maximum number of characters of a label.
const MAX_CHARACTERS: usize = 120;

/// An image to draw on.
#[derive(Debug)]
pub(crate) struct AnnotatedImage<'p> {
    renderer: &'p TextRenderer,
    image: RgbImage,
    whole: Rect,
    line: u32,
    letters: f32,
}

/// A label with its background.
#[derive(Debug)]
struct Label {
    text: Line,
    class_id: u32,
    area: Rect,
}

impl<'p> AnnotatedImage<'p> {
    pub(crate) fn new(renderer: &'p TextRenderer, image: RgbImage) -> Self {
        let (width, height) = image.dimensions();
        let short = width.min(height) as f32;
        Self {
            renderer,
            image,
            whole: Rect { x: 0, y: 0, width, height },
            line: ((short / LINES).round() as u32).max(1),
            letters: (short / LETTERS).max(USUAL_LETTERS),
        }
    }

    pub(crate) fn into_image(self) -> RgbImage {
        self.image
    }

    /// Draws detections, sorted by descending score. Their boxes are scaled by `factor`. All boxes are drawn before all
    /// labels, and those with the highest score are drawn last, on top.
    pub(crate) fn detections(&mut self, detections: &[Detection], factor: f32) {
        let areas = detections.iter().map(|found| {
            let corners: [f32; 4] = found.bbox.into();
            touched(corners.map(|corner| corner * factor).into(), self.whole)
        });
        let areas: Vec<Rect> = areas.collect();
        // A border in a contrasting color makes the line visible on a background of its own color.
        let rim = self.line / 3;
        for (found, area) in detections.iter().zip(&areas).rev() {
            let color = of_class(found.class_id);
            frame(&mut self.image, *area, self.line + 2 * rim, ink_on(color));
            frame(&mut self.image, inset(*area, rim), self.line, color);
        }
        let mut plates: Vec<Label> = Vec::new();
        for (found, area) in detections.iter().zip(&areas) {
            let Some((text, [width, height])) = self.label(&found.label, found.score) else { continue };
            let area = self.place([width, height], *area, &plates);
            plates.push(Label { text, class_id: found.class_id, area });
        }
        plates.iter().rev().for_each(|plate| self.plate(plate));
    }

    /// Lists classes, sorted by descending score, in the upper left corner, as many as fit.
    pub(crate) fn classes(&mut self, classes: &[Classification]) {
        let mut y = 0;
        for class in classes {
            let Some((text, [width, height])) = self.label(&class.label, class.score) else { continue };
            if y + height > self.whole.height {
                break;
            }
            let area = Rect { x: 0, y, width, height };
            self.plate(&Label { text, class_id: class.class_id, area });
            y += height;
        }
    }

    fn plate(&mut self, plate: &Label) {
        let color = of_class(plate.class_id);
        fill(&mut self.image, plate.area, color);
        let at = [plate.area.x + self.margin(), plate.area.y];
        self.renderer.write(&mut self.image, &plate.text, at, ink_on(color));
    }

    /// Returns the margin at the left and the right of a label, in pixels.
    fn margin(&self) -> u32 {
        (self.letters / 4.0).round() as u32
    }

    /// Lays out a label and returns it with the width and height of its background. To fit into the image, the font is
    /// reduced first, then the name is truncated. Returns `None` if not even the score fits.
    fn label(&self, name: &str, score: f32) -> Option<(Line, [u32; 2])> {
        let name: Vec<char> = name.chars().take(MAX_CHARACTERS).collect();
        let of = |shown: usize| {
            let cut = if shown < name.len() { "…" } else { "" };
            format!("{}{cut} {score:.2}", name[..shown].iter().collect::<String>())
        };
        let margins = 2 * self.margin();
        let fits = |text: &str, letters: f32| {
            let line = self.renderer.set(text, letters);
            let size = [line.width + margins, line.height];
            (size[0] <= self.whole.width && size[1] <= self.whole.height).then_some((line, size))
        };
        let usual = of(name.len());
        let small = MIN_LETTERS.max(self.letters / 2.0);
        fits(&usual, self.letters)
            .or_else(|| fits(&usual, small))
            .or_else(|| (0..name.len()).rev().find_map(|shown| fits(&of(shown), small)))
            .or_else(|| fits(&format!("{score:.2}"), MIN_LETTERS))
    }

    /// Returns the position of the label of `area`: above, else inside, else below it, wherever no other label is, and
    /// always within the image.
    fn place(&self, [width, height]: [u32; 2], area: Rect, plates: &[Label]) -> Rect {
        let x = area.x.min(self.whole.width.saturating_sub(width));
        let lowest = self.whole.height.saturating_sub(height);
        let bottom = area.y + area.height;
        let rows = [area.y.checked_sub(height), Some(area.y), Some(bottom), bottom.checked_sub(height)];
        let mut places =
            rows.into_iter().flatten().filter(|y| *y <= lowest).map(|y| Rect { x, y, width, height });
        let free = |place: &Rect| !plates.iter().any(|plate| overlap(plate.area, *place));
        let first = places.clone().next();
        let anywhere = Rect { x, y: area.y.min(lowest), width, height };
        places.find(free).or(first).unwrap_or(anywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(renderer: &TextRenderer, width: u32, height: u32) -> AnnotatedImage<'_> {
        AnnotatedImage::new(renderer, RgbImage::new(width, height))
    }

    #[test]
    fn places_labels_above_or_inside_the_box_and_within_the_image() {
        let renderer = TextRenderer::new();
        let annotated = annotated(&renderer, 320, 240);
        let place = |x, y, width, height| annotated.place([80, 14], Rect { x, y, width, height }, &[]);
        assert_eq!(place(50, 100, 20, 20), Rect { x: 50, y: 86, width: 80, height: 14 });
        assert_eq!(place(300, 5, 20, 200), Rect { x: 240, y: 5, width: 80, height: 14 });
        assert_eq!(place(0, 0, 320, 240).y, 0);
        assert_eq!(annotated.place([80, 240], Rect { x: 0, y: 230, width: 5, height: 10 }, &[]).y, 0);
    }

    #[test]
    fn labels_of_overlapping_boxes_do_not_overlap() {
        let renderer = TextRenderer::new();
        let annotated = annotated(&renderer, 320, 240);
        let area = Rect { x: 50, y: 100, width: 60, height: 60 };
        let mut plates = Vec::new();
        for _ in 0..4 {
            let place = annotated.place([80, 14], area, &plates);
            assert!(!plates.iter().any(|plate: &Label| overlap(plate.area, place)), "{place:?}");
            plates.push(Label { text: renderer.set("", 12.0), class_id: 0, area: place });
        }
        assert_eq!(annotated.place([80, 14], area, &plates).y, 86);
    }

    #[test]
    fn shrinks_then_truncates_long_labels() {
        let renderer = TextRenderer::new();
        let annotated = annotated(&renderer, 160, 120);
        let (_, [short, usual]) = annotated.label("person", 0.5).unwrap();
        let (_, [long, small]) = annotated.label("somebody on a motorcycle", 0.5).unwrap();
        assert!(short < long && long <= 160 && small < usual);
        let (_, [cut, _]) = annotated.label(&"motorcycle ".repeat(1000), 0.5).unwrap();
        assert!(cut <= 160 && cut > 140, "{cut}");
        assert!(AnnotatedImage::new(&renderer, RgbImage::new(5, 160)).label("person", 0.5).is_none());
    }
}
