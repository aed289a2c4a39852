//! What the demo's pages are made of: their text, and where the application puts its own words into them.

use hyper::StatusCode;
use hyper::header::CONTENT_SECURITY_POLICY;

use super::answers::{Addresses, Answer, finish, head};

/// Nothing from elsewhere, no script in the page itself; the buttons of the slideshow are a form.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const SLIDESHOW: &str = include_str!("page/slideshow.html");
/// The script of the slideshow, which its page runs and shows.
const FIVE_LINES: &str = include_str!("page/five.js");
const BAYEUX: &str = include_str!("page/bayeux.html");

/// Path, type and content of what the pages are made of.
const ASSETS: &[(&str, &str, &str)] = &[
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/gallery.css", CSS, include_str!("page/gallery.css")),
    ("/slides.css", CSS, include_str!("page/slides.css")),
    ("/more.css", CSS, include_str!("page/more.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/gallery.js", SCRIPT, include_str!("page/gallery.js")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/stream.js", SCRIPT, include_str!("page/stream.js")),
    ("/chat.js", SCRIPT, include_str!("page/chat.js")),
    ("/slides.js", SCRIPT, include_str!("page/slides.js")),
    ("/five.js", SCRIPT, FIVE_LINES),
    ("/slideshow.js", SCRIPT, include_str!("page/slideshow.js")),
    ("/bayeux.js", SCRIPT, include_str!("page/bayeux.js")),
];

/// The files of the npm package `cometd` 9.0.0 that a chat needs, as they are published, with their licence.
const COMETD: &[(&str, &str)] = &[
    ("Client.js", include_str!("vendor/cometd-9.0.0/Client.js")),
    ("TransportRegistry.js", include_str!("vendor/cometd-9.0.0/TransportRegistry.js")),
    ("Transport.js", include_str!("vendor/cometd-9.0.0/Transport.js")),
    ("RequestTransport.js", include_str!("vendor/cometd-9.0.0/RequestTransport.js")),
    ("LongPollingTransport.js", include_str!("vendor/cometd-9.0.0/LongPollingTransport.js")),
    ("CallbackPollingTransport.js", include_str!("vendor/cometd-9.0.0/CallbackPollingTransport.js")),
    ("WebSocketTransport.js", include_str!("vendor/cometd-9.0.0/WebSocketTransport.js")),
    ("Extension.js", include_str!("vendor/cometd-9.0.0/Extension.js")),
    ("AckExtension.js", include_str!("vendor/cometd-9.0.0/AckExtension.js")),
];
const COMETD_FOLDER: &str = "/vendor/cometd-9.0.0/";
const COMETD_LICENCE: &str = include_str!("vendor/cometd-9.0.0/LICENSE");

/// A part of a page: a style, a script, a picture.
pub(super) fn asset(path: &str) -> Option<Answer> {
    if let Some((_, content_type, content)) = ASSETS.iter().find(|(known, ..)| *known == path) {
        return Some(finish(head(StatusCode::OK, content_type), *content));
    }
    let name = path.strip_prefix(COMETD_FOLDER)?;
    if name == "LICENSE" {
        return Some(finish(head(StatusCode::OK, "text/plain; charset=utf-8"), COMETD_LICENCE));
    }
    let (_, content) = COMETD.iter().find(|(known, _)| *known == name)?;
    Some(finish(head(StatusCode::OK, SCRIPT), *content))
}

/// The slideshow in five lines, at the slide that is up; the stream goes on from `position`.
pub(super) fn slideshow(slide: usize, position: &str) -> Answer {
    let page = SLIDESHOW
        .replace("{{slide}}", &slide.to_string())
        .replace("{{position}}", &escaped(position))
        .replace("{{script}}", &escaped(FIVE_LINES.trim_end()));
    finish(head(StatusCode::OK, HTML).header(CONTENT_SECURITY_POLICY, POLICY), page)
}

/// The chat over Bayeux, whose channels are none of the application's business.
pub(super) fn bayeux(addresses: Addresses) -> Answer {
    let page = BAYEUX.replace("{{control}}", &addresses.control.to_string());
    finish(head(StatusCode::OK, HTML).header(CONTENT_SECURITY_POLICY, POLICY), page)
}

/// As text in a page or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slideshow_has_five_lines_of_script() {
        assert_eq!(FIVE_LINES.lines().count(), 5);
    }

    #[test]
    fn what_stands_in_a_page_can_not_leave_its_place() {
        assert_eq!(escaped("a\"><script>&"), "a&quot;>&lt;script>&amp;");
    }
}
