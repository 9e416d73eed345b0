//! The zone that datetimes of the original tables are in.

use std::fmt;
use std::str::FromStr;

/// A fixed distance from UTC, written "+08:00".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeZone {
    seconds: i64,
}

impl TimeZone {
    pub const UTC: Self = Self { seconds: 0 };

    /// The seconds since 1970 on a clock of this zone, of an instant.
    pub(super) fn local(self, instant: i64) -> i64 {
        instant.saturating_add(self.seconds)
    }

    /// The instant at which a clock of this zone shows these seconds since 1970.
    pub(super) fn instant(self, local: i64) -> i64 {
        local.saturating_sub(self.seconds)
    }
}

impl FromStr for TimeZone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no offset from UTC such as \"+08:00\"");
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(wrong()),
        };
        let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
        let number = |digits: &str, below: i64| {
            let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            let number: i64 = digits.parse().map_err(|_| wrong())?;
            if two && number < below { Ok(number) } else { Err(wrong()) }
        };
        Ok(Self { seconds: sign * (number(hours, 15)? * 3600 + number(minutes, 60)? * 60) })
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.seconds < 0 { '-' } else { '+' };
        let minutes = self.seconds.abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_and_shown() {
        for text in ["+08:00", "-05:30", "+00:00", "+14:00"] {
            assert_eq!(text.parse::<TimeZone>().map(|zone| zone.to_string()).as_deref(), Ok(text));
        }
        for wrong in ["", "8", "+8:00", "08:00", "+08", "+24:00", "+08:60", "Asia/Shanghai", "+é"]
        {
            assert!(wrong.parse::<TimeZone>().is_err(), "{wrong}");
        }
        let china: TimeZone = "+08:00".parse().expect("it is an offset");
        assert_eq!((china.local(0), china.instant(28_800)), (28_800, 0));
    }
}
