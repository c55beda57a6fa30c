// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks a server whether it is there, and what time it has.

use std::time::Duration;

use reqwest::header::DATE;
use reqwest::redirect::Policy;

use super::client::{self, causes, reason};

/// Asks for the head of `url`, through the proxy that the environment names. Any answer will do, also an error or a
/// redirection. Returns the answer's `Date` in seconds since the Epoch, where it has one.
///
/// # Errors
/// Where no answer came within `timeout`: the reason, for messages.
pub fn probe(url: &str, timeout: Duration) -> Result<Option<u64>, String> {
    let client = client::builder()
        .connect_timeout(timeout)
        .timeout(timeout)
        .redirect(Policy::none())
        .build()
        .map_err(|error| causes(&error))?;
    let answer = client.head(url).send();
    let answer = answer.map_err(|error| reason(url, &error))?;
    let date = answer.headers().get(DATE);
    Ok(date.and_then(|date| parse_date(date.to_str().ok()?)))
}

/// Reads the one form of a date that servers may send: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7). In seconds
/// since the Epoch; `None` for anything else.
pub fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':');
    let mut part = || clock.next()?.parse::<u64>().ok();
    let (hour, minute, second) = (part()?, part()?, part()?);
    let rest = (words.next(), words.next());
    let is_possible = (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if rest != (Some("GMT"), None) || !is_possible {
        return None;
    }
    // Years that begin in March have their leap day last: Howard Hinnant's algorithm `days_from_civil`.
    let year = year - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    let days = days.checked_sub(719_468)?;
    Some(days * 86400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_date_is_read() {
        let date = |text| parse_date(text);
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400));
        assert_eq!(date("Mon, 23 Nov 2026 04:12:04 GMT"), Some(1_795_407_124));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "now",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT or so",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
