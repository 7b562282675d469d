//! Writes images of each place with their boxes: `gallery FOLDER`.

#![expect(clippy::print_stderr, reason = "the example prints its progress")]

use std::{env, error::Error, path::Path, time::Instant};

use image::{Rgb, RgbImage};
use lookout_schema::Size;
use lookout_sim::{Place, Renderer, Scene, Weather};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: gallery FOLDER")?;
    let size = Size { width: 640, height: 360 };
    for place in Place::ALL {
        for seed in 0..4 {
            let scene = Scene::new(place, seed);
            let mut renderer = Renderer::new(scene, 0, size, Weather::of(seed))
                .ok_or("cannot render images of this size")?;
            let started = Instant::now();
            let (frame, truth) = renderer.frame(0, 5.0);
            let took = started.elapsed();
            let mut image = RgbImage::from_raw(size.width, size.height, frame.rgb)
                .ok_or("the rendered image is incomplete")?;
            for object in truth.objects.iter().filter(|object| !object.ignore) {
                let b = object.bbox;
                for x in b.x1 as u32..b.x2 as u32 {
                    image.put_pixel(x, b.y1 as u32, Rgb([255, 255, 0]));
                    image.put_pixel(x, b.y2 as u32 - 1, Rgb([255, 255, 0]));
                }
                for y in b.y1 as u32..b.y2 as u32 {
                    image.put_pixel(b.x1 as u32, y, Rgb([255, 255, 0]));
                    image.put_pixel(b.x2 as u32 - 1, y, Rgb([255, 255, 0]));
                }
            }
            let name = format!("{place:?}-{seed}.png");
            image.save(Path::new(&folder).join(&name))?;
            eprintln!("{name}: {} objects, {took:?}", truth.objects.len());
        }
    }
    Ok(())
}
