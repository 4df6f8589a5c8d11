//! The engine that keeps samples instead of the database, as it is set up.

use http::Uri;

use super::{
    InvalidConfig, Layers,
    file::{certificates_in, secret_in},
    missing,
    remote_write::{headers, url},
};
use crate::metrics::exchange::{Destination, below};

const URL: &str = "metric_store_url";
const DEPENDENT: [&str; 4] =
    ["metric_store_write_url", "metric_store_bearer_token_file", "metric_store_headers", "metric_store_ca_file"];
/// Where engines take samples, unless told otherwise.
const WRITE_PATH: &str = "/api/v1/write";

/// Where samples are kept and asked for.
#[derive(Debug, Clone)]
pub struct MetricStoreSettings {
    /// `/api/v1/query` and `/api/v1/query_range` are below its path.
    pub read: Destination,
    /// Where remote-write goes.
    pub write: Destination,
}

impl MetricStoreSettings {
    /// The engine, if one is set.
    ///
    /// # Errors
    /// The first setting that is unusable, or set without an address.
    pub(super) fn resolve(layers: &Layers) -> Result<Option<Self>, InvalidConfig> {
        let Some(read) = layers.parse(URL, base)? else {
            return match DEPENDENT.iter().find(|name| layers.text(name).is_some()) {
                Some(name) => Err(missing(name, "it means nothing without metric_store_url")),
                None => Ok(None),
            };
        };
        let write = match layers.parse("metric_store_write_url", url)? {
            Some(write) => write,
            None => format!("{}{}", authority(&read), below(&read, WRITE_PATH))
                .parse()
                .map_err(|_| missing(URL, "nothing can be written below it: set metric_store_write_url"))?,
        };
        if layers.parse("remote_write_url", url)?.is_some_and(|also| also == write) {
            let reason = "remote_write_url is the metric store, which has every sample already: unset it";
            return Err(missing("remote_write_url", reason));
        }
        let read = Destination {
            url: read,
            bearer_token: layers.parse("metric_store_bearer_token_file", secret_in)?,
            headers: layers.parse("metric_store_headers", headers)?.unwrap_or_default(),
            authorities: layers.parse("metric_store_ca_file", certificates_in)?.unwrap_or_default(),
        };
        Ok(Some(Self { write: Destination { url: write, ..read.clone() }, read }))
    }
}

fn base(text: &str) -> Result<Uri, String> {
    let base = url(text)?;
    if base.query().is_some() || base.path().contains("/api/v1/") {
        return Err("expected the address above /api/v1/query, such as http://victoria:8428".to_owned());
    }
    Ok(base)
}

fn authority(url: &Uri) -> String {
    let (scheme, authority) = (url.scheme_str().unwrap_or("http"), url.authority().map_or("", |it| it.as_str()));
    format!("{scheme}://{authority}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeFlags;

    fn resolved(set: &[(&str, &str)]) -> Result<Option<(String, String)>, String> {
        let environment =
            set.iter().map(|(name, value)| (format!("MUSTER_{}", name.to_uppercase()), (*value).to_owned()));
        let layers = Layers::assemble(ServeFlags::default(), environment, |_| Ok(None)).expect("known settings");
        let settings = MetricStoreSettings::resolve(&layers).map_err(|error| error.to_string())?;
        Ok(settings.map(|settings| (settings.read.url.to_string(), settings.write.url.to_string())))
    }

    #[test]
    fn samples_are_written_below_the_address_unless_told_otherwise() {
        assert_eq!(resolved(&[]), Ok(None));
        let of = |url: &str| resolved(&[(URL, url)]).expect("good").expect("one").1;
        assert_eq!(of("http://vm:8428"), "http://vm:8428/api/v1/write");
        assert_eq!(of("https://proxy/prometheus/"), "https://proxy/prometheus/api/v1/write");
        let mimir = resolved(&[(URL, "http://mimir/prometheus"), (DEPENDENT[0], "http://mimir/api/v1/push")]);
        let expected = ("http://mimir/prometheus".to_owned(), "http://mimir/api/v1/push".to_owned());
        assert_eq!(mimir, Ok(Some(expected)));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for set in [
            &[(URL, "vm:8428")][..],
            &[(URL, "http://vm:8428/api/v1/query")],
            &[(URL, "http://vm:8428?a=b")],
            &[(DEPENDENT[2], "a=b")],
            &[(URL, "http://vm:8428"), ("remote_write_url", "http://vm:8428/api/v1/write")],
        ] {
            assert!(resolved(set).is_err(), "{set:?}");
        }
    }
}
