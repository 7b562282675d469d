//! Helpers that change the boxes of MP4 files.

/// A box, including its header.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: [u8; 4],
    pub(crate) bytes: Vec<u8>,
}

/// Returns the boxes in `bytes` in order.
pub(crate) fn parts(mut bytes: &[u8]) -> Vec<Part> {
    let mut found = Vec::new();
    while bytes.len() >= 8 {
        let size = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        let (part, rest) = bytes.split_at(size);
        found.push(Part { name: part[4..8].try_into().unwrap(), bytes: part.to_vec() });
        bytes = rest;
    }
    found
}

pub(crate) fn part(name: [u8; 4], content: &[u8]) -> Part {
    let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    Part { name, bytes: [&size, &name[..], content].concat() }
}

fn join(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(|part| &part.bytes).copied().collect()
}

impl Part {
    /// Applies `change` to the child boxes of this box.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Vec<Part>)) {
        let mut inside = parts(&self.bytes[8..]);
        change(&mut inside);
        *self = part(self.name, &join(&inside));
    }

    pub(crate) fn set_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }
}

fn child(parts: &mut [Part], name: &[u8; 4]) -> usize {
    parts.iter().position(|part| part.name == *name).unwrap_or_else(|| panic!("no {name:?}"))
}

/// Applies `change` to the child boxes of `moov`, which must come after the media data.
pub(crate) fn change_moov(file: &[u8], change: impl FnOnce(&mut Vec<Part>)) -> Vec<u8> {
    let mut top = parts(file);
    assert_eq!(top.last().unwrap().name, *b"moov");
    top.last_mut().unwrap().change(change);
    join(&top)
}

/// Sets the edit list of the first track to `(duration, media time)` in milliseconds, with the time -1 for an
/// empty edit, and the movie's duration to their sum. Without edits, the list is removed.
pub(crate) fn set_edits(file: &[u8], edits: &[(u32, i32)]) -> Vec<u8> {
    change_moov(file, |moov| {
        let mvhd = child(moov, b"mvhd");
        let movie_scale = moov[mvhd].u32(20);
        let scaled = |ms: u32, scale: u32| u32::try_from(u64::from(ms) * u64::from(scale) / 1000).unwrap();
        let total: u32 = edits.iter().map(|(duration, _)| duration).sum();
        if total > 0 {
            moov[mvhd].set_u32(24, scaled(total, movie_scale));
        }
        let trak = child(moov, b"trak");
        moov[trak].change(|trak| {
            let mdia = child(trak, b"mdia");
            let media = parts(&trak[mdia].bytes[8..]);
            let media_scale = media.iter().find(|part| part.name == *b"mdhd").unwrap().u32(20);
            trak.retain(|part| part.name != *b"edts");
            if edits.is_empty() {
                return;
            }
            let mut list = [0u32.to_be_bytes(), u32::try_from(edits.len()).unwrap().to_be_bytes()].concat();
            for (duration, time) in edits {
                let time = u32::try_from(*time).map_or(u32::MAX, |time| scaled(time, media_scale));
                list.extend([scaled(*duration, movie_scale), time, 0x1_0000].map(u32::to_be_bytes).concat());
            }
            trak.insert(1, part(*b"edts", &part(*b"elst", &list).bytes));
        });
    })
}
