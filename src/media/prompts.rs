//! What is said to a caller who hears busy: sentences put together from recorded parts.
//!
//! The shipped parts are English, made by `src/media/prompts/make` with espeak-ng, whose voices put no
//! terms on what they say; an operator's folder with files of the same names takes their place.

use std::time::Duration;

use super::clip::{Clip, ClipError};
use super::digit::Digit;
use super::tone::{self, Part};

/// A part of what is said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phrase {
    /// "The line is busy."
    Busy,
    /// "For a call back, press"
    Callback,
    /// "To wait, press"
    CampOn,
    /// "To join the call, press"
    Intrude,
    /// "To leave a message, press"
    Message,
    /// "There is no answer."
    NoReply,
    /// "Your call is ready."
    Recall,
    /// The name of a key.
    Key(Digit),
}

/// The shipped voice: file name and content.
const ENGLISH: &[(&str, &[u8])] = &[
    ("0", include_bytes!("prompts/en/0.wav")),
    ("1", include_bytes!("prompts/en/1.wav")),
    ("2", include_bytes!("prompts/en/2.wav")),
    ("3", include_bytes!("prompts/en/3.wav")),
    ("4", include_bytes!("prompts/en/4.wav")),
    ("5", include_bytes!("prompts/en/5.wav")),
    ("6", include_bytes!("prompts/en/6.wav")),
    ("7", include_bytes!("prompts/en/7.wav")),
    ("8", include_bytes!("prompts/en/8.wav")),
    ("9", include_bytes!("prompts/en/9.wav")),
    ("busy", include_bytes!("prompts/en/busy.wav")),
    ("callback", include_bytes!("prompts/en/callback.wav")),
    ("camp_on", include_bytes!("prompts/en/camp_on.wav")),
    ("hash", include_bytes!("prompts/en/hash.wav")),
    ("intrude", include_bytes!("prompts/en/intrude.wav")),
    ("message", include_bytes!("prompts/en/message.wav")),
    ("no_reply", include_bytes!("prompts/en/no_reply.wav")),
    ("recall", include_bytes!("prompts/en/recall.wav")),
    ("star", include_bytes!("prompts/en/star.wav")),
];

impl Phrase {
    /// The name of its file, without `.wav`; `None` for a key that nobody has.
    pub fn file(self) -> Option<&'static str> {
        let name = match self {
            Self::Busy => "busy",
            Self::Callback => "callback",
            Self::CampOn => "camp_on",
            Self::Intrude => "intrude",
            Self::Message => "message",
            Self::NoReply => "no_reply",
            Self::Recall => "recall",
            Self::Key(Digit::Star) => "star",
            Self::Key(Digit::Hash) => "hash",
            Self::Key(digit) => {
                let key = digit.key();
                let mut names = ENGLISH.iter().map(|(name, _)| *name);
                return names.find(|name| name.chars().eq([key]));
            }
        };
        Some(name)
    }
}

/// What an operator may have recorded of the texts that can be left, by number.
const TEXTS: [&str; 10] = [
    "text_0", "text_1", "text_2", "text_3", "text_4", "text_5", "text_6", "text_7", "text_8",
    "text_9",
];

/// All that can be said and played, ready to be heard.
#[derive(Clone, Debug)]
pub struct Voice {
    parts: Vec<(&'static str, Clip)>,
    /// The texts that can be left, as far as they were recorded, from 0.
    texts: Vec<Clip>,
    /// A request was taken.
    pub accepted: Clip,
    /// It was not.
    pub refused: Clip,
    /// Somebody joins a call (R17).
    pub warning: Clip,
    /// What is heard while camping on.
    pub music: Clip,
    /// What is heard while the callee's phone rings at last.
    pub ringing: Clip,
}

/// A part that cannot be played.
#[derive(Debug, thiserror::Error)]
#[error("{name}.wav cannot be played: {source}")]
pub struct BadPart {
    /// Which.
    pub name: &'static str,
    /// Why.
    #[source]
    pub source: ClipError,
}

impl Voice {
    /// The shipped voice, with these files in place of those of the same name.
    pub fn new(files: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, BadPart> {
        let load = |name: &'static str, shipped: Option<&[u8]>| {
            let own = files(name);
            let bytes = own.as_deref().or(shipped);
            let clip = bytes.map(Clip::from_wav).transpose();
            clip.map_err(|source| BadPart { name, source })
        };
        let mut parts = Vec::with_capacity(ENGLISH.len());
        for (name, shipped) in ENGLISH {
            parts.extend(load(name, Some(shipped))?.map(|clip| (*name, clip)));
        }
        let mut texts = Vec::new();
        for name in TEXTS {
            match load(name, None)? {
                Some(clip) => texts.push(clip),
                None => break,
            }
        }
        Ok(Self {
            parts,
            texts,
            accepted: load("accepted", None)?.unwrap_or_else(accepted),
            refused: load("refused", None)?.unwrap_or_else(refused),
            warning: load("warning", None)?.unwrap_or_else(warning),
            music: load("music", None)?.unwrap_or_else(music),
            ringing: load("ringing", None)?.unwrap_or_else(ringing),
        })
    }

    /// The first texts, each with the digit of its number behind it; `None` if one of them was not
    /// recorded, or there is nothing to choose.
    pub fn say_texts(&self, count: usize) -> Option<Clip> {
        let texts = self.texts.get(..count.min(TEXTS.len()));
        let texts = texts.filter(|texts| texts.len() > 1)?;
        let keys = (b'0'..=b'9').filter_map(Digit::of_key);
        let keys: Vec<Clip> = keys.map(|key| self.say(&[Phrase::Key(key)])).collect();
        let parts = texts.iter().zip(&keys);
        let parts: Vec<&Clip> = parts.flat_map(|(text, key)| [text, key]).collect();
        Some(Clip::joined(&parts))
    }

    /// These, one after the other; what nobody has a file for is left out.
    pub fn say(&self, phrases: &[Phrase]) -> Clip {
        let part = |phrase: &Phrase| {
            let name = phrase.file()?;
            self.parts.iter().find(|(each, _)| *each == name)
        };
        let clips: Vec<&Clip> = phrases
            .iter()
            .filter_map(part)
            .map(|(_, clip)| clip)
            .collect();
        Clip::joined(&clips)
    }
}

const LEVEL: i16 = 6000;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn accepted() -> Clip {
    let parts = [Part::sine(660, ms(120)), Part::sine(880, ms(240))];
    tone::render(&parts, LEVEL)
}

fn refused() -> Clip {
    let beep = [Part::sine(425, ms(200)), Part::pause(ms(200))];
    tone::render(&beep.repeat(3), LEVEL)
}

/// ITU-T E.180 §13: 1400 Hz tells that somebody else is on the line.
fn warning() -> Clip {
    tone::render(&[Part::sine(1400, ms(400))], LEVEL)
}

/// ITU-T E.180 §6: 425 Hz, a second of every five.
fn ringing() -> Clip {
    let parts = [Part::sine(425, ms(1000)), Part::pause(ms(4000))];
    tone::render(&parts, LEVEL)
}

/// Soft, slow and short: it is heard over and over.
fn music() -> Clip {
    let chord = |low, high| Part {
        hz: [low, high],
        lasts: ms(700),
    };
    let parts = [
        chord(262, 330),
        chord(294, 370),
        chord(330, 392),
        chord(294, 370),
        Part::pause(ms(1200)),
    ];
    tone::render(&parts, LEVEL / 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::power::energy_of;
    use crate::media::room::Mix;

    fn voice() -> Voice {
        Voice::new(|_| None).expect("the shipped files can be played")
    }

    #[test]
    fn each_phrase_can_be_heard() {
        use Phrase::{Busy, Callback, CampOn, Intrude, Message, NoReply, Recall};
        let keys = "0123456789*#"
            .bytes()
            .filter_map(Digit::of_key)
            .map(Phrase::Key);
        let words = [Busy, Callback, CampOn, Intrude, Message, NoReply, Recall];
        for phrase in words.into_iter().chain(keys) {
            let clip = voice().say(&[phrase]);
            assert!(energy_of(clip.samples()) > 1e9, "{phrase:?}");
        }
    }

    #[test]
    fn a_sentence_is_its_parts_in_order() {
        let voice = voice();
        let press = [Phrase::Callback, Phrase::Key(Digit::D5)];
        let length = |phrases: &[Phrase]| voice.say(phrases).samples().len();
        assert_eq!(length(&press), length(&press[..1]) + length(&press[1..]));
        assert_eq!(length(&[Phrase::Key(Digit::A)]), 0);
    }

    #[test]
    fn texts_are_said_with_their_numbers_if_all_are_recorded() {
        let own = include_bytes!("prompts/en/busy.wav");
        let recorded = |names: &'static [&'static str]| {
            let voice = Voice::new(|name| names.contains(&name).then(|| own.to_vec()));
            voice.expect("a voice")
        };
        let voice = recorded(&["text_0", "text_1"]);
        let length = |phrases: &[Phrase]| voice.say(phrases).samples().len();
        let numbers = length(&[Phrase::Key(Digit::D0), Phrase::Key(Digit::D1)]);
        let said = voice.say_texts(2).expect("two texts");
        assert_eq!(said.samples().len(), 2 * length(&[Phrase::Busy]) + numbers);
        assert!(voice.say_texts(3).is_none() && voice.say_texts(1).is_none());
        assert!(recorded(&["text_1"]).say_texts(2).is_none());
    }

    #[test]
    fn the_shipped_warning_lets_somebody_in() {
        assert!(Mix::new(voice().warning, Duration::from_secs(15)).is_ok());
    }

    #[test]
    fn an_operators_file_takes_the_place_of_ours_and_a_bad_one_is_named() {
        let own = include_bytes!("prompts/en/5.wav");
        let replaced = Voice::new(|name| (name == "busy").then(|| own.to_vec())).expect("a voice");
        let five = replaced.say(&[Phrase::Key(Digit::D5)]);
        assert_eq!(replaced.say(&[Phrase::Busy]).samples(), five.samples());
        let bad = Voice::new(|name| (name == "music").then(|| b"RIFF".to_vec()));
        let why = bad.expect_err("no sound").to_string();
        assert!(
            why.starts_with("music.wav cannot be played: it is no WAV file"),
            "{why}"
        );
    }
}
