//! The only `unsafe` of the program: what the libraries lack of the system and of the allocator.

#![allow(unsafe_code)]

/// Gives memory that the calling thread has freed back to the system. Cheap where there is little; meant for
/// threads that have been busy and are quiet now.
///
/// The allocator does this by itself only while it is being used, so that the buffers of a crowd that has arrived
/// would stay for as long as it is held.
pub fn return_unused_memory() {
    // SAFETY: the function may be called on any thread at any time; it touches only what is free.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Takes memory in pages of the usual size only, so that a few kilobytes in use don't hold two megabytes each.
/// To be called before there are threads; a system that can't is left as it is.
pub fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages can't be switched off");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_in_use_survives_the_return_of_what_is_not() {
        let kept: Vec<Vec<u8>> = (0..1000u32).map(|number| vec![number as u8; 1000]).collect();
        drop((0..1000).map(|_| vec![1u8; 10_000]).collect::<Vec<_>>());
        super::return_unused_memory();
        assert!(
            kept.iter().enumerate().all(|(number, bytes)| bytes.iter().all(|byte| *byte == number as u8))
        );
    }
}
