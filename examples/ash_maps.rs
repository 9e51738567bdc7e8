//! cargo run --release --example ash_maps
//!
//! Draws 300 maps of a simulated volcanic ash cloud, and a contact sheet, into the folder given.
//! The workers collect the highest value of each map in a dictionary that they share.

use plotters::{prelude::*, style::register_font};
use runtime::{Dict, Manager, Pool, initializer, worker};
use std::{env, error::Error, fs, time::Instant};

const VOLCANO: (f64, f64) = (-19.6, 63.6);
/// Approximate longitudes and latitudes of some coasts.
const COASTS: &str = "-24 65.5 -22.4 66.4 -21.3 65.4 -18.2 66.1 -16.2 66.5 -13.6 65.1 -18.8 63.4 \
    -22.7 63.8; -5.7 50.1 1.4 51.2 1.7 52.6 0.1 53.6 -2 55.8 -3.2 56 -1.8 57.5 -4 57.6 -3.1 58.6 -5 \
    58.6 -5.6 55.4 -3.3 54.9 -3.1 53.3 -5.2 51.8 -3 51.4; -6.4 52.2 -9.5 51.5 -9 53.2 -10 54.2 -7.3 \
    55.3 -5.5 54.5; 12 58 8.2 58.1 5.6 58.8 5 61.8 12 65.6; 1.6 50 4.6 52.4 8.6 53.9 12 54.3 12 50";

/// The direction towards which the wind blows, in radians from east. It depends on the height and the time.
fn wind(hour: u32, km: u32) -> f64 {
    0.7 - 0.08 * f64::from(km) - 0.025 * f64::from(hour)
}

/// The ash in mg/m³: the volcano emits a puff every hour, which drifts with the wind and grows.
fn ash(hour: u32, km: u32, lon: f64, lat: f64) -> f64 {
    let (speed, now) = (10.0 + 1.5 * f64::from(km), wind(hour, km));
    let puff = |start: u32| {
        let east = lon - VOLCANO.0 - speed * (wind(start, km).sin() - now.sin());
        let north = lat - VOLCANO.1 - speed / 2.0 * (now.cos() - wind(start, km).cos());
        let width = 0.2 + 0.12 * f64::from(hour - start).sqrt();
        (-0.5 * ((east / 2.0).hypot(north) / width).powi(2)).exp() / width.powi(3)
    };
    0.1 * (0..hour.min(40)).map(puff).sum::<f64>()
}

fn color(ash: f64) -> RGBAColor {
    let x = (ash.log10() + 2.0).clamp(0.0, 3.0) / 3.0; // from 0.01 mg/m³, clear, to 10, dark
    HSLColor((1.15 - 0.3 * x).fract(), 0.9, 0.62 - 0.45 * x).mix((x * 3.0).min(0.92))
}

/// Fonts are a setting of the process, so each worker has to register them.
#[initializer]
fn load_font() {
    let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
}

fn draw(file: &str, hour: u32, km: u32) -> Result<(f64, Vec<u8>), Box<dyn Error>> {
    let root = BitMapBackend::new(file, (640, 480)).into_drawing_area();
    root.fill(&RGBColor(228, 238, 246))?;
    let title = format!("Ash at {km} km after {hour} h, 0.01 to 10 mg/m³");
    let mut map = ChartBuilder::on(&root);
    map.caption(title, ("sans-serif", 20)).margin_right(60);
    map.x_label_area_size(30).y_label_area_size(40);
    let mut map = map.build_cartesian_2d(-32.0..12.0, 50.0..67.0)?;
    for coast in COASTS.split(';') {
        let numbers: Vec<f64> = coast.split_whitespace().flat_map(str::parse).collect();
        let points: Vec<_> = numbers.chunks(2).map(|at| (at[0], at[1])).collect();
        map.draw_series([Polygon::new(points, RGBColor(190, 196, 172))])?;
    }
    let mut most: f64 = 0.0;
    for cell in 0..160 * 120 {
        let lon = f64::from(cell % 160) * 44.0 / 160.0 - 32.0;
        let lat = f64::from(cell / 160) * 17.0 / 120.0 + 50.0;
        let corners = [(lon, lat), (lon + 0.275, lat + 0.142)];
        let ash = ash(hour, km, lon, lat);
        most = most.max(ash);
        map.draw_series([Rectangle::new(corners, color(ash).filled())])?;
    }
    map.configure_mesh().light_line_style(TRANSPARENT).draw()?;
    map.draw_series([Circle::new(VOLCANO, 5, RED.filled())])?;
    for y in 0..360 {
        let color = color(10_f64.powf(f64::from(y) / 120.0 - 2.0));
        root.draw(&PathElement::new([(600, 420 - y), (620, 420 - y)], color))?;
    }
    root.present()?;
    Ok((most, image::open(file)?.thumbnail(128, 96).into_rgb8().into_raw()))
}

#[worker]
fn draw_map(peaks: Dict<String, f64>, folder: &str, hour: u32, km: u32) -> Result<Vec<u8>, String> {
    let file = format!("{folder}/{km:02}km_{hour:02}h.png");
    let (most, thumbnail) = draw(&file, hour, km).map_err(|error| format!("{file}: {error}"))?;
    peaks.insert(file, most).map_err(|error| error.to_string())?;
    Ok(thumbnail)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).unwrap_or("target/ash_maps".into());
    fs::create_dir_all(&folder)?;
    let manager = Manager::start()?;
    let peaks = manager.dict::<String, f64>()?;
    let maps = (0..300).map(|n| (peaks.clone(), folder.as_str(), 3 + n % 25 * 3, 12 - n / 25));
    let pool = Pool::builder().initializer(load_font, ()).build()?;
    let begin = Instant::now();
    let file = format!("{folder}/contact_sheet.png");
    let sheet = BitMapBackend::new(&file, (25 * 128, 12 * 96)).into_drawing_area();
    let places = sheet.split_evenly((12, 25));
    for (index, thumbnail) in pool.imap_unordered(draw_map, maps) {
        let image = BitMapElement::with_owned_buffer((0, 0), (128, 96), thumbnail??);
        places[index].draw(&image.ok_or("not a thumbnail")?)?;
    }
    sheet.present()?;
    println!("300 maps in {:.1?}, see {file}", begin.elapsed());
    let peaks = peaks.snapshot()?;
    let highest = peaks.iter().max_by(|a, b| a.1.total_cmp(b.1)).ok_or("no maps")?;
    println!("the highest of {} peaks is {:.1} mg/m³, in {}", peaks.len(), highest.1, highest.0);
    Ok(())
}
