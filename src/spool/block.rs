//! The memory of a spool: blocks of one size, each counted for as long as anyone has it.
//!
//! Pieces are copied into blocks: a piece keeps the buffer alive that it was read into, which may be many times
//! larger, and then nobody knew how much memory waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Kind;
use super::budget::{Budget, Charge, Use};

/// Small beside what one body may keep, large beside what it costs to hand one on.
pub(super) const BLOCK_BYTES: usize = 16 * 1024;

/// Up to [`BLOCK_BYTES`].
pub(super) struct Block {
    bytes: Vec<u8>,
    charge: Charge,
}

/// A piece of any size with what it counts.
pub(super) struct Carried {
    piece: Bytes,
    _charge: Charge,
}

/// Blocks one behind the other.
#[derive(Default)]
pub(super) struct Run {
    blocks: VecDeque<Block>,
    bytes: usize,
}

impl Block {
    fn new(budget: &Arc<Budget>, kind: Kind, purpose: Use) -> Block {
        let charge = budget.charge(kind, purpose, BLOCK_BYTES);
        Block { bytes: Vec::with_capacity(BLOCK_BYTES), charge }
    }

    /// Filled to this length with zeros, to be read into.
    pub(super) fn zeroed(budget: &Arc<Budget>, kind: Kind, length: usize) -> Block {
        let mut block = Block::new(budget, kind, Use::Staying);
        block.bytes.resize(length.min(BLOCK_BYTES), 0);
        block
    }

    /// Takes as much as fits; what doesn't is left.
    fn fill(&mut self, data: &mut &[u8]) {
        let (fits, rest) = data.split_at(data.len().min(BLOCK_BYTES - self.bytes.len()));
        self.bytes.extend_from_slice(fits);
        *data = rest;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// It stays from now on.
    pub(super) fn stay(&mut self) {
        self.charge.turn_to(Use::Staying);
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Carried {
    pub(super) fn new(piece: Bytes, charge: Charge) -> Carried {
        Carried { piece, _charge: charge }
    }
}

impl AsRef<[u8]> for Carried {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies a piece to the end.
    pub(super) fn append(&mut self, mut data: &[u8], budget: &Arc<Budget>, kind: Kind, purpose: Use) {
        self.bytes += data.len();
        if let Some(last) = self.blocks.back_mut() {
            last.fill(&mut data);
        }
        while !data.is_empty() {
            let mut block = Block::new(budget, kind, purpose);
            block.fill(&mut data);
            self.blocks.push_back(block);
        }
    }

    pub(super) fn push(&mut self, block: Block) {
        self.bytes += block.bytes.len();
        self.blocks.push_back(block);
    }

    pub(super) fn pop(&mut self) -> Option<Block> {
        let block = self.blocks.pop_front()?;
        self.bytes -= block.bytes.len();
        Some(block)
    }

    pub(super) fn pop_last(&mut self) -> Option<Block> {
        let block = self.blocks.pop_back()?;
        self.bytes -= block.bytes.len();
        Some(block)
    }

    /// Puts a block back before all others.
    pub(super) fn push_first(&mut self, block: Block) {
        self.bytes += block.bytes.len();
        self.blocks.push_front(block);
    }

    /// What all of it is for from now on.
    pub(super) fn turn_to(&mut self, purpose: Use) {
        self.blocks.iter_mut().for_each(|block| block.charge.turn_to(purpose));
    }

    /// Puts another run behind this one.
    pub(super) fn extend(&mut self, other: Run) {
        self.bytes += other.bytes;
        self.blocks.extend(other.blocks);
    }

    /// The blocks as pieces that can be shared.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.blocks.into_iter().map(Bytes::from_owner)
    }
}
