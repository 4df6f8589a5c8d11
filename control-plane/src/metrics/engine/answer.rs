//! What an engine answers, as series and their values by time. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A series' labels, and its values by milliseconds since the epoch.
pub(super) type Found = (BTreeMap<String, String>, Vec<(i64, f64)>);

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the engine's answer is no answer of Prometheus' query API")]
    Json(#[from] serde_json::Error),
    #[error("the engine's answer has values that are no numbers")]
    Value(#[from] std::num::ParseFloatError),
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    metric: BTreeMap<String, String>,
    #[serde(borrow)]
    values: Vec<(f64, &'a str)>,
}

/// Reads a matrix: the answer of `query_range`, or of `query` with a range selector.
pub(super) fn read(body: &[u8]) -> Result<Vec<Found>, Unreadable> {
    let answer: Answer<'_> = serde_json::from_slice(body)?;
    let rows = answer.data.result.into_iter().map(|row| {
        let values = row.values.iter().map(|(seconds, text)| Ok(((seconds * 1e3).round() as i64, text.parse()?)));
        Ok((row.metric, values.collect::<Result<_, Unreadable>>()?))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_read_to_the_millisecond() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"up","name":"a\"b"},"values":[[1700000000.123,"0.25"],[1700000001,"1e+06"]]}]}}"#;
        let labels = [("__name__", "up"), ("name", "a\"b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values = vec![(1_700_000_000_123, 0.25), (1_700_000_001_000, 1e6)];
        assert_eq!(read(body).expect("readable"), [(labels.into(), values)]);
    }

    #[test]
    fn anything_else_is_an_error() {
        for body in [&b"<html>"[..], b"{}", br#"{"data":{"result":[{"metric":{},"values":[[1,"x"]]}]}}"#] {
            assert!(read(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
