//! `gif`: an animated GIF that never ends, each message drawn as a frame of it; the chat that needs no script.
//!
//! A frame can't depend on who looks, since it is made once for all: where a message stands follows from its own
//! number in its channel. Lines fill the picture from above and begin anew at the top; the newest one is that above
//! the empty line. Images of a picture must be whole (GIF89a §20), so a message is one block of a fixed size,
//! whatever its length, and what doesn't fit in it is cut.

mod font;
mod lzw;

use super::{Closing, Delivery, MediaType, Opening, Transport, ndjson};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct Gif;

/// Pixels of the picture for one of the font.
const SCALE: usize = 2;
/// A character with the space around it.
const CELL_WIDTH: usize = (font::WIDTH + 1) * SCALE;
const LINE_HEIGHT: usize = (font::HEIGHT + 2) * SCALE;
const COLUMNS: usize = 44;
const WIDTH: usize = COLUMNS * CELL_WIDTH + 2 * SCALE;
/// Lines of one message.
const LINES: usize = 2;
const MESSAGE_HEIGHT: usize = LINES * LINE_HEIGHT + SCALE;
/// Messages in the picture at once, the empty place behind the newest included.
const MESSAGES: usize = 9;
const TITLE_HEIGHT: usize = LINE_HEIGHT + 2 * SCALE;
const HEIGHT: usize = TITLE_HEIGHT + MESSAGES * MESSAGE_HEIGHT;

// Every measure of a picture is written in 16 bits.
const _: () = assert!(WIDTH <= u16::MAX as usize);
const _: () = assert!(HEIGHT <= u16::MAX as usize);

const BACKGROUND: u8 = 0;
const INK: u8 = 1;
const TITLE: u8 = 2;
/// Red, green and blue of each; the last one is not used, since a table has a power of two.
const COLOURS: [[u8; 3]; 4] = [[0x0d, 0x12, 0x20], [0xe8, 0xec, 0xf4], [0xff, 0xa5, 0x4a], [0, 0, 0]];

impl Transport for Gif {
    fn name(&self) -> &'static str {
        "gif"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("image/gif")
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GIF89a");
        out.extend_from_slice(&(WIDTH as u16).to_le_bytes());
        out.extend_from_slice(&(HEIGHT as u16).to_le_bytes());
        // A table of four colours for the whole picture (§18).
        out.extend_from_slice(&[0x91, BACKGROUND, 0]);
        out.extend_from_slice(COLOURS.as_flattened());
        let mut picture = Block::new(0, HEIGHT, BACKGROUND);
        picture.fill(TITLE_HEIGHT, TITLE);
        picture.write(&String::from_utf8_lossy(opening.body), 1, BACKGROUND);
        picture.draw(out);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        let place = (entry.ordinal.saturating_sub(1) % MESSAGES as u64) as usize;
        let last = place + 1 == MESSAGES;
        let height = MESSAGE_HEIGHT * if last { 1 } else { 2 };
        let mut message = Block::new(TITLE_HEIGHT + place * MESSAGE_HEIGHT, height, BACKGROUND);
        message.write(&ndjson::text(&entry.message.data), LINES, INK);
        message.draw(out);
        if last {
            Block::new(TITLE_HEIGHT, MESSAGE_HEIGHT, BACKGROUND).draw(out);
        }
    }

    fn close(&self, _closing: &Closing, out: &mut Vec<u8>) {
        out.push(b';');
    }

    /// A comment (§24).
    fn keep_alive(&self) -> &'static [u8] {
        b"!\xfe\x02hi\x00"
    }

    /// In place of the title.
    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        let count = gap.missing.map_or("some".into(), |missing| missing.to_string());
        let mut title = Block::new(0, TITLE_HEIGHT, TITLE);
        title.write(&format!("missing: {count} of {}", gap.channel), 1, BACKGROUND);
        title.draw(out);
    }
}

/// A part of the picture, over its whole width.
struct Block {
    top: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Block {
    fn new(top: usize, height: usize, colour: u8) -> Block {
        Block { top, height, pixels: vec![colour; WIDTH * height] }
    }

    /// Colours the rows from above.
    fn fill(&mut self, rows: usize, colour: u8) {
        self.pixels[..rows * WIDTH].fill(colour);
    }

    /// Writes so many lines, the first at the top. A line goes on in the next; what is left over is cut.
    fn write(&mut self, text: &str, lines: usize, colour: u8) {
        let (mut column, mut line) = (0, 0);
        for character in text.trim().chars().filter(|character| *character != '\r') {
            let line_end = character == '\n';
            if line_end || column == COLUMNS {
                (column, line) = (0, line + 1);
            }
            if line == lines {
                return;
            }
            if !line_end {
                self.stamp(character, SCALE + column * CELL_WIDTH, 2 * SCALE + line * LINE_HEIGHT, colour);
                column += 1;
            }
        }
    }

    fn stamp(&mut self, character: char, left: usize, top: usize, colour: u8) {
        for (row, bits) in font::glyph(character).into_iter().enumerate() {
            for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                for y in 0..SCALE {
                    let at = (top + row * SCALE + y) * WIDTH + left + column * SCALE;
                    self.pixels[at..at + SCALE].fill(colour);
                }
            }
        }
    }

    /// One frame (§20, §23): stays where it is drawn, shown after the shortest time that browsers know.
    fn draw(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0x21, 0xf9, 4, 0x04, 1, 0, 0, 0, 0x2c, 0, 0]);
        for measure in [self.top, WIDTH, self.height] {
            out.extend_from_slice(&(measure as u16).to_le_bytes());
        }
        out.push(0);
        lzw::compress(&self.pixels, out);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::message::{ChannelName, Data, Epoch, Message, Position, Sequence};
    use crate::transport::NONE;

    fn entry(ordinal: u64, text: &str) -> Entry {
        let channel = ChannelName::parse("news").unwrap();
        let data = Data::Text(bytes::Bytes::copy_from_slice(text.as_bytes()));
        let message = Message::new(channel, data);
        let position = Position { epoch: Epoch(1), sequence: Sequence(ordinal) };
        Entry::new(position, ordinal, Instant::now(), message)
    }

    fn beginning(body: &[u8]) -> Vec<u8> {
        let position = Position { epoch: Epoch(1), sequence: Sequence(0) };
        let opening =
            Opening { body, media_type: None, retry: None, position, gap: false, parameters: &NONE };
        let mut out = Vec::new();
        Gif.open(&opening, &mut out);
        out
    }

    /// The frames as another decoder sees them: top, height, pixels.
    fn frames(bytes: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
        let mut options = ::gif::DecodeOptions::new();
        options.set_color_output(::gif::ColorOutput::Indexed);
        options.check_lzw_end_code(true);
        options.check_frame_consistency(true);
        let mut decoder = options.read_info(bytes).unwrap();
        assert_eq!((decoder.width(), decoder.height()), (WIDTH as u16, HEIGHT as u16));
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!((frame.left, usize::from(frame.width)), (0, WIDTH));
            frames.push((frame.top, frame.height, frame.buffer.to_vec()));
        }
        frames
    }

    fn ink(pixels: &[u8]) -> usize {
        pixels.iter().filter(|pixel| **pixel == INK).count()
    }

    #[test]
    fn each_message_is_a_frame_below_the_one_before() {
        let mut bytes = beginning(b"Chat");
        let count = MESSAGES as u64 + 2;
        (1..=count).for_each(|ordinal| Gif.piece(&entry(ordinal, "Hello, world"), &mut bytes));
        bytes.extend_from_slice(Gif.keep_alive());
        Gif.close(&Closing { retry: None }, &mut bytes);
        let frames = frames(&bytes);
        let tops: Vec<usize> = frames[1..].iter().map(|(top, ..)| usize::from(*top)).collect();
        let mut expected: Vec<usize> =
            (0..count as usize).map(|n| TITLE_HEIGHT + n % MESSAGES * MESSAGE_HEIGHT).collect();
        // The place at the top is emptied when the last one is filled.
        expected.insert(MESSAGES, TITLE_HEIGHT);
        assert_eq!(tops, expected);
        assert_eq!((frames[0].2[0], frames[0].2[TITLE_HEIGHT * WIDTH]), (TITLE, BACKGROUND));
        let inks: Vec<usize> = frames[1..].iter().map(|(.., pixels)| ink(pixels)).collect();
        assert_eq!(inks.iter().filter(|ink| **ink == 0).count(), 1);
    }

    #[test]
    fn whatever_is_published_is_a_whole_frame_of_a_bounded_size() {
        let noise: String = (0..5000u32).map(|n| char::from_u32(33 + n * 7919 % 93).unwrap()).collect();
        for text in ["", "\n\n\n\n", "a\r\nb\r\nc", "\0\u{1}\u{7f}", "語😀é", ";;;\0;", &noise] {
            let mut bytes = beginning(text.as_bytes());
            let begin = bytes.len();
            Gif.piece(&entry(1, text), &mut bytes);
            assert!(bytes.len() - begin < 8 * 1024, "{}", bytes.len() - begin);
            Gif.close(&Closing { retry: None }, &mut bytes);
            assert_eq!(frames(&bytes).len(), 2, "{text:?}");
        }
    }

    #[test]
    fn the_glyph_of_a_character_is_where_it_belongs() {
        let mut block = Block::new(0, LINE_HEIGHT, BACKGROUND);
        block.write(".I", 1, INK);
        let row = &block.pixels[2 * SCALE * WIDTH..][..WIDTH];
        let inked: Vec<usize> = (0..WIDTH).filter(|x| row[*x] == INK).collect();
        let left = SCALE + CELL_WIDTH + SCALE;
        assert_eq!(inked, (left..left + 3 * SCALE).collect::<Vec<_>>());
    }
}
