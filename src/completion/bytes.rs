//! Records as bytes: numbers are big-endian, texts are preceded by their length in two bytes.

use crate::cc::addr::AddrSpec;

/// What was written, and is taken from the front.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

/// It is not what was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Broken;

/// What is written, at the end.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, number: u32) {
        self.put(number.to_be_bytes());
    }

    pub(super) fn long(&mut self, number: u64) {
        self.put(number.to_be_bytes());
    }

    pub(super) fn bits(&mut self, bits: u128) {
        self.put(bits.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        // All of them came in one message of at most 65 535 bytes.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.put(length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// An address, or an empty text.
    pub(super) fn address(&mut self, address: Option<&AddrSpec>) {
        self.text(address.map(AddrSpec::as_str).unwrap_or_default());
    }

    /// 1 and what is written for it, or 0.
    pub(super) fn option<T>(&mut self, option: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(option.is_some()));
        if let Some(some) = option {
            write(self, some);
        }
    }
}

impl<'b> Reader<'b> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (bytes, after) = self.0.split_first_chunk().ok_or(Broken)?;
        self.0 = after;
        Ok(*bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u32, Broken> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, Broken> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn bits(&mut self) -> Result<u128, Broken> {
        self.take().map(u128::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, Broken> {
        let length = u16::from_be_bytes(self.take()?);
        let (text, after) = self.0.split_at_checked(length.into()).ok_or(Broken)?;
        self.0 = after;
        str::from_utf8(text).map_err(|_| Broken)
    }

    /// An address; none, if the text is empty.
    pub(super) fn address(&mut self) -> Result<Option<AddrSpec>, Broken> {
        match self.text()? {
            "" => Ok(None),
            text => AddrSpec::new(text).map(Some).map_err(|_| Broken),
        }
    }

    /// What [`Writer::option`] wrote.
    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Broken>,
    ) -> Result<Option<T>, Broken> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Broken),
        }
    }
}
