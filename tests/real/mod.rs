//! Real parties: a PBX and phones that others wrote, each on an address of its own.
//!
//! Audio is shown by the recording that holds the other's tone, signalling by a capture read by field.
//! The configurations of the parties stand beside the repository, in `shared/parties`.

pub mod baresip;
pub mod capture;
pub mod children;
pub mod kamailio;
pub mod served;
pub mod softphone;
pub mod stage;
pub mod wav;

use std::path::PathBuf;

/// A file or folder of `shared/parties`, in the nearest folder above the repository that has it.
pub fn shared(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut above = root.ancestors();
    let found = above.find_map(|above| {
        let path = above.join("shared/parties").join(name);
        path.exists().then_some(path)
    });
    found.unwrap_or_else(|| panic!("NOT TESTED: ../shared/parties/{name} is ABSENT"))
}
