//! What happens at the edge of a route, whatever answers it: who may come in, where else a request belongs, edits of
//! heads, pages instead of the proxy's own texts, compression, pages of other origins and their scripts.
//!
//! Pure: it says what is to be done, and changes heads and bodies that it is given. It knows no sites, no pools and no
//! log. A route of which nothing of this was asked has no [`Edge`] at all.

mod access;
mod compress;
mod decoder;
mod edits;
mod encoder;
mod jsonp;
mod location;
mod maintenance;
mod origins;
mod plain_path;
mod scripted;
mod weights;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::body::Body;
use crate::config::{EdgeConfig, Edit, ErrorPage, SiteConfig};

pub use access::Access;
pub use decoder::{Undecoded, decode};
pub use edits::edit;
pub use jsonp::{Jsonp, Meant};
pub use location::{Canon, Redirect};
pub use maintenance::{Closed, Maintenance};
pub use plain_path::{behind, plain_path};
pub use scripted::scripted;
pub use weights::weights;

use compress::Compression;

/// The edge of one route.
pub struct Edge {
    /// The one address of its site, if there is one.
    pub canon: Option<Canon>,
    /// A request has to pass each of them.
    pub access: Box<[Access]>,
    /// Edits of the request that an application gets.
    pub request: Box<[Edit]>,
    /// What scripts of pages may ask for.
    pub jsonp: Option<Jsonp>,
    /// Whether pages of every origin may read its answers.
    is_open: bool,
    response: Box<[Edit]>,
    pages: Box<[ErrorPage]>,
    compression: Option<Compression>,
}

impl Edge {
    /// As configured for a route of this site; `None` where nothing is.
    pub fn new(site: &SiteConfig, config: &EdgeConfig) -> Option<Box<Edge>> {
        let EdgeConfig { access, request, response, errors, compress, cross_origin, jsonp } = config;
        let edge = Edge {
            canon: Canon::new(site),
            access: access.iter().map(Access::new).collect(),
            request: request.as_slice().into(),
            jsonp: jsonp.as_ref().map(Jsonp::new),
            is_open: *cross_origin,
            response: response.as_slice().into(),
            pages: errors.as_slice().into(),
            compression: compress.as_ref().map(Compression::new),
        };
        let lists = [
            edge.access.is_empty(),
            edge.request.is_empty(),
            edge.response.is_empty(),
            edge.pages.is_empty(),
        ];
        let has_part =
            edge.canon.is_some() || edge.compression.is_some() || edge.jsonp.is_some() || edge.is_open;
        (has_part || lists != [true; 4]).then(|| Box::new(edge))
    }

    /// Edits the head of an answer, whoever gave it.
    pub fn edit_answer(&self, headers: &mut HeaderMap) {
        edit(headers, &self.response);
    }

    /// Lets pages of every origin read an answer to this request, where that is configured.
    pub fn open_up(&self, request: &HeaderMap, headers: &mut HeaderMap) {
        if self.is_open {
            origins::open_up(request, headers);
        }
    }

    /// Puts the page for its status in place of a text of the proxy's own.
    pub fn dress(&self, response: &mut Response<Body>) {
        let Some(page) = self.page(response.status()) else { return };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.media_type));
        headers.remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(page.body.clone());
    }

    /// Compresses an answer to this request, where it may be and the client likes it.
    pub fn compress(&self, request: &HeaderMap, response: &mut Response<Body>) {
        if let Some(compression) = &self.compression {
            compression.apply(compression.choose(request), response);
        }
    }

    fn page(&self, status: StatusCode) -> Option<&ErrorPage> {
        self.pages.iter().find(|page| page.status == status)
    }
}
