//! A browser without a screen: it keeps cookies as their attributes say and shows each redirect instead of following it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::patience::SOON;

/// Where a request comes from, as browsers decide which cookies go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The site's own page.
    Itself,
    /// A link or redirect of another site.
    Elsewhere,
}

/// One person's browser, and the sites it can reach.
#[derive(Debug, Clone)]
pub struct Browser {
    sites: BTreeMap<SocketAddr, Arc<ClientConfig>>,
    cookies: BTreeMap<(SocketAddr, String), Cookie>,
}

#[derive(Debug, Clone)]
struct Cookie {
    value: String,
    is_strict: bool,
}

/// What a site answered.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    /// Where it sends the browser.
    ///
    /// # Errors
    /// When it sends it nowhere.
    pub fn location(&self) -> Result<&str> {
        let location = self.headers.get(header::LOCATION).with_context(|| format!("{} {}", self.status, self.text))?;
        Ok(location.to_str()?)
    }

    /// Its JSON; `Null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Browser {
    /// One without cookies, that reaches `sites`.
    #[must_use]
    pub fn new(sites: impl IntoIterator<Item = (SocketAddr, Arc<ClientConfig>)>) -> Self {
        Self { sites: sites.into_iter().collect(), cookies: BTreeMap::new() }
    }

    /// The value of a cookie of a site.
    #[must_use]
    pub fn cookie(&self, site: SocketAddr, name: &str) -> Option<&str> {
        self.cookies.get(&(site, name.to_owned())).map(|cookie| cookie.value.as_str())
    }

    /// Opens `url` as a link on `from` does.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn open(&mut self, url: &str, from: From) -> Result<Page> {
        self.ask(Method::GET, url, from, &[], None).await
    }

    /// A page of the site itself asks it for something.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn call(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Page> {
        self.ask(method, url, From::Itself, headers, body).await
    }

    async fn ask(
        &mut self,
        method: Method,
        url: &str,
        from: From,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Page> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?}"))?;
        let site: SocketAddr = uri.authority().context("a site")?.as_str().parse()?;
        let tls = Arc::clone(self.sites.get(&site).with_context(|| format!("{site} is no site of the test"))?);
        let mut request = Request::builder()
            .method(method)
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, site.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "a browser of the tests");
        if let Some(cookies) = self.sent(site, from) {
            request = request.header(header::COOKIE, cookies);
        }
        request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let page = timeout(SOON, exchange(site, tls, request.body(Full::new(Bytes::from(body)))?)).await??;
        for line in page.headers.get_all(header::SET_COOKIE) {
            self.keep(site, line.to_str()?)?;
        }
        Ok(page)
    }

    fn sent(&self, site: SocketAddr, from: From) -> Option<String> {
        let of_site = self.cookies.iter().filter(|((of, _), _)| *of == site);
        let going = of_site.filter(|(_, cookie)| from == From::Itself || !cookie.is_strict);
        let pairs: Vec<_> = going.map(|((_, name), cookie)| format!("{name}={}", cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&mut self, site: SocketAddr, line: &str) -> Result<()> {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).context("a cookie")?;
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let has = |wanted: &str| attributes.iter().any(|attribute| attribute == wanted);
        if name.starts_with("__Host-") {
            ensure!(has("secure") && has("path=/"), "browsers refuse {line}");
        }
        let key = (site, name.to_owned());
        let is_over = has("max-age=0") || value.is_empty() || attributes.iter().any(|it| it.contains("1970"));
        if is_over {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, Cookie { value: value.to_owned(), is_strict: has("samesite=strict") });
        }
        Ok(())
    }
}

async fn exchange(site: SocketAddr, tls: Arc<ClientConfig>, request: Request<Full<Bytes>>) -> Result<Page> {
    let stream = TcpStream::connect(site).await?;
    let stream = TlsConnector::from(tls).connect(ServerName::IpAddress(site.ip().into()), stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let text = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
    Ok(Page { status: head.status, headers: head.headers, text })
}
