//! Clients that come back with a ticket: held again without a word to the application, and given the next ticket.
//!
//! A ticket travels in a cookie of the URL's path, and for scripts in what they are sent and in the field
//! [`FIELD`]. Whatever is wrong with one, the request is an ordinary one. So is that of a page which names no position:
//! it is a new one, and only the application knows what it shows already.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER, SET_COOKIE};
use hyper::http::request::Parts;

use super::Context;
use super::check::Asked;
use super::record::Record;
use super::refusal::Refusal;
use crate::hold::{
    Answer, Asked as AskedToHold, BadTicket, ClientSide, Hold, Scope, Source, TakeOver, Ticket, TicketTerms,
    client_start, moment,
};
use crate::message::Position;

/// The name of the cookie, which no application gets.
const COOKIE_NAME: &str = "comet-ticket";
/// The field in which a script brings its ticket, which no application gets.
pub(super) const FIELD: &str = "comet-ticket";

/// What became of a ticket; a label of `perihelion_comet_tickets_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketEnd {
    Given,
    TooLarge,
    Taken,
    Expired,
    Foreign,
    Revoked,
    /// The request asks for something else than the ticket is for, or says no position.
    Unfit,
}

impl TicketEnd {
    /// By number.
    pub(super) const WORDS: [&str; 7] =
        ["given", "too_large", "taken", "expired", "foreign", "revoked", "unfit"];
}

/// Holds the client of a valid ticket. `None` where the application is to be asked.
pub(super) fn resume(
    ctx: &Context<'_>,
    parts: &Parts,
    asked: &Asked,
    record: &mut Record,
) -> Option<Result<TakeOver, Refusal>> {
    let tickets = ctx.keeper.tickets().filter(|tickets| tickets.are_out())?;
    if parts.method != Method::GET || asked.has_body() || !asked.holdable {
        return None;
    }
    let text = brought(&parts.headers)?;
    let now = SystemTime::now();
    let end = match tickets.open(text, &scope(ctx, parts), now) {
        Ok(ticket) => match rejoin(ctx, parts, asked, &ticket, moment()) {
            Some(rejoined) => return Some(rejoined.and_then(|back| take_over(ctx, parts, back, record))),
            None => TicketEnd::Unfit,
        },
        Err(BadTicket::Expired) => TicketEnd::Expired,
        Err(BadTicket::Foreign) => TicketEnd::Foreign,
        Err(BadTicket::Revoked) => TicketEnd::Revoked,
    };
    ctx.site.ticket(end);
    None
}

/// Gives the client of a hold a ticket, in its head and where its frames have a place for it.
pub(super) fn give(
    ctx: &Context<'_>,
    parts: &Parts,
    terms: &TicketTerms,
    headers: &HeaderMap,
    hold: &mut Hold,
) {
    let Some(tickets) = ctx.keeper.tickets().filter(|_| parts.method == Method::GET) else { return };
    let now = SystemTime::now();
    let ticket = Ticket::new(hold, terms, headers, tickets.renewal(), now);
    match tickets.seal(&ticket, &scope(ctx, parts)) {
        Ok(text) => {
            let secure = ctx.client.is_secure(ctx.rules, &parts.headers);
            if let Ok(cookie) = cookie((&text, ticket.lasts(now)), parts.uri.path(), secure) {
                hold.answer.headers.append(SET_COOKIE, cookie);
            }
            hold.parameters.carry(text, ticket.position());
            ctx.site.ticket(TicketEnd::Given);
        }
        Err(reason) => {
            tracing::debug!(site = &**ctx.site.name(), "no ticket was given: {reason}");
            ctx.site.ticket(TicketEnd::TooLarge);
        }
    }
}

/// A hold as a ticket says it, and what the next ticket is made of.
struct Back {
    hold: Hold,
    terms: Box<TicketTerms>,
    headers: HeaderMap,
}

/// What the ticket holds for this request; `None` where it is for another kind of request.
fn rejoin(
    ctx: &Context<'_>,
    parts: &Parts,
    asked: &Asked,
    ticket: &Ticket,
    at: SystemTime,
) -> Option<Result<Back, Refusal>> {
    let (fields, query) = (&parts.headers, parts.uri.query());
    let position = match client_start(fields, query) {
        // Where the client says it itself, this one isn't used.
        Some(_) => ctx.keeper.head(),
        None => silent_position(fields, ticket)?,
    };
    let mut instruction = ticket.instruction()?;
    let terms = instruction.ticket.take()?;
    let (status, headers) = ticket.head();
    let mut marked = headers.clone();
    ctx.cors.mark(fields.get(ORIGIN), &mut marked);
    let answer = Answer { status, headers: marked, body: Bytes::new() };
    let client = ClientSide { version: parts.version, keep_alive: asked.keep_alive };
    let upgrade = asked.websocket;
    let to_hold =
        AskedToHold { headers: fields, upgrade, query, forwarded_at: position, now: ctx.keeper.head(), at };
    let mut hold = instruction.hold(to_hold, answer, client).ok()?;
    if !ticket.is_for(hold.transport) {
        return None;
    }
    if hold.is_socket() && !ctx.cors.admits_socket(fields) {
        return Some(Err(Refusal::ForeignOrigin));
    }
    hold.source = Source::Ticket;
    Some(Ok(Back { hold, terms, headers }))
}

/// Where a client is that doesn't say it: at the beginning of its stream, if it is a program that comes back. A poll's
/// beginning is behind what it was answered.
fn silent_position(headers: &HeaderMap, ticket: &Ticket) -> Option<Position> {
    let page_signs = [ORIGIN, REFERER, HeaderName::from_static("sec-fetch-mode")];
    let is_page = page_signs.iter().any(|sign| headers.contains_key(sign));
    ticket.position().filter(|_| !is_page && !ticket.is_of_poll())
}

fn take_over(ctx: &Context<'_>, parts: &Parts, back: Back, record: &mut Record) -> Result<TakeOver, Refusal> {
    let Back { mut hold, terms, headers } = back;
    let permit = ctx.keeper.admit(&hold.wishes)?;
    give(ctx, parts, &terms, &headers, &mut hold);
    ctx.site.ticket(TicketEnd::Taken);
    hold.subject = record.held(hold.answer.status);
    Ok(TakeOver::Hold(Box::new(hold), permit))
}

fn scope<'a>(ctx: &Context<'a>, parts: &'a Parts) -> Scope<'a> {
    let host = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(|authority| authority.as_str()).or_else(host);
    let (path, query) = (parts.uri.path(), parts.uri.query());
    Scope { site: ctx.site.name(), authority: authority.unwrap_or_default(), path, query }
}

/// The ticket that a request brings. A script's own counts more than the cookie.
fn brought(headers: &HeaderMap) -> Option<&str> {
    if let Some(field) = headers.get(FIELD) {
        return field.to_str().ok();
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// Whether a Cookie field has a ticket among others.
pub(super) fn has_ticket(cookies: &[u8]) -> bool {
    memchr::memmem::find(cookies, COOKIE_NAME.as_bytes()).is_some()
}

/// A Cookie field without tickets, which may leave nothing.
pub(super) fn without_ticket(cookies: &[u8]) -> Vec<u8> {
    let pairs = cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name =
        |pair: &[u8]| pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_vec();
    let kept = pairs.filter(|pair| !pair.is_empty() && name(pair) != COOKIE_NAME.as_bytes());
    kept.collect::<Vec<_>>().join(&b"; "[..])
}

/// A cookie for this path and what is below it (RFC 6265 §5.1.4), for as long as the ticket lasts.
fn cookie(
    (text, lasts): (&str, Duration),
    path: &str,
    secure: bool,
) -> Result<HeaderValue, hyper::header::InvalidHeaderValue> {
    // A semicolon would end the attribute: the folder above it is the next path that still matches.
    let path = match path.split_once(';') {
        Some((before, _)) => &before[..before.rfind('/').map_or(0, |slash| slash + 1)],
        None => path,
    };
    let seconds = lasts.as_secs();
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!(
        "{COOKIE_NAME}={text}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_taken_out_from_among_other_cookies() {
        for (cookies, rest) in [
            ("comet-ticket=a.b", ""),
            ("a=1; comet-ticket=a.b; c=3", "a=1; c=3"),
            ("comet-ticket=x;comet-ticket = y ;;a=1", "a=1"),
            ("comet-tickets=1; xcomet-ticket=2", "comet-tickets=1; xcomet-ticket=2"),
        ] {
            assert!(has_ticket(cookies.as_bytes()));
            assert_eq!(String::from_utf8(without_ticket(cookies.as_bytes())).unwrap(), rest, "{cookies}");
        }
        assert!(!has_ticket(b"a=1; b=2"));
    }

    #[test]
    fn a_script_s_own_ticket_counts_more_than_the_cookie() {
        let mut headers = HeaderMap::new();
        assert_eq!(brought(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("a=comet-ticket; comet-ticket=cookie"));
        assert_eq!(brought(&headers), Some("cookie"));
        headers.insert(FIELD, HeaderValue::from_static("own"));
        assert_eq!(brought(&headers), Some("own"));
    }
}
