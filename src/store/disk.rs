//! Records in one file, which is whole after a crash and after a loss of power.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, Table,
    TableDefinition,
};

use crate::store::keep::{Change, Keep, Kept, Unkept};
use crate::store::{Answer, Epoch, Key, Put, Stored, Version};

/// For the pages of a batch; what else is read, the system has at hand. The default of the library is
/// 1 GiB.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("registrations");
/// By partition and id, so that the keys of one partition lie together; before each record its
/// version.
const COMPLETIONS: TableDefinition<'_, (u8, u128), (u64, &[u8])> =
    TableDefinition::new("completions");
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
/// The secret that names are made with.
const NAMES: &str = "names";
/// What is written, and removed again, to find out whether there is room.
const PROBE: &str = "probe";
/// More than a batch of a busy second needs.
const PROBE_BYTES: usize = 64 * 1024;

/// A file of records; one process has it at a time, which is the lease of all its partitions.
#[derive(Debug)]
pub struct Disk {
    database: Database,
}

impl Disk {
    /// Opens the file, or makes it; only its owner may read it, for it says who is where.
    pub fn open(path: &Path) -> Result<Self, Unkept> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unkept)?;
        Self::on(FileBackend::new(file).map_err(unkept)?, CACHE_BYTES)
    }

    /// Opens what lies on a disk of the caller's, or makes it.
    pub fn on(backend: impl StorageBackend, cache_bytes: usize) -> Result<Self, Unkept> {
        let database = Builder::new()
            .set_cache_size(cache_bytes)
            .create_with_backend(backend)
            .map_err(unkept)?;
        let mut disk = Self { database };
        if !disk.has_tables() {
            // So that all tables are there to be read.
            disk.write(&[], &[])?;
        }
        Ok(disk)
    }

    fn has_tables(&self) -> bool {
        self.try_read(Key {
            partition: 0,
            id: 0,
        })
        .and_then(|_| self.try_load())
        .is_ok()
    }

    fn try_secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], redb::Error> {
        let write = self.database.begin_write()?;
        let secret = {
            let mut secrets = write.open_table(SECRETS)?;
            let found = secrets.get(NAMES)?.map(|found| found.value().to_vec());
            let found = found.and_then(|found| found.try_into().ok());
            if found.is_none() {
                secrets.insert(NAMES, &fresh[..])?;
            }
            found.unwrap_or(fresh)
        };
        write.commit()?;
        Ok(secret)
    }

    fn try_probe(&self) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        let probe = vec![0xff; PROBE_BYTES];
        write.open_table(SECRETS)?.insert(PROBE, &*probe)?;
        write.commit()?;
        let write = self.database.begin_write()?;
        write.open_table(SECRETS)?.remove(PROBE)?;
        write.commit()?;
        Ok(())
    }

    fn try_load(&self) -> Result<Vec<Kept>, redb::Error> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let mut kept = Vec::new();
        for record in records.iter()? {
            let (key, record) = record?;
            kept.push((Box::from(key.value()), Box::from(record.value())));
        }
        Ok(kept)
    }

    fn try_completions(&self) -> Result<Vec<(Key, Stored)>, redb::Error> {
        let completions = self.database.begin_read()?.open_table(COMPLETIONS)?;
        let mut all = Vec::new();
        for record in completions.iter()? {
            let (key, stored) = record?;
            let (partition, id) = key.value();
            all.push((Key { partition, id }, stored_of(stored.value())));
        }
        Ok(all)
    }

    fn try_read(&self, key: Key) -> Result<Option<Stored>, redb::Error> {
        let completions = self.database.begin_read()?.open_table(COMPLETIONS)?;
        let found = completions.get((key.partition, key.id))?;
        Ok(found.map(|found| stored_of(found.value())))
    }

    fn try_write(&self, changes: &[Change], puts: &[Put]) -> Result<Vec<Answer>, redb::Error> {
        let write = self.database.begin_write()?;
        let mut answers = Vec::with_capacity(puts.len());
        {
            let mut records = write.open_table(RECORDS)?;
            for Change { key, record } in changes {
                match record {
                    Some(record) => drop(records.insert(&**key, &**record)?),
                    None => drop(records.remove(&**key)?),
                }
            }
            let mut completions = write.open_table(COMPLETIONS)?;
            for put in puts {
                answers.push(try_put(&mut completions, put)?);
            }
        }
        write.commit()?;
        Ok(answers)
    }
}

impl Keep for Disk {
    fn secret(&mut self, fresh: [u8; 32]) -> Result<[u8; 32], Unkept> {
        self.try_secret(fresh).map_err(unkept)
    }

    fn probe(&mut self) -> Result<(), Unkept> {
        self.try_probe().map_err(unkept)
    }

    fn load(&self) -> Result<Vec<Kept>, Unkept> {
        self.try_load().map_err(unkept)
    }

    fn completions(&self) -> Result<Vec<(Key, Stored)>, Unkept> {
        self.try_completions().map_err(unkept)
    }

    fn read(&self, key: Key) -> Result<Option<Stored>, Unkept> {
        self.try_read(key).map_err(unkept)
    }

    fn write(&mut self, changes: &[Change], puts: &[Put]) -> Result<Vec<Answer>, Unkept> {
        self.try_write(changes, puts).map_err(unkept)
    }
}

/// One change by compare-and-set; nobody but this process has the file, so that there is one epoch.
fn try_put(
    completions: &mut Table<'_, (u8, u128), (u64, &'static [u8])>,
    put: &Put,
) -> Result<Answer, redb::Error> {
    let key = (put.key.partition, put.key.id);
    let found = completions.get(key)?.map(|found| Version(found.value().0));
    if found != put.expect || put.epoch != Epoch::default() {
        return Ok(Answer::Conflict);
    }
    let version = Version(found.map_or(1, |found| found.0 + 1));
    match &put.record {
        Some(record) => drop(completions.insert(key, (version.0, &**record))?),
        None => drop(completions.remove(key)?),
    }
    Ok(Answer::Done(version))
}

fn stored_of((version, record): (u64, &[u8])) -> Stored {
    Stored {
        version: Version(version),
        record: record.into(),
    }
}

fn unkept(error: impl std::fmt::Display) -> Unkept {
    Unkept(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    /// A path where nothing is, in a folder of the test's own, which goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("campon-disk-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let _absent = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).expect("a folder");
            Self(folder.join("store"))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(self.0.parent().map(std::fs::remove_dir_all));
        }
    }

    fn change(key: &str, record: Option<&str>) -> Change {
        Change {
            key: key.as_bytes().into(),
            record: record.map(|record| record.as_bytes().into()),
        }
    }

    fn kept(disk: &Disk) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = disk.load().expect("a file that can be read").into_iter();
        all.map(|(key, record)| (text(&key), text(&record)))
            .collect()
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let place = Place::new("written");
        let path = &place.0;
        let mut disk = Disk::open(path).expect("a new file");
        let secret = disk.secret([1; 32]).expect("a secret");
        disk.write(&[change("b", Some("2")), change("a", Some("1"))], &[])
            .expect("written");
        disk.write(&[change("b", None), change("c", Some("3"))], &[])
            .expect("written");
        drop(disk);
        let mut disk = Disk::open(path).expect("the file");
        let expected = [("a", "1"), ("c", "3")].map(|(k, r)| (k.to_owned(), r.to_owned()));
        assert_eq!(kept(&disk), expected);
        assert_eq!(disk.secret([2; 32]), Ok(secret));
    }

    #[test]
    fn nobody_else_reads_the_file() {
        let place = Place::new("private");
        let path = &place.0;
        let disk = Disk::open(path).expect("a new file");
        let mode = std::fs::metadata(path)
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(disk);
    }

    #[test]
    fn a_file_belongs_to_one_process() {
        let place = Place::new("locked");
        let path = &place.0;
        let _disk = Disk::open(path).expect("a new file");
        let twice = Disk::open(path).expect_err("it is open");
        assert!(twice.to_string().contains("open"), "{twice}");
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let place = Place::new("foreign");
        let path = &place.0;
        std::fs::write(path, "mode = \"edge\"\n").expect("written");
        assert!(Disk::open(path).is_err());
        let text = std::fs::read_to_string(path).expect("the file");
        assert_eq!(text, "mode = \"edge\"\n");
    }

    fn put(id: u128, expect: Option<u64>, record: Option<&str>) -> Put {
        Put {
            key: Key { partition: 7, id },
            expect: expect.map(Version),
            epoch: Epoch::default(),
            record: record.map(|record| record.as_bytes().into()),
        }
    }

    #[test]
    fn a_completion_changes_only_from_the_version_that_was_seen() {
        let place = Place::new("compared");
        let mut disk = Disk::open(&place.0).expect("a new file");
        let puts = [
            put(1, None, Some("one")),
            put(1, None, Some("again")),
            put(1, Some(1), Some("two")),
            put(2, Some(1), None),
            put(3, None, Some("three")),
            put(3, Some(1), None),
        ];
        let answers = disk.write(&[], &puts).expect("written");
        let expected = [
            Answer::Done(Version(1)),
            Answer::Conflict,
            Answer::Done(Version(2)),
            Answer::Conflict,
            Answer::Done(Version(1)),
            Answer::Done(Version(2)),
        ];
        assert_eq!(answers, expected);
        drop(disk);
        let disk = Disk::open(&place.0).expect("the file");
        let (key, stored) = (puts[0].key, stored_of((2, b"two")));
        assert_eq!(disk.read(key), Ok(Some(stored.clone())));
        assert_eq!(disk.completions(), Ok(vec![(key, stored)]));
        assert_eq!(disk.read(puts[4].key), Ok(None));
    }
}
