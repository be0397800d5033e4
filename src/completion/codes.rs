//! Feature codes: what a caller dials to ask for completion and to take it back.
//!
//! Spec: TS 22.030 Annex B (service code 37), TS 24.093 §4.4. None is wired in; each is configured.
//!
//! A code is a text, or one with a place for a number or an index: `*37*{number}#`. No dialled text
//! may be two codes, nor an emergency number a code.

/// What a code asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Code {
    /// Take back the request of this number among the caller's.
    Cancel(u32),
    /// Take back all requests.
    CancelAll,
    /// Take back the newest request.
    CancelLast,
    /// Tell which requests there are.
    List,
    /// Leave the text of this number for whom the last call that failed was to.
    Message(u32),
    /// Call back when the last call to this number that failed can be completed.
    Request(Box<str>),
    /// Call back when the last call that failed can be completed.
    RequestLast,
    /// The caller can be called back again.
    Resume,
}

/// The kinds of codes, as they are configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodeKind {
    /// [`Code::Cancel`]
    Cancel,
    /// [`Code::CancelAll`]
    CancelAll,
    /// [`Code::CancelLast`]
    CancelLast,
    /// [`Code::List`]
    List,
    /// [`Code::Message`]
    Message,
    /// [`Code::Request`]
    Request,
    /// [`Code::RequestLast`]
    RequestLast,
    /// [`Code::Resume`]
    Resume,
}

impl CodeKind {
    /// Its key in the configuration, and its name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::CancelAll => "cancel_all",
            Self::CancelLast => "cancel_last",
            Self::List => "list",
            Self::Message => "message",
            Self::Request => "request",
            Self::RequestLast => "request_last",
            Self::Resume => "resume",
        }
    }

    fn hole(self) -> Hole {
        match self {
            Self::Cancel | Self::Message => Hole::Index,
            Self::Request => Hole::Number,
            Self::CancelAll | Self::CancelLast | Self::List | Self::RequestLast | Self::Resume => {
                Hole::None
            }
        }
    }

    /// The code, with what stands in its place.
    fn with(self, filled: &str) -> Option<Code> {
        Some(match self {
            Self::Cancel => Code::Cancel(filled.parse().ok()?),
            Self::CancelAll => Code::CancelAll,
            Self::CancelLast => Code::CancelLast,
            Self::List => Code::List,
            Self::Message => Code::Message(filled.parse().ok()?),
            Self::Request => Code::Request(filled.into()),
            Self::RequestLast => Code::RequestLast,
            Self::Resume => Code::Resume,
        })
    }
}

impl Code {
    /// Its kind.
    pub fn kind(&self) -> CodeKind {
        match self {
            Self::Cancel(_) => CodeKind::Cancel,
            Self::CancelAll => CodeKind::CancelAll,
            Self::CancelLast => CodeKind::CancelLast,
            Self::List => CodeKind::List,
            Self::Message(_) => CodeKind::Message,
            Self::Request(_) => CodeKind::Request,
            Self::RequestLast => CodeKind::RequestLast,
            Self::Resume => CodeKind::Resume,
        }
    }
}

/// What has its place in a code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hole {
    /// One to four digits.
    Index,
    None,
    /// A number or a name, without `*` and `#`.
    Number,
}

/// The longest number or name in a code: E.164 has 15 digits, and prefixes come before them.
const NUMBER_MAX: usize = 64;

impl Hole {
    /// How it is written in the configuration.
    fn mark(self) -> &'static str {
        match self {
            Self::Index => "{index}",
            Self::None => "",
            Self::Number => "{number}",
        }
    }

    /// Whether this character may stand in it.
    fn holds(self, c: char) -> bool {
        match self {
            Self::Index => c.is_ascii_digit(),
            Self::None => false,
            Self::Number => c.is_alphanumeric() || "+-._".contains(c),
        }
    }

    fn length_max(self) -> usize {
        match self {
            Self::Index => 4,
            Self::None => 0,
            Self::Number => NUMBER_MAX,
        }
    }
}

/// The codes as configured; `None` is a code that is not used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RawCodes {
    /// [`Code::Cancel`], for example `#37*{index}#`.
    pub cancel: Option<String>,
    /// [`Code::CancelAll`], for example `#37#`.
    pub cancel_all: Option<String>,
    /// [`Code::CancelLast`].
    pub cancel_last: Option<String>,
    /// [`Code::List`], for example `*#37#`.
    pub list: Option<String>,
    /// [`Code::Message`], for example `*39*{index}#`.
    pub message: Option<String>,
    /// [`Code::Request`], for example `*37*{number}#`.
    pub request: Option<String>,
    /// [`Code::RequestLast`], for example `*37#`.
    pub request_last: Option<String>,
    /// [`Code::Resume`], for example `*38#`.
    pub resume: Option<String>,
}

/// The codes in use: each a text that can be dialled, no two for the same text, none for an emergency
/// number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Codes(Vec<Pattern>);

/// A code as it is dialled.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Pattern {
    /// As it was configured.
    text: String,
    kind: CodeKind,
    /// What stands before its place; all of it if it has none.
    before: String,
    /// What stands behind.
    behind: String,
}

/// Why codes are refused at start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodeError {
    /// What is dialled could be two codes.
    #[error("`{0}` can be dialled for `{1}` as well")]
    Ambiguous(String, String),
    /// Two codes are the same.
    #[error("`{0}` is used for two codes")]
    Duplicate(String),
    /// A code would take an emergency number, or what is dialled on the way to one.
    #[error("`{0}` collides with the emergency number `{1}`")]
    Emergency(String, String),
    /// A code has characters that no phone dials.
    #[error("`{0}` cannot be dialled")]
    NotDialable(String),
    /// A code lacks the place for what it needs, or has one for what it does not.
    #[error("`{0}` must have {1}")]
    Place(String, &'static str),
    /// A code would take ordinary numbers.
    #[error("`{0}` would take ordinary numbers: `*` or `#` must stand before the place")]
    TooWide(String),
}

impl CodeError {
    /// The code that is at fault.
    pub fn text(&self) -> &str {
        match self {
            Self::Ambiguous(text, _)
            | Self::Duplicate(text)
            | Self::Emergency(text, _)
            | Self::NotDialable(text)
            | Self::Place(text, _)
            | Self::TooWide(text) => text,
        }
    }
}

impl Pattern {
    fn new(text: &str, kind: CodeKind) -> Result<Self, CodeError> {
        let hole = kind.hole();
        let (before, behind) = match hole {
            Hole::None => (text, ""),
            Hole::Index => split(text, hole, "one `{index}`")?,
            Hole::Number => split(text, hole, "one `{number}`")?,
        };
        let dialable = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#');
        if before.is_empty() || !before.chars().chain(behind.chars()).all(dialable) {
            return Err(CodeError::NotDialable(text.to_owned()));
        }
        if hole != Hole::None && !before.contains(['*', '#']) {
            return Err(CodeError::TooWide(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            kind,
            before: before.to_owned(),
            behind: behind.to_owned(),
        })
    }

    /// Whether something can be dialled that is both: with the longer beginning and the longer end of
    /// the two, what one has more of must have its place in the other.
    fn meets(&self, other: &Self) -> bool {
        let fits = |(mine, rest): (&Self, Option<&str>)| {
            rest.is_some_and(|rest| rest.chars().all(|c| mine.kind.hole().holds(c)))
        };
        let begin = match other.before.strip_prefix(&*self.before) {
            Some(rest) => (self, Some(rest)),
            None => (other, self.before.strip_prefix(&*other.before)),
        };
        let end = match other.behind.strip_suffix(&*self.behind) {
            Some(rest) => (self, Some(rest)),
            None => (other, self.behind.strip_suffix(&*other.behind)),
        };
        match (self.kind.hole(), other.kind.hole()) {
            (Hole::None, Hole::None) => self.before == other.before,
            (Hole::None, _) => other.filled(&self.before).is_some(),
            (_, Hole::None) => self.filled(&other.before).is_some(),
            (Hole::Index | Hole::Number, Hole::Index | Hole::Number) => fits(begin) && fits(end),
        }
    }

    /// What stands in its place when this is dialled; `None` if that is not this code.
    fn filled<'d>(&self, dialled: &'d str) -> Option<&'d str> {
        let hole = self.kind.hole();
        if hole == Hole::None {
            return (dialled == self.before).then_some("");
        }
        let filled = dialled.strip_prefix(&*self.before)?;
        let filled = filled.strip_suffix(&*self.behind)?;
        let fits = !filled.is_empty() && filled.len() <= hole.length_max();
        (fits && filled.chars().all(|c| hole.holds(c))).then_some(filled)
    }
}

/// The text before and behind its place, which must be there once.
fn split<'t>(
    text: &'t str,
    hole: Hole,
    expected: &'static str,
) -> Result<(&'t str, &'t str), CodeError> {
    text.split_once(hole.mark())
        .ok_or_else(|| CodeError::Place(text.to_owned(), expected))
}

impl Codes {
    /// Checks codes against each other and against the emergency numbers.
    pub fn new(raw: &RawCodes, emergency: &[String]) -> Result<Self, CodeError> {
        let all = [
            (&raw.request_last, CodeKind::RequestLast),
            (&raw.request, CodeKind::Request),
            (&raw.cancel_last, CodeKind::CancelLast),
            (&raw.cancel, CodeKind::Cancel),
            (&raw.cancel_all, CodeKind::CancelAll),
            (&raw.list, CodeKind::List),
            (&raw.message, CodeKind::Message),
            (&raw.resume, CodeKind::Resume),
        ];
        let mut codes: Vec<Pattern> = Vec::new();
        for (text, kind) in all {
            let Some(text) = text else { continue };
            let code = Pattern::new(text, kind)?;
            let collides = |number: &&String| {
                number.starts_with(&*code.before) || code.before.starts_with(number.as_str())
            };
            if let Some(number) = emergency.iter().find(collides) {
                return Err(CodeError::Emergency(text.clone(), number.clone()));
            }
            if let Some(other) = codes.iter().find(|other| code.meets(other)) {
                return Err(if other.text == *text {
                    CodeError::Duplicate(text.clone())
                } else {
                    CodeError::Ambiguous(text.clone(), other.text.clone())
                });
            }
            codes.push(code);
        }
        Ok(Self(codes))
    }

    /// The texts and what they ask for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, CodeKind)> {
        self.0.iter().map(|code| (&*code.text, code.kind))
    }

    /// What the user part of a Request-URI asks for, if it is a code; escapes (`%23`) are read.
    pub fn parse(&self, user: &[u8]) -> Option<Code> {
        if self.0.is_empty() {
            return None;
        }
        let dialled = String::from_utf8(unescape(user)?).ok()?;
        let mut found = self.0.iter();
        found.find_map(|code| code.kind.with(code.filled(&dialled)?))
    }
}

/// `%HH` as the byte that it stands for; `None` if one is malformed.
fn unescape(user: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = user.iter();
    let mut text = Vec::with_capacity(user.len());
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            text.push(*byte);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
        text.push(u8::try_from(value).ok()?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(request: &str, cancel: &str) -> RawCodes {
        RawCodes {
            request_last: Some(request.to_owned()),
            cancel_all: Some(cancel.to_owned()),
            ..RawCodes::default()
        }
    }

    #[test]
    fn only_configured_codes_are_codes() {
        let codes = Codes::new(&raw("*37#", "#37#"), &[]).expect("codes");
        assert_eq!(codes.parse(b"*37#"), Some(Code::RequestLast));
        assert_eq!(codes.parse(b"*37%23"), Some(Code::RequestLast));
        assert_eq!(codes.parse(b"%2337%23"), Some(Code::CancelAll));
        for user in ["*37", "*37#1", "%", "%2", "%zz", ""] {
            assert_eq!(codes.parse(user.as_bytes()), None, "{user}");
        }
        assert_eq!(Codes::default().parse(b"*37#"), None);
    }

    #[test]
    fn a_code_in_the_way_of_an_emergency_number_is_refused() {
        let emergency = ["112".to_owned(), "911".to_owned()];
        for code in ["112", "11", "1123"] {
            let error = Codes::new(&raw(code, "#37#"), &emergency);
            let expected = CodeError::Emergency(code.to_owned(), "112".to_owned());
            assert_eq!(error, Err(expected));
        }
    }

    #[test]
    fn codes_that_are_the_same_or_cannot_be_dialled_are_refused() {
        assert_eq!(
            Codes::new(&raw("*37#", "*37#"), &[]),
            Err(CodeError::Duplicate("*37#".to_owned()))
        );
        for code in ["", "camp on", "*3a"] {
            let error = Codes::new(&raw(code, "#37#"), &[]);
            assert_eq!(error, Err(CodeError::NotDialable(code.to_owned())));
        }
    }

    fn full() -> RawCodes {
        let text = |text: &str| Some(text.to_owned());
        RawCodes {
            cancel: text("#37*{index}#"),
            cancel_all: text("#37#"),
            cancel_last: text("#37*#"),
            list: text("*#37#"),
            message: text("*39*{index}#"),
            request: text("*37*{number}#"),
            request_last: text("*37#"),
            resume: text("*38#"),
        }
    }

    #[test]
    fn a_number_or_an_index_has_its_place_in_a_code() {
        let codes = Codes::new(&full(), &["112".to_owned()]).expect("codes");
        let parse = |user: &str| codes.parse(user.as_bytes());
        assert_eq!(parse("*37*1234%23"), Some(Code::Request("1234".into())));
        assert_eq!(
            parse("*37*+49-30.1#"),
            Some(Code::Request("+49-30.1".into()))
        );
        assert_eq!(parse("*37*bob#"), Some(Code::Request("bob".into())));
        assert_eq!(parse("#37*2#"), Some(Code::Cancel(2)));
        assert_eq!(parse("#37*#"), Some(Code::CancelLast));
        assert_eq!(parse("*#37#"), Some(Code::List));
        assert_eq!(parse("*39*0#"), Some(Code::Message(0)));
        let long = format!("*37*{}#", "1".repeat(NUMBER_MAX + 1));
        for user in [
            "*37*#",
            "*37*12*3#",
            "*37*12",
            "#37*two#",
            "#37*12345#",
            &long,
        ] {
            assert_eq!(parse(user), None, "{user}");
        }
    }

    #[test]
    fn codes_that_could_be_dialled_for_each_other_are_refused() {
        let number = |request: &str| RawCodes {
            request: Some(request.to_owned()),
            ..full()
        };
        let both = CodeError::Ambiguous("#37*{index}#".to_owned(), "#37*{number}#".to_owned());
        assert_eq!(Codes::new(&number("#37*{number}#"), &[]), Err(both));
        // What ends in another way is another code.
        for request in ["#37*{number}", "*37*{number}"] {
            assert!(Codes::new(&number(request), &[]).is_ok(), "{request}");
        }
        let fixed = RawCodes {
            cancel_last: Some("#37*5#".to_owned()),
            ..full()
        };
        assert_eq!(
            Codes::new(&fixed, &[]),
            Err(CodeError::Ambiguous(
                "#37*{index}#".to_owned(),
                "#37*5#".to_owned()
            ))
        );
    }

    #[test]
    fn a_code_has_the_place_that_it_needs_and_takes_no_ordinary_number() {
        let number = |request: &str| {
            let raw = RawCodes {
                request: Some(request.to_owned()),
                ..RawCodes::default()
            };
            Codes::new(&raw, &["112".to_owned()])
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(
            number("*37#"),
            Err(CodeError::Place(text("*37#"), "one `{number}`"))
        );
        assert_eq!(
            number("37{number}"),
            Err(CodeError::TooWide(text("37{number}")))
        );
        for request in ["{number}#", "*37*{number}{number}", "*37*{index}{number}#"] {
            assert_eq!(number(request), Err(CodeError::NotDialable(text(request))));
        }
        let emergency = CodeError::Emergency(text("112*{number}#"), text("112"));
        assert_eq!(number("112*{number}#"), Err(emergency));
    }
}
