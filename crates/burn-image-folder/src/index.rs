//! What is in folders, from the system or from a cache of what it said before.

use std::collections::HashMap;
use std::fs;
use std::hash::Hasher;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{DataError, shown};
use crate::listing::{FilesBy, Listing, Met, Named, read};
use crate::regular::open_file;

/// First line of a cache, before the checksum of what follows.
fn magic(by: FilesBy) -> &'static str {
    match by {
        FilesBy::Extension => "octresnet-index-2",
        FilesBy::Content => "octresnet-index-2-by-content",
    }
}

/// A folder that changed so recently may change again without another time.
const TOO_RECENT: Duration = Duration::from_secs(3);

/// Most folders that are listed below one: ImageNet-21k has a fifth of them, a disk has more.
const MAX_FOLDERS: usize = 100_000;

/// After how many folders the user is told that it takes long, and of what.
const TOLD_AFTER: usize = 10_000;

/// Lists folders, and remembers them in a file if it was given one.
///
/// A folder whose time of modification is the remembered one is not read again: adding, removing
/// or renaming a file changes it. Writing into an existing file does not, nor has it to.
#[derive(Debug, Default)]
pub(super) struct Lister {
    by: FilesBy,
    cache: Option<PathBuf>,
    /// Remembered folders by their path.
    known: HashMap<PathBuf, (u128, Listing)>,
    /// Folders that were used, with those that were read anew.
    used: Vec<(PathBuf, u128, Listing)>,
    changed: bool,
    /// How many folders were listed.
    listed: usize,
    /// The class folders that were walked, and those below them.
    pub met: Met,
    named: Named,
}

impl Lister {
    /// Remembers nothing.
    pub fn new(by: FilesBy) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// Remembers in the file `cache`. One that is damaged is as good as none.
    pub fn with_cache(by: FilesBy, cache: &Path) -> Self {
        let mut lister = Self {
            cache: Some(cache.to_path_buf()),
            ..Self::new(by)
        };
        match open_file(cache).and_then(io::read_to_string) {
            Ok(text) => match parse(&text, by) {
                Some(known) => lister.known = known,
                None => log::warn!(
                    "the index `{}` is damaged or of another version: it is made anew",
                    shown(cache)
                ),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => log::warn!("cannot read the index `{}`: {error}", shown(cache)),
        }
        lister
    }

    /// Lists a folder.
    pub fn list(&mut self, folder: &Path) -> Result<Listing, DataError> {
        self.listed += 1;
        if self.listed > MAX_FOLDERS {
            return Err(DataError::TooManyFolders {
                path: folder.into(),
                limit: MAX_FOLDERS,
            });
        }
        if self.listed.is_multiple_of(TOLD_AFTER) {
            let count = self.listed;
            log::warn!("{count} folders listed so far, now `{}`", shown(folder));
        }
        if self.cache.is_none() {
            return read(folder, self.by, &mut self.named);
        }
        let time = modified(folder);
        let known = self.known.remove(folder);
        if let (Some(time), Some((then, listing))) = (time, known)
            && time == then
        {
            self.used
                .push((folder.to_path_buf(), time, listing.clone()));
            return Ok(listing);
        }
        self.changed = true;
        let listing = read(folder, self.by, &mut self.named)?;
        // The time from before the folder was read: what changed meanwhile is found next time.
        if let Some(time) = time.filter(|&time| is_settled(time)) {
            self.used
                .push((folder.to_path_buf(), time, listing.clone()));
        }
        Ok(listing)
    }

    /// Writes the cache if anything was read anew. A failure costs time later, nothing else.
    pub fn save(self) {
        let Some(cache) = self
            .cache
            .filter(|_| self.changed || !self.known.is_empty())
        else {
            return;
        };
        if let Err(error) = write(&cache, self.by, &self.used) {
            log::warn!("cannot write the index `{}`: {error}", shown(&cache));
        }
    }
}

/// Nanoseconds since 1970 at which a folder was changed last.
fn modified(folder: &Path) -> Option<u128> {
    let time = fs::metadata(folder).ok()?.modified().ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn is_settled(time: u128) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.is_ok_and(|now| time + TOO_RECENT.as_nanos() < now.as_nanos())
}

/// The text of a cache: after the first line, `D time path` for a folder, followed by `d name` for
/// each folder in it, `l name` for each link to one, `f name` for each image, and `x count extension`
/// for the other files.
fn write(cache: &Path, by: FilesBy, used: &[(PathBuf, u128, Listing)]) -> io::Result<()> {
    let mut text = String::new();
    for (path, time, listing) in used {
        let names = || {
            let others = listing.others.keys();
            (listing.folders.iter().chain(&listing.links))
                .chain(&listing.images)
                .chain(others)
        };
        let Some(path) = path.to_str().filter(|path| !path.contains('\n')) else {
            continue;
        };
        if names().any(|name| name.contains('\n')) {
            continue;
        }
        text.push_str(&format!("D {time} {path}\n"));
        let lines = (listing.folders.iter().map(|name| ("d ", name)))
            .chain(listing.links.iter().map(|name| ("l ", name)))
            .chain(listing.images.iter().map(|name| ("f ", name)));
        for (kind, name) in lines {
            text.push_str(kind);
            text.push_str(name);
            text.push('\n');
        }
        for (extension, count) in &listing.others {
            text.push_str(&format!("x {count} {extension}\n"));
        }
    }
    // Written beside it and renamed, so that no reader meets a half.
    let name = cache.file_name().unwrap_or_default().to_string_lossy();
    let draft = cache.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = fs::File::create(&draft)?;
    let written = writeln!(file, "{} {:016x}", magic(by), checksum(&text))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, cache));
    written.inspect_err(|_| {
        // What could not be written need not be kept; that it cannot be removed is no news.
        let _ = fs::remove_file(&draft);
    })
}

/// FNV-1a, 64 bits: against damage, not against malice.
fn checksum(text: &str) -> u64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn parse(text: &str, by: FilesBy) -> Option<HashMap<PathBuf, (u128, Listing)>> {
    let (first, rest) = text.split_once('\n')?;
    let sum = first.strip_prefix(magic(by))?.strip_prefix(' ')?;
    if u64::from_str_radix(sum, 16).ok()? != checksum(rest) {
        return None;
    }
    let mut known = HashMap::new();
    let mut lines = rest.split_terminator('\n').peekable();
    while let Some(line) = lines.next() {
        let (time, path) = line.strip_prefix("D ")?.split_once(' ')?;
        let mut listing = Listing::default();
        while let Some(line) = lines.next_if(|line| !line.starts_with('D')) {
            match line.split_at_checked(2)? {
                ("d ", name) => listing.folders.push(plain(name)?),
                ("l ", name) => listing.links.push(plain(name)?),
                ("f ", name) => listing.images.push(plain(name)?),
                ("x ", other) => {
                    let (count, extension) = other.split_once(' ')?;
                    let count: u32 = count.parse().ok()?;
                    listing.others.insert(extension.into(), count as usize);
                }
                _ => return None,
            }
        }
        known.insert(path.into(), (time.parse().ok()?, listing));
    }
    Some(known)
}

/// A name as it is listed: no path that leads out of the folder, and not hidden.
fn plain(name: &str) -> Option<String> {
    let is_plain = Path::new(name).file_name() == Some(name.as_ref());
    (is_plain && !name.starts_with('.')).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// A folder that was changed `seconds` after 1970.
    fn set_time(folder: &Path, seconds: u64) {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        File::open(folder).unwrap().set_modified(time).unwrap();
    }

    fn list(folder: &Path, cache: &Path) -> Vec<String> {
        let mut lister = Lister::with_cache(FilesBy::Extension, cache);
        let listing = lister.list(folder).unwrap();
        lister.save();
        listing.images
    }

    #[test]
    fn only_changed_folders_are_read_again() {
        let place = tempfile::tempdir().unwrap();
        let (folder, cache) = (place.path().join("photos"), place.path().join("index"));
        fs::create_dir_all(folder.join("more")).unwrap();
        File::create(folder.join("b.jpg")).unwrap();
        File::create(folder.join("a.png")).unwrap();
        File::create(folder.join("notes.txt")).unwrap();

        // Just changed, so not remembered.
        assert_eq!(list(&folder, &cache), ["a.png", "b.jpg"]);
        File::create(folder.join("c.jpg")).unwrap();
        assert_eq!(list(&folder, &cache), ["a.png", "b.jpg", "c.jpg"]);

        set_time(&folder, 1000);
        assert_eq!(list(&folder, &cache), ["a.png", "b.jpg", "c.jpg"]);
        // What goes unseen shows that the folder was not read.
        File::create(folder.join("d.jpg")).unwrap();
        set_time(&folder, 1000);
        assert_eq!(list(&folder, &cache), ["a.png", "b.jpg", "c.jpg"]);
        let mut lister = Lister::with_cache(FilesBy::Extension, &cache);
        let listing = lister.list(&folder).unwrap();
        assert_eq!(listing.folders, ["more"]);
        assert_eq!(listing.others["txt"], 1);
        set_time(&folder, 1001);
        assert_eq!(list(&folder, &cache).len(), 4);
    }

    #[test]
    fn an_index_does_not_lead_out_of_its_folders() {
        let index = |line: &str| {
            let lines = format!("D 1000 photos\n{line}\n");
            format!(
                "{} {:016x}\n{lines}",
                magic(FilesBy::Extension),
                checksum(&lines)
            )
        };
        let read = |line: &str| parse(&index(line), FilesBy::Extension);
        assert!(read("d a").is_some());
        for line in [
            "d /",
            "d ..",
            "d .",
            "l ../b",
            "f a/b.png",
            "f /b.png",
            "f ",
            "d .git",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
        assert!(read("x 4294967296 txt").is_none());
    }

    #[test]
    fn damage_anywhere_is_as_good_as_no_cache() {
        let place = tempfile::tempdir().unwrap();
        let (folder, cache) = (place.path().join("photos"), place.path().join("index"));
        fs::create_dir(&folder).unwrap();
        File::create(folder.join("a.jpg")).unwrap();
        set_time(&folder, 1000);
        list(&folder, &cache);
        let good = fs::read(&cache).unwrap();
        assert!(parse(std::str::from_utf8(&good).unwrap(), FilesBy::Extension).is_some());
        File::create(folder.join("b.jpg")).unwrap();
        set_time(&folder, 1000);
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            fs::write(&cache, &damaged).unwrap();
            assert_eq!(list(&folder, &cache), ["a.jpg", "b.jpg"], "byte {at}");
            fs::write(&cache, &good[..at]).unwrap();
            assert_eq!(list(&folder, &cache), ["a.jpg", "b.jpg"], "cut at {at}");
        }
        // Nor is there one where none can be written.
        assert_eq!(list(&folder, &place.path().join("no/index")).len(), 2);
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 2, "no draft stays behind");
    }

    #[test]
    fn a_walk_ends_at_a_sane_bound() {
        let place = tempfile::tempdir().unwrap();
        let mut lister = Lister {
            listed: MAX_FOLDERS - 1,
            ..Lister::default()
        };
        assert!(lister.list(place.path()).is_ok());
        let error = lister.list(place.path()).unwrap_err().to_string();
        assert!(error.contains("100000"), "{error}");
    }
}
