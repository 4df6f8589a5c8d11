//! `/api/v1/docs`: the document for people. A static page that reads `openapi.json`; it loads nothing from elsewhere,
//! and its policy lets it run nothing but its own script.

use http::{HeaderName, header};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

type Asset = ([(HeaderName, &'static str); 5], &'static str);

fn asset(kind: &'static str, text: &'static str) -> Asset {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A newer version's page must not meet an older one's script.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}

/// The API's documentation, to be read in a browser.
#[utoipa::path(get, path = "/api/v1/docs", tag = "control plane", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html", example = "<!doctype html>")))]
pub async fn docs_page() -> Asset {
    asset("text/html; charset=utf-8", include_str!("page/index.html"))
}

/// The page's script.
#[utoipa::path(get, path = "/api/v1/docs/page.js", tag = "control plane", responses(
    (status = 200, description = "The script", body = String, content_type = "text/javascript", example = "\"use strict\";")))]
pub async fn docs_script() -> Asset {
    asset("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

/// The page's style.
#[utoipa::path(get, path = "/api/v1/docs/style.css", tag = "control plane", responses(
    (status = 200, description = "The style", body = String, content_type = "text/css", example = "body { margin: 0 }")))]
pub async fn docs_style() -> Asset {
    asset("text/css; charset=utf-8", include_str!("page/style.css"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_nothing_inline() {
        let ([_, (_, policy), ..], page) = asset("text/html", include_str!("page/index.html"));
        assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"), "{policy}");
        let (script, style) = (include_str!("page/page.js"), include_str!("page/style.css"));
        for text in [page, script, style] {
            assert!(!text.contains("http://") && !text.contains("https://"), "something is fetched from elsewhere");
        }
        assert!(
            !page.contains("style=") && !page.contains("onclick") && !page.contains("<style"),
            "inline style or script"
        );
        assert_eq!(page.matches("<script").count(), page.matches("<script src=").count(), "an inline script");
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(markup), "{markup} would make markup of the document's texts");
        }
    }
}
