//! How a page says what went wrong: like every other page of who asks, with a way on.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, HOST, REFERER};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::Dashboard;
use super::address::local;
use super::cookie::Cookie;
use super::page::{Frame, shown};
use super::trouble::Trouble;
use super::unsent::{Asked, Said, Unsent};
use super::viewer::Viewer;
use crate::pure::secret;

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'t> {
    frame: Frame,
    why: &'t str,
    /// The page that they came from.
    back: Option<&'t str>,
}

#[derive(Template)]
#[template(path = "unsent.html")]
struct UnsentPage<'t> {
    frame: Frame,
    why: &'t str,
    action: &'t str,
    /// What the form says that they know, what it carries, and what they are asked for.
    said: Vec<Said<'t>>,
    carried: Vec<&'t (String, String)>,
    asked: Vec<Asked<'t>>,
    back: Option<&'t str>,
}

/// Makes a page of each [`Trouble`], and of what the router or an address says by itself. `pages` are those that
/// there are.
pub(super) async fn say(
    State((at, pages)): State<(Dashboard, Router)>,
    request: Request,
    next: Next,
) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let response = next.run(request).await;
    let Some(trouble) = trouble_of(&uri, &response) else {
        return response;
    };
    // Where it cannot be found out who asks, anybody may have asked.
    let frame = match Viewer::of(&at, &headers).await {
        Ok(viewer) => viewer.frame(&trouble.what),
        Err(_) => Frame::bare(&trouble.what),
    };
    let back = match came_from(&uri, &headers) {
        Some(page) if is_looked_at(pages, page).await => Some(page),
        Some(_) | None => None,
    };
    let unsent = response.extensions().get::<Arc<Unsent>>();
    let page = match (unsent, Cookie::of(&headers)) {
        (Some(form), Ok(cookie)) => cookie.keep(again(&trouble, form, frame, &cookie, back)),
        _ => shown(trouble.status, &TroublePage { frame, why: &trouble.why, back }),
    };
    let (mut head, _) = response.into_parts();
    let (of_page, body) = page.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.extend(of_page.headers);
    Response::from_parts(head, body)
}

/// The page of a form that may be sent again, with a token of the session that there is.
fn again(
    trouble: &Trouble,
    form: &Unsent,
    frame: Frame,
    cookie: &Cookie,
    back: Option<&str>,
) -> Response {
    let page = UnsentPage {
        frame: Frame { form_token: secret::form_token(&cookie.text), ..frame },
        why: &trouble.why,
        action: &form.action,
        said: form.said(),
        carried: form.carried().collect(),
        asked: form.asked(),
        back,
    };
    shown(trouble.status, &page)
}

/// Whether there is something to be seen at this address, to which forms may be sent too: nothing is at one that is
/// for that alone. The router says so to who asks what an address is for (RFC 9110, 9.3.7), and runs nothing.
async fn is_looked_at(pages: Router, address: &str) -> bool {
    let asked = Request::options(address).body(Body::empty());
    let Ok(asked) = asked else { return false };
    let Ok(said) = TowerToHyperService::new(pages).call(asked).await;
    let allowed = said.headers().get(ALLOW).and_then(|allowed| allowed.to_str().ok());
    allowed.is_some_and(|allowed| allowed.split(',').any(|method| method == Method::GET.as_str()))
}

fn trouble_of(uri: &Uri, response: &Response) -> Option<Arc<Trouble>> {
    if let Some(trouble) = response.extensions().get::<Arc<Trouble>>() {
        return Some(Arc::clone(trouble));
    }
    match uri.path().starts_with("/api/") {
        true => None,
        false => Trouble::of_router(response, Trouble::only_sent).map(Arc::new),
    }
}

/// The page of ours that led here, as the browser says; none where that is this one.
fn came_from<'h>(uri: &Uri, headers: &'h HeaderMap) -> Option<&'h str> {
    let from = headers.get(REFERER)?.to_str().ok()?;
    let host = headers.get(HOST)?.to_str().ok()?;
    let rest = from.strip_prefix("https://").or_else(|| from.strip_prefix("http://"))?;
    let page = rest.strip_prefix(host).filter(|page| page.starts_with('/'))?;
    let is_here = uri.path_and_query().is_some_and(|here| here.as_str() == page);
    (!is_here && local(page) == page).then_some(page)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_way_back_leads_to_a_page_of_ours() {
        for (from, expected) in [
            ("http://a.b:1/people?organisation=acme", Some("/people?organisation=acme")),
            ("https://a.b:1/", Some("/")),
            ("https://a.b:1/here?x=y", None),
            ("https://a.b:1/here", Some("/here")),
            ("http://a.b:1", None),
            ("http://a.b:11/", None),
            ("http://a.b/", None),
            ("http://a.b:1//evil.example/", None),
            ("http://evil.example/", None),
            ("javascript:alert(1)", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("a.b:1"));
            headers.insert(REFERER, HeaderValue::from_static(from));
            let here = Uri::from_static("/here?x=y");
            assert_eq!(came_from(&here, &headers), expected, "{from}");
        }
    }
}
