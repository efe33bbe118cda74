//! What a picture costs in memory, however its file lies. A binary of its own, since it counts all
//! that is allocated.

#[path = "support/memory.rs"]
mod memory;

use std::fs;
use std::path::Path;

use burn_image_folder::decode_rgb_bytes;

/// What a file may cost beside 16 bytes a pixel: a decoder's tables, a header's fields.
const BESIDE: usize = 17 << 20;

#[test]
fn no_file_takes_more_than_its_pixels_are_worth() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus");
    let mut files: Vec<_> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut most = (0, String::new());
    for file in files.iter().filter(|path| path.is_file()) {
        let bytes = fs::read(file).unwrap();
        memory::allow(usize::MAX);
        let decoded = decode_rgb_bytes(&bytes);
        let taken = memory::peak();
        let pixels = decoded.map_or(0, |image| image.as_raw().len() / 3);
        let name = name(file);
        assert!(
            taken <= BESIDE + 2 * bytes.len() + 16 * pixels,
            "{name}: {taken} bytes for {pixels} pixels"
        );
        most = most.max((taken, name));
    }
    assert!(files.len() >= 150);
    println!("at most {} bytes, for {}", most.0, most.1);
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into()
}
