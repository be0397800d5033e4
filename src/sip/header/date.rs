//! Date: a moment of the calendar, as SIP writes it.
//!
//! Spec: RFC 3261 §20.17, §25.1 (rfc1123-date, always GMT).

use std::fmt;

/// Seconds since 1970, in UTC; written as `Sat, 13 Nov 2010 23:29:00 GMT`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Date(pub u64);

/// 1970-01-01 was one.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];
const DAY_S: u64 = 86_400;
/// The last year that has four digits.
const YEAR_MAX: u64 = 9_999;

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut day, second) = (self.0 / DAY_S, self.0 % DAY_S);
        let weekday = DAYS.iter().cycle().nth(usize::from(day_of_week(day)));
        let mut year = 1970;
        while year < YEAR_MAX && day >= days_in(year) {
            day -= days_in(year);
            year += 1;
        }
        let mut month = "Dec";
        for (name, days) in MONTHS {
            month = name;
            let days = days + u64::from(name == "Feb" && is_leap(year));
            if day < days {
                break;
            }
            day -= days;
        }
        write!(
            f,
            "{}, {:02} {month} {year:04} {:02}:{:02}:{:02} GMT",
            weekday.unwrap_or(&"Thu"),
            day + 1,
            second / 3600,
            second / 60 % 60,
            second % 60,
        )
    }
}

fn day_of_week(day: u64) -> u8 {
    u8::try_from(day % 7).unwrap_or(0)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_the_standard_shows_it() {
        for (second, written) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_289_690_940, "Sat, 13 Nov 2010 23:29:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(Date(second).to_string(), written);
        }
    }
}
