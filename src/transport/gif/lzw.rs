//! The compression of GIF (GIF89a, appendix F): variable codes of up to 12 bits in blocks of up to 255 bytes.

/// Bits of a pixel: four colours.
const PIXEL_BITS: u32 = 2;
const COLOURS: usize = 1 << PIXEL_BITS;
const CLEAR: u16 = 1 << PIXEL_BITS;
const END: u16 = CLEAR + 1;
/// Codes that decoders have room for.
const CODES: usize = 4096;
const BLOCK: usize = 255;

/// Appends the image data of these pixels, each below four, from the size of the smallest code to the last block.
pub(super) fn compress(pixels: &[u8], out: &mut Vec<u8>) {
    out.push(PIXEL_BITS as u8);
    let mut bits = Bits { out, waiting: 0, count: 0, block: Vec::with_capacity(BLOCK) };
    let mut table = Table::new();
    bits.put(CLEAR, table.width);
    let mut prefix = None;
    for &pixel in pixels {
        let known = prefix.map_or(Some(u16::from(pixel)), |prefix| table.find(prefix, pixel));
        if let (None, Some(before)) = (known, prefix) {
            bits.put(before, table.width);
            if table.add(before, pixel).is_none() {
                bits.put(CLEAR, table.width);
                table = Table::new();
            }
        }
        prefix = Some(known.unwrap_or(u16::from(pixel)));
    }
    if let Some(last) = prefix {
        bits.put(last, table.width);
        // The decoder adds an entry for it, too, and reads the end by the width that follows.
        table.widen();
    }
    bits.put(END, table.width);
    bits.finish();
}

/// The strings that have codes, as a tree.
struct Table {
    children: Vec<[u16; COLOURS]>,
    width: u32,
}

impl Table {
    fn new() -> Table {
        let mut children = Vec::with_capacity(CODES);
        children.resize(usize::from(END) + 1, [0; COLOURS]);
        Table { children, width: PIXEL_BITS + 1 }
    }

    /// The code of a known string and one pixel more.
    fn find(&self, prefix: u16, pixel: u8) -> Option<u16> {
        Some(self.children[usize::from(prefix)][usize::from(pixel)]).filter(|code| *code != 0)
    }

    /// Gives that string the next code; `None` where there is none left.
    fn add(&mut self, prefix: u16, pixel: u8) -> Option<()> {
        let code = self.children.len();
        if code == CODES {
            return None;
        }
        self.widen();
        self.children[usize::from(prefix)][usize::from(pixel)] = code as u16;
        self.children.push([0; COLOURS]);
        Some(())
    }

    /// The next code is the first that needs another bit.
    fn widen(&mut self) {
        if self.children.len() == 1 << self.width && self.children.len() < CODES {
            self.width += 1;
        }
    }
}

/// Codes on their way into blocks, the lowest bit first.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    waiting: u32,
    count: u32,
    block: Vec<u8>,
}

impl Bits<'_> {
    fn put(&mut self, code: u16, width: u32) {
        self.waiting |= u32::from(code) << self.count;
        self.count += width;
        while self.count >= 8 {
            self.byte();
        }
    }

    fn byte(&mut self) {
        self.block.push(self.waiting as u8);
        self.waiting >>= 8;
        self.count = self.count.saturating_sub(8);
        if self.block.len() == BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        self.out.push(self.block.len() as u8);
        self.out.append(&mut self.block);
    }

    fn finish(mut self) {
        if self.count > 0 {
            self.byte();
        }
        if !self.block.is_empty() {
            self.end_block();
        }
        self.out.push(0);
    }
}
