//! cargo run --release --example image_pipeline [FOLDER]
//!
//! Streams pictures through the workers: a camera delivers raw frames, the workers blur and compress them, and
//! the caller writes them as PNG files, with a contact sheet. The camera is faster than the rest. Its frames are
//! pulled only as far ahead as `look_ahead_bytes` allows, so that memory use does not grow with their number.

use std::cell::Cell;
use std::error::Error;
use std::io::Cursor;
use std::path::PathBuf;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use runtime::{Pool, worker};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
const FRAMES: u32 = 60;
const COLUMNS: u32 = 10;
const SMALL: (u32, u32) = (WIDTH / 8, HEIGHT / 8);

/// Takes a picture: a disc that moves over a coloured plane, with some noise.
fn shoot(frame: u32) -> Vec<u8> {
    let angle = frame as f32 / FRAMES as f32 * std::f32::consts::TAU;
    let centre = (320.0 + 200.0 * angle.cos(), 180.0 + 110.0 * angle.sin());
    let mut noise = frame.wrapping_mul(0x9e37_79b9) | 1;
    let picture = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let grain = (noise % 32) as u8;
        match (x as f32 - centre.0).hypot(y as f32 - centre.1) < 60.0 {
            true => Rgb([220 + grain, 150 + grain, 30]),
            false => Rgb([(x * 160 / WIDTH) as u8 + grain, 60 + grain, (y * 160 / HEIGHT) as u8]),
        }
    });
    picture.into_raw()
}

/// Removes the noise. Returns the frame as PNG, and a small one as pixels.
#[worker]
fn develop(pixels: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
    let raw = RgbImage::from_raw(WIDTH, HEIGHT, pixels.to_vec()).ok_or("a frame is incomplete")?;
    let smooth = imageops::blur(&raw, 1.5);
    let small = imageops::thumbnail(&smooth, SMALL.0, SMALL.1);
    let mut png = Cursor::new(Vec::new());
    smooth.write_to(&mut png, ImageFormat::Png)?;
    Ok((png.into_inner(), small.into_raw()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join("frames");
    std::fs::create_dir_all(&folder)?;

    let pool = Pool::builder().workers(2).build()?;
    let shot = Cell::new(0);
    let camera = (0..FRAMES).map(|frame| {
        shot.set(frame + 1);
        shoot(frame)
    });
    let mut sheet = RgbImage::new(COLUMNS * SMALL.0, FRAMES.div_ceil(COLUMNS) * SMALL.1);
    let (mut bytes, mut ahead) = (0, 0);
    // Eight frames, as far as they are raw.
    let limit = 8 * (WIDTH * HEIGHT * 3) as usize;
    for (frame, outcome) in (0..).zip(pool.task(develop).look_ahead_bytes(limit).imap(camera)) {
        let (png, small) = outcome?;
        ahead = ahead.max(shot.get() - frame);
        bytes += png.len();
        std::fs::write(folder.join(format!("{frame:03}.png")), png)?;
        let small = RgbImage::from_raw(SMALL.0, SMALL.1, small).ok_or("a frame is incomplete")?;
        let (column, row) = (frame % COLUMNS, frame / COLUMNS);
        imageops::replace(&mut sheet, &small, (column * SMALL.0).into(), (row * SMALL.1).into());
    }
    sheet.save(folder.join("sheet.png"))?;
    println!("{FRAMES} frames, {bytes} bytes of PNG in {}", folder.display());
    println!("at most {ahead} frames were ahead of the files");
    Ok(())
}
