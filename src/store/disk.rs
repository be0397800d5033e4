//! Records in one file, which is whole after a crash and after a loss of power.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::store::keep::{Change, Keep, Kept, Unkept};

/// Enough for the registrations of 50 000 phones; the default of the library is 1 GiB.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("registrations");
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
/// The secret that names are made with.
const NAMES: &str = "names";

/// A file of records; one process has it at a time.
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
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(FileBackend::new(file).map_err(unkept)?)
            .map_err(unkept)?;
        let mut disk = Self { database };
        // So that both tables are there to be read.
        disk.write(&[])?;
        Ok(disk)
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

    fn try_load(&self) -> Result<Vec<Kept>, redb::Error> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let mut kept = Vec::new();
        for record in records.iter()? {
            let (key, record) = record?;
            kept.push((Box::from(key.value()), Box::from(record.value())));
        }
        Ok(kept)
    }

    fn try_write(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut records = write.open_table(RECORDS)?;
            for Change { key, record } in changes {
                match record {
                    Some(record) => drop(records.insert(&**key, &**record)?),
                    None => drop(records.remove(&**key)?),
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl Keep for Disk {
    fn secret(&mut self, fresh: [u8; 32]) -> Result<[u8; 32], Unkept> {
        self.try_secret(fresh).map_err(unkept)
    }

    fn load(&self) -> Result<Vec<Kept>, Unkept> {
        self.try_load().map_err(unkept)
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), Unkept> {
        self.try_write(changes).map_err(unkept)
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

    /// A path where nothing is, in a folder of the test's own.
    fn path(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("campon-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(name);
        let _absent = std::fs::remove_file(&path);
        path
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
        let path = path("written");
        let mut disk = Disk::open(&path).expect("a new file");
        let secret = disk.secret([1; 32]).expect("a secret");
        disk.write(&[change("b", Some("2")), change("a", Some("1"))])
            .expect("written");
        disk.write(&[change("b", None), change("c", Some("3"))])
            .expect("written");
        drop(disk);
        let mut disk = Disk::open(&path).expect("the file");
        let expected = [("a", "1"), ("c", "3")].map(|(k, r)| (k.to_owned(), r.to_owned()));
        assert_eq!(kept(&disk), expected);
        assert_eq!(disk.secret([2; 32]), Ok(secret));
    }

    #[test]
    fn nobody_else_reads_the_file() {
        let path = path("private");
        let disk = Disk::open(&path).expect("a new file");
        let mode = std::fs::metadata(&path)
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(disk);
    }

    #[test]
    fn a_file_belongs_to_one_process() {
        let path = path("locked");
        let _disk = Disk::open(&path).expect("a new file");
        let twice = Disk::open(&path).expect_err("it is open");
        assert!(twice.to_string().contains("open"), "{twice}");
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let path = path("foreign");
        std::fs::write(&path, "mode = \"edge\"\n").expect("written");
        assert!(Disk::open(&path).is_err());
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text, "mode = \"edge\"\n");
    }
}
