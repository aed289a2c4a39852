//! Takes the chunks off a request's body, and finds where the next head begins (RFC 9112 §7.1).
//!
//! Every freedom that two decoders use differently is refused: bare line ends, blanks after the size, more than sixteen
//! digits, control bytes in extensions and trailers, folded trailers. Trailers are checked and dropped: nothing that a
//! client says there may count (RFC 9110 §6.5.1).

use super::request_line::is_token_byte;

/// Bytes of all extensions of one body.
const EXTENSION_BYTES_MAX: usize = 16 * 1024 - 2;
/// Bytes of the trailer section, the empty line that ends it left out.
const TRAILER_BYTES_MAX: usize = 16 * 1024 - 2;
/// Fields of the trailer section.
const TRAILER_FIELDS_MAX: usize = 100;
/// Digits of a chunk's size: all that 64 bits need, so that no size wraps.
const SIZE_DIGITS_MAX: u8 = 16;

/// The place in a chunked body that has been reached.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
    /// Size of the chunk being announced, then what is left of its data.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailer_fields: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the size, after this many digits.
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the first byte of a trailer or of the empty line.
    Line,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    #[default]
    Start,
    End,
}

impl Chunks {
    /// Puts the data of the next bytes behind those before. Gives how many of them belong to the body: all, unless it
    /// ends among them.
    ///
    /// # Errors
    /// They are not chunked coding, for this reason.
    pub(super) fn decode(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.place == Place::Data {
                let rest = &bytes[at..];
                let count = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                data.extend_from_slice(&rest[..count]);
                self.take(count);
                at += count;
                continue;
            }
            self.place = self.step(byte)?;
            at += 1;
            if self.is_over() {
                break;
            }
        }
        Ok(at)
    }

    /// Whether the end of the body was reached.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    fn take(&mut self, count: usize) {
        self.left -= count as u64;
        if self.left == 0 {
            self.place = Place::DataCr;
        }
    }

    fn step(&mut self, byte: u8) -> Result<Place, &'static str> {
        match (self.place, byte) {
            (Place::Start, _) => self.size_digit(0, byte),
            (Place::Size(_), b';') => Ok(Place::Extension),
            (Place::Size(_) | Place::Extension, b'\r') => Ok(Place::SizeLf),
            (Place::Size(digits), _) => self.size_digit(digits, byte),
            (Place::Extension, _) => self.extension_byte(byte),
            (Place::SizeLf, b'\n') if self.left == 0 => Ok(Place::Line),
            (Place::SizeLf, b'\n') => Ok(Place::Data),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => Ok(Place::Start),
            (Place::Line, b'\r') => Ok(Place::EndLf),
            (Place::EndLf, b'\n') => Ok(Place::End),
            (Place::Line | Place::TrailerName | Place::TrailerValue | Place::TrailerLf, _) => {
                self.trailer_byte(byte)
            }
            (Place::DataCr | Place::DataLf, _) => Err("chunk longer than its size"),
            (Place::SizeLf | Place::EndLf | Place::Data | Place::End, _) => {
                Err("bad line end in chunked body")
            }
        }
    }

    fn size_digit(&mut self, digits: u8, byte: u8) -> Result<Place, &'static str> {
        let Some(digit) = char::from(byte).to_digit(16) else { return Err("bad chunk size") };
        if digits == SIZE_DIGITS_MAX {
            return Err("chunk size too long");
        }
        self.left = if digits == 0 { 0 } else { self.left << 4 } | u64::from(digit);
        Ok(Place::Size(digits + 1))
    }

    fn extension_byte(&mut self, byte: u8) -> Result<Place, &'static str> {
        self.extension_bytes += 1;
        match byte {
            _ if self.extension_bytes > EXTENSION_BYTES_MAX => Err("chunk extensions too long"),
            byte if is_text(byte) => Ok(Place::Extension),
            _ => Err("bad chunk extension"),
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<Place, &'static str> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err("trailers too long");
        }
        match (self.place, byte) {
            (Place::Line, byte) if is_token_byte(byte) => {
                self.trailer_fields += 1;
                if self.trailer_fields > TRAILER_FIELDS_MAX {
                    Err("too many trailers")
                } else {
                    Ok(Place::TrailerName)
                }
            }
            (Place::TrailerName, b':') => Ok(Place::TrailerValue),
            (Place::TrailerName, byte) if is_token_byte(byte) => Ok(Place::TrailerName),
            (Place::TrailerValue, b'\r') => Ok(Place::TrailerLf),
            (Place::TrailerValue, byte) if is_text(byte) => Ok(Place::TrailerValue),
            (Place::TrailerLf, b'\n') => Ok(Place::Line),
            _ => Err("bad trailer"),
        }
    }
}

/// What a field value may hold: blanks, visible characters and bytes above ASCII (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..)
}
