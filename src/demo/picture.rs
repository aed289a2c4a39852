//! The live picture of the gallery: a comet on its way around the sun, drawn by the application as a BMP; pure.
//!
//! The format (Windows 3, 8 bits a pixel, rows from below) is the plainest that every browser shows in an `<img>`.

use std::f64::consts::TAU;

const WIDTH: usize = 240;
const HEIGHT: usize = 135;
/// Pictures of one orbit.
const STEPS: u64 = 48;
/// Half axes of the orbit, and how far the sun is off its middle.
const LONG: f64 = 96.0;
const SHORT: f64 = 44.0;
const OFF: f64 = 85.3;

const SKY: u8 = 0;
const TRACK: u8 = 1;
const SUN: u8 = 2;
const TAIL: u8 = 3;
const HEAD: u8 = 4;
/// Blue, green, red and a zero of each.
const COLOURS: [[u8; 4]; 5] =
    [[0x20, 0x0e, 0x0b, 0], [0x60, 0x31, 0x2b, 0], [0x54, 0xb4, 0xff, 0], [0xcb, 0xab, 0xa6, 0], [0xff; 4]];

/// The picture with this number.
pub(super) fn comet(number: u64) -> Vec<u8> {
    let mut canvas = Canvas { pixels: vec![SKY; WIDTH * HEIGHT] };
    for step in 0..720 {
        let (x, y) = on_orbit(f64::from(step) / 720.0 * TAU);
        canvas.dot(x, y, 0.4, TRACK);
    }
    canvas.dot(OFF, 0.0, 8.0, SUN);
    let (x, y) = on_orbit(anomaly((number % STEPS) as f64 / STEPS as f64 * TAU));
    let distance = (x - OFF).hypot(y);
    // The nearer to the sun, the longer the tail, and always away from it.
    let length = (2200.0 / distance).min(70.0);
    for step in 0..60 {
        let far = f64::from(step) / 60.0;
        let at = |here: f64, sun: f64| here + (here - sun) / distance * length * far;
        canvas.dot(at(x, OFF), at(y, 0.0), 1.8 * (1.0 - far), TAIL);
    }
    canvas.dot(x, y, 2.6, HEAD);
    canvas.bitmap()
}

fn on_orbit(eccentric: f64) -> (f64, f64) {
    (LONG * eccentric.cos(), SHORT * eccentric.sin())
}

/// Kepler's equation: fast near the sun, slow far from it.
fn anomaly(mean: f64) -> f64 {
    let eccentricity = OFF / LONG;
    let step = |e: f64| e - (e - eccentricity * e.sin() - mean) / (1.0 - eccentricity * e.cos());
    (0..12).fold(std::f64::consts::PI, |e, _| step(e))
}

struct Canvas {
    pixels: Vec<u8>,
}

impl Canvas {
    /// A disc, in coordinates from the middle.
    fn dot(&mut self, x: f64, y: f64, radius: f64, colour: u8) {
        let (x, y) = (x + WIDTH as f64 / 2.0, y + HEIGHT as f64 / 2.0);
        let near = |middle: f64| (middle - radius).round() as i64..=(middle + radius).round() as i64;
        for row in near(y).filter(|row| (0..HEIGHT as i64).contains(row)) {
            for column in near(x).filter(|column| (0..WIDTH as i64).contains(column)) {
                if (column as f64 - x).hypot(row as f64 - y) <= radius.max(0.75) {
                    self.pixels[row as usize * WIDTH + column as usize] = colour;
                }
            }
        }
    }

    fn bitmap(self) -> Vec<u8> {
        const HEADS: usize = 14 + 40 + COLOURS.len() * 4;
        // Each row of a bitmap fills whole words.
        const _: () = assert!(WIDTH.is_multiple_of(4));
        let word = |number: usize| (number as u32).to_le_bytes();
        let mut bytes = b"BM".to_vec();
        for number in [HEADS + WIDTH * HEIGHT, 0, HEADS, 40, WIDTH, HEIGHT] {
            bytes.extend(word(number));
        }
        // One plane, 8 bits a pixel, no compression.
        bytes.extend([1, 0, 8, 0]);
        for number in [0, WIDTH * HEIGHT, 0, 0, COLOURS.len(), 0] {
            bytes.extend(word(number));
        }
        bytes.extend(COLOURS.as_flattened());
        self.pixels.chunks(WIDTH).rev().for_each(|row| bytes.extend(row));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_bitmap_and_the_comet_moves() {
        let (first, second) = (comet(0), comet(1));
        let size = u32::from_le_bytes(first[2..6].try_into().unwrap()) as usize;
        let pixels = u32::from_le_bytes(first[10..14].try_into().unwrap()) as usize;
        assert_eq!((size, size - pixels), (first.len(), WIDTH * HEIGHT));
        assert!(first[pixels..].iter().all(|pixel| usize::from(*pixel) < COLOURS.len()));
        assert_ne!(first, second);
        assert_eq!(first, comet(STEPS));
    }
}
