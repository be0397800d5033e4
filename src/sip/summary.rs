//! Message summaries: whether something waits for a user, and how much of what.
//!
//! Spec: RFC 3842 §3.4, §5.2.

/// The media type.
pub const MEDIA_TYPE: &str = "application/simple-message-summary";

/// Whether anything waits, for which account, and how many new texts: a summary of texts alone.
pub fn of_texts(account: &[u8], texts: usize) -> Vec<u8> {
    let waits = if texts > 0 { "yes" } else { "no" };
    let mut summary = format!("Messages-Waiting: {waits}\r\nMessage-Account: ").into_bytes();
    summary.extend_from_slice(account);
    summary.extend_from_slice(format!("\r\nText-Message: {texts}/0\r\n").as_bytes());
    summary
}

/// Whether a body is a summary at all.
pub fn is_summary(body: &[u8]) -> bool {
    let mut lines = body.split(|byte| *byte == b'\n');
    let status = lines.next().unwrap_or_default();
    value_of(status, b"Messages-Waiting").is_some()
}

/// Somebody else's summary with so many new texts more; `None` if that changes nothing, or if it is no
/// summary.
pub fn with_texts(summary: &[u8], texts: usize) -> Option<Vec<u8>> {
    let mut lines = summary.split_inclusive(|byte| *byte == b'\n');
    let status = lines.next().filter(|_| texts > 0 && is_summary(summary))?;
    let mut merged = b"Messages-Waiting: yes\r\n".to_vec();
    let mut is_counted = false;
    // What follows an empty line are fields of single messages.
    let mut rest: &[u8] = &[];
    let mut at = status.len();
    for line in lines {
        if line.trim_ascii().is_empty() {
            rest = summary.get(at..).unwrap_or_default();
            break;
        }
        at += line.len();
        match value_of(line, b"Text-Message").and_then(|counts| more(counts, texts)) {
            Some(counts) if !is_counted => {
                is_counted = true;
                merged.extend_from_slice(b"Text-Message: ");
                merged.extend_from_slice(&counts);
            }
            Some(_) | None => merged.extend_from_slice(line.trim_ascii_end()),
        }
        merged.extend_from_slice(b"\r\n");
    }
    if !is_counted {
        merged.extend_from_slice(format!("Text-Message: {texts}/0\r\n").as_bytes());
    }
    merged.extend_from_slice(rest);
    Some(merged)
}

/// What a line says, if it is the one of this name.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (before, value) = line.split_at_checked(colon)?;
    let is_it = before.trim_ascii().eq_ignore_ascii_case(name);
    is_it.then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// `new/old (urgent/urgent)` with so many new ones more.
fn more(counts: &[u8], texts: usize) -> Option<Vec<u8>> {
    let slash = counts.iter().position(|byte| *byte == b'/')?;
    let (new, rest) = counts.split_at_checked(slash)?;
    let new: usize = str::from_utf8(new.trim_ascii()).ok()?.parse().ok()?;
    let new = new.saturating_add(texts).to_string();
    Some([new.as_bytes(), rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(summary: &str, texts: usize) -> Option<String> {
        let merged = with_texts(summary.as_bytes(), texts)?;
        Some(String::from_utf8(merged).expect("text"))
    }

    #[test]
    fn a_summary_says_whether_anything_waits_and_how_much() {
        let summary = |texts| String::from_utf8(of_texts(b"sip:bob@b.example", texts));
        assert_eq!(
            summary(2).expect("text"),
            "Messages-Waiting: yes\r\nMessage-Account: sip:bob@b.example\r\nText-Message: 2/0\r\n"
        );
        assert!(
            summary(0)
                .expect("text")
                .starts_with("Messages-Waiting: no\r\n")
        );
    }

    #[test]
    fn texts_are_added_and_all_else_stays() {
        for (summary, expected) in [
            (
                "Messages-Waiting: no\r\nMessage-Account: sip:b@x\r\nVoice-Message: 0/8 (0/2)\r\n",
                "Messages-Waiting: yes\r\nMessage-Account: sip:b@x\r\nVoice-Message: 0/8 (0/2)\r\n\
                 Text-Message: 2/0\r\n",
            ),
            (
                "messages-waiting : yes\ntext-message: 3/1 (1/0)\nFax-Message: 1/0",
                "Messages-Waiting: yes\r\nText-Message: 5/1 (1/0)\r\nFax-Message: 1/0\r\n",
            ),
            (
                "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n\r\nTo: <sip:b@x>\r\nDate: x\r\n",
                "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\nText-Message: 2/0\r\n\
                 \r\nTo: <sip:b@x>\r\nDate: x\r\n",
            ),
        ] {
            assert_eq!(merged(summary, 2).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_summary_or_gets_nothing_more_stays_as_it_is() {
        for summary in ["", "Voice-Message: 1/0\r\n", "nothing", "\r\n"] {
            assert_eq!(merged(summary, 2), None, "{summary:?}");
        }
        assert_eq!(merged("Messages-Waiting: no\r\n", 0), None);
        // A count that is none is not counted on.
        assert_eq!(
            merged("Messages-Waiting: no\r\nText-Message: many\r\n", 1).as_deref(),
            Some("Messages-Waiting: yes\r\nText-Message: many\r\nText-Message: 1/0\r\n")
        );
    }
}
