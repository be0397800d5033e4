//! The recordings of an operator, read from his folder.
//!
//! Spec: RULES R16.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::media::clip::ClipError;
use crate::media::prompts::{BadPart, Voice};
use crate::media::room::{Mix, TICK};

/// Why there is no voice.
#[derive(Debug, thiserror::Error)]
pub enum BadVoice {
    /// The folder cannot be read.
    #[error("{folder} cannot be read: {source}")]
    Folder {
        /// Which.
        folder: String,
        /// What the system says.
        source: Error,
    },
    /// One of its recordings cannot be played.
    #[error(transparent)]
    Part(#[from] BadPart),
}

/// What is said and played: what the folder, if there is one, does not have is ours.
pub fn load(folder: Option<&Path>) -> Result<Voice, BadVoice> {
    if let Some(folder) = folder {
        std::fs::read_dir(folder).map_err(|source| BadVoice::Folder {
            folder: folder.display().to_string(),
            source,
        })?;
    }
    let voice = Voice::new(|name| {
        let file = folder?.join(name).with_extension("wav");
        match std::fs::read(file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // What is there and cannot be read is no WAV file: ours is not heard in its place.
            Err(_) => Some(Vec::new()),
        }
    })?;
    // T29: with it nobody could join a call, and nobody would be told why.
    let warning = Mix::new(voice.warning.clone(), TICK);
    warning.map(|_| voice).map_err(|why| {
        BadVoice::Part(BadPart {
            name: "warning",
            source: ClipError::Faint(why),
        })
    })
}
