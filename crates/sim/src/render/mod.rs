//! Renders images of a scene with the painter's algorithm: polygons, the farthest first.

mod backdrop;
mod ids;
mod light;
mod shapes;
mod solid;

use lookout_schema::{BBox, Size};
use tiny_skia::{Color, FillRule, Paint, PathBuilder, Pixmap, Transform};

use self::{ids::Ids, light::Light, solid::Polygon};
use crate::{
    Actor, FrameTruth, ObjectTruth, RenderedFrame, Scene, View, Weather,
    camera::NEAR,
    random::Random,
    truth::{MIN_PIXELS, MIN_SIZE, MIN_VISIBLE},
};

/// Renders the frames of one camera of a scene.
#[derive(Debug)]
pub struct Renderer {
    scene: Scene,
    camera: usize,
    weather: Weather,
    canvas: Canvas,
    chance: Random,
}

/// The render target: colors, and the actor that each pixel shows.
#[derive(Debug)]
pub(crate) struct Canvas {
    pixels: Pixmap,
    ids: Ids,
    light: Light,
}

/// A solid object of the scene.
struct Thing {
    /// Index of the scene's actor; `None` for objects that are not annotated.
    actor: Option<usize>,
    far: f64,
    polygons: Vec<Polygon>,
}

impl Renderer {
    /// Creates a renderer for the scene's camera `camera`. Returns `None` if the image has no pixels or is too large
    /// for memory.
    pub fn new(scene: Scene, camera: usize, size: Size, weather: Weather) -> Option<Self> {
        let pixels = Pixmap::new(size.width, size.height)?;
        let canvas = Canvas { pixels, ids: Ids::new(size), light: Light::new(weather) };
        let chance = scene.chance.of("picture", camera as i64);
        Some(Self { scene, camera, weather, canvas, chance })
    }

    /// Renders frame `n`, at `at_s` seconds from the start, and returns it with its ground truth.
    pub fn frame(&mut self, n: u64, at_s: f64) -> (RenderedFrame, FrameTruth) {
        let size = self.size();
        let view = self.scene.camera(self.camera, at_s).view(size);
        let actors = self.scene.actors(at_s);
        self.canvas.ids.clear();
        backdrop::draw(&self.scene, &view, at_s, &mut self.canvas);
        let mut things: Vec<Thing> = backdrop::fixtures(&self.scene, at_s)
            .into_iter()
            .map(|(at, polygons)| Thing { actor: None, far: far(&view, at), polygons })
            .collect();
        for (i, actor) in actors.iter().enumerate() {
            let polygons = shapes::polygons(actor, &view);
            things.push(Thing { actor: Some(i), far: far(&view, actor.at), polygons });
        }
        things.retain(|thing| thing.far < SIGHT_M);
        things.sort_by(|a, b| b.far.total_cmp(&a.far));
        let mut whole = vec![0; actors.len()];
        for thing in &things {
            if let Some(i) = thing.actor {
                self.canvas.shadow(&actors[i], &view);
            }
            let id = thing.actor.map_or(0, |i| i as u16 + 1);
            let drawn: u32 = thing.polygons.iter().map(|polygon| self.canvas.fill(polygon, &view, id)).sum();
            if let Some(i) = thing.actor {
                whole[i] = drawn;
            }
        }
        let truth = self.truth(n, at_s, &view, (&actors, &whole));
        let mut frame = self.canvas.rendered_frame();
        self.weather.spoil(&mut frame, self.chance, n);
        (frame, truth)
    }

    fn size(&self) -> Size {
        Size { width: self.canvas.pixels.width(), height: self.canvas.pixels.height() }
    }

    fn truth(&self, n: u64, at_s: f64, view: &View, (actors, whole): (&[Actor], &[u32])) -> FrameTruth {
        let own = self.scene.camera_velocity(at_s);
        let extents = self.canvas.ids.extents(actors.len());
        let objects = actors.iter().zip(whole).zip(extents).filter_map(|((actor, whole), extent)| {
            let extent = extent?;
            let visible = (extent.pixels as f32 / (*whole).max(1) as f32).min(1.0);
            let bbox: BBox = extent.bbox();
            let (distance, closing) = shapes::distance(actor, view, own);
            let [width, height] = MIN_SIZE;
            let small = extent.pixels < MIN_PIXELS || bbox.x2 - bbox.x1 < width || bbox.y2 - bbox.y1 < height;
            Some(ObjectTruth {
                track: actor.id,
                class_id: actor.kind.class_id(),
                label: actor.kind.label().into(),
                bbox,
                visible,
                ignore: small || visible < MIN_VISIBLE,
                distance_m: distance as f32,
                closing_speed_m_s: closing as f32,
                ttc_s: (closing > 0.1 && distance > 0.0).then(|| (distance / closing) as f32),
            })
        });
        FrameTruth { frame: n, at_s, size: self.size(), objects: objects.collect() }
    }
}

/// Maximum distance at which objects are drawn, in meters.
const SIGHT_M: f64 = 150.0;

fn far(view: &View, at: [f64; 2]) -> f64 {
    let eye = view.position();
    (at[0] - eye[0]).hypot(at[1] - eye[1])
}

impl Canvas {
    /// Fills a polygon if it faces the camera, and returns the number of pixels whose id became `id`.
    pub(crate) fn fill(&mut self, polygon: &Polygon, view: &View, id: u16) -> u32 {
        let local: Vec<[f64; 3]> = polygon.points.iter().map(|point| view.local(*point)).collect();
        if polygon.one_sided && !solid::faces(&local) {
            return 0;
        }
        let visible = solid::clip(&local, NEAR);
        if visible.len() < 3 {
            return 0;
        }
        let mean = visible.iter().map(|point| point[2]).sum::<f64>() / visible.len() as f64;
        let points: Vec<[f32; 2]> = visible.iter().map(|point| view.project(*point)).collect();
        let color = self.light.on(polygon.color, polygon.normal, mean);
        self.paint(&points, color, polygon.opacity);
        if polygon.opacity < 1.0 { 0 } else { self.ids.fill(&points, id) }
    }

    fn paint(&mut self, points: &[[f32; 2]], [r, g, b]: [u8; 3], opacity: f32) {
        let mut path = PathBuilder::new();
        for (i, [x, y]) in points.iter().enumerate() {
            // Coordinates far outside the image are clamped.
            let (x, y) = (x.clamp(-20_000.0, 20_000.0), y.clamp(-20_000.0, 20_000.0));
            if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
        }
        path.close();
        let Some(path) = path.finish() else { return };
        let mut paint = Paint { anti_alias: true, ..Paint::default() };
        paint.set_color(Color::from_rgba8(r, g, b, (opacity * 255.0) as u8));
        self.pixels.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
    }

    /// Draws the shadow on the ground under an actor.
    fn shadow(&mut self, actor: &Actor, view: &View) {
        for (grown, opacity) in [(1.15, 0.25), (0.95, 0.35)] {
            self.fill(&shapes::footprint(actor, grown, opacity), view, 0);
        }
    }

    fn rendered_frame(&self) -> RenderedFrame {
        let size = Size { width: self.pixels.width(), height: self.pixels.height() };
        let rgb = self.pixels.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
        RenderedFrame { size, rgb }
    }
}
