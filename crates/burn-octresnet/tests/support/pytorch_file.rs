//! PyTorch files, written as `torch.save` does, of anything.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// What a program saves.
#[derive(Clone)]
pub enum Saved {
    Int(i32),
    Tensor(Vec<usize>, Vec<f32>),
    Dict(Vec<(String, Saved)>),
}

impl Saved {
    /// A dictionary with one entry.
    pub fn under(self, key: &str) -> Self {
        Self::Dict(vec![(key.into(), self)])
    }
}

/// An archive with these entries under `archive/`.
pub fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in entries {
        archive
            .start_file(format!("archive/{name}"), options)
            .unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The file that `torch.save` writes.
pub fn pth(saved: &Saved) -> Vec<u8> {
    let mut storages = Vec::new();
    let mut pickle = b"\x80\x02".to_vec();
    write(saved, &mut pickle, &mut storages);
    pickle.push(b'.');
    let names: Vec<_> = (0..storages.len())
        .map(|key| format!("data/{key}"))
        .collect();
    let mut entries = vec![("data.pkl", &pickle[..]), ("version", b"3\n")];
    entries.extend(
        names
            .iter()
            .zip(&storages)
            .map(|(name, bytes)| (name.as_str(), &bytes[..])),
    );
    archive(&entries, CompressionMethod::Stored)
}

fn text(text: &str, pickle: &mut Vec<u8>) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn int(value: usize, pickle: &mut Vec<u8>) {
    pickle.push(b'J');
    pickle.extend((value as i32).to_le_bytes());
}

fn ints(values: impl IntoIterator<Item = usize>, pickle: &mut Vec<u8>) {
    pickle.push(b'(');
    values.into_iter().for_each(|value| int(value, pickle));
    pickle.push(b't');
}

fn write(saved: &Saved, pickle: &mut Vec<u8>, storages: &mut Vec<Vec<u8>>) {
    match saved {
        Saved::Int(value) => int(*value as usize, pickle),
        Saved::Dict(entries) => {
            pickle.extend(b"}(");
            for (key, value) in entries {
                text(key, pickle);
                write(value, pickle, storages);
            }
            pickle.push(b'u');
        }
        Saved::Tensor(shape, values) => {
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text("storage", pickle);
            pickle.extend(b"ctorch\nFloatStorage\n");
            text(&storages.len().to_string(), pickle);
            text("cpu", pickle);
            int(values.len(), pickle);
            pickle.extend(b"tQK\x00");
            ints(shape.iter().copied(), pickle);
            let strides = (1..=shape.len()).map(|axis| shape[axis..].iter().product());
            ints(strides, pickle);
            pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
            storages.push(
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            );
        }
    }
}
