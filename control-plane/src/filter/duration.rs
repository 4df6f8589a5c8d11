//! Durations as CEL writes them, and days: `90s`, `1h30m`, `7d`.

/// Microseconds of `text`; `None` for what is no duration, or longer than 292,000 years.
pub(super) fn duration_us(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total_us: i64 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let (digits, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        let unit_us = match unit {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        total_us = total_us.checked_add(digits.parse::<i64>().ok()?.checked_mul(unit_us)?)?;
        parts += 1;
        rest = after;
    }
    (parts > 0).then_some(sign * total_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        assert_eq!(duration_us("1h30m"), Some(5_400_000_000));
        assert_eq!(duration_us("7d"), Some(604_800_000_000));
        assert_eq!(duration_us("-250ms"), Some(-250_000));
        for text in ["", "-", "5", "h", "1w", "1.5h", "1 h", "99999999999999999999s", "999999999999999d"] {
            assert_eq!(duration_us(text), None, "{text}");
        }
    }
}
