//! What reading costs per request head: a kept connection whose heads arrive whole, in pieces, or pipelined.

use divan::Bencher;
use divan::counter::BytesCount;
use perihelion::listener::request_reader::{HeadLimits, RequestReader};

const LIMITS: HeadLimits = HeadLimits { header_bytes: 64 * 1024, headers: 100, target_bytes: 8 * 1024 };

const PLAIN: &str = "GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
    Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";

const BROWSER: &str = "GET /articles/2026/11/a-title-of-some-length?utm_source=feed&page=2 HTTP/1.1\r\n\
    Host: www.example.com\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n\
    Sec-CH-UA: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nSec-CH-UA-Mobile: ?0\r\n\
    Sec-CH-UA-Platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://www.example.com/articles\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";

fn main() {
    divan::main();
}

fn head_of(client: &str) -> &'static str {
    if client == "plain" { PLAIN } else { BROWSER }
}

#[divan::bench(args = ["plain", "browser"])]
fn whole(bencher: Bencher, client: &str) {
    let head = head_of(client);
    let mut reader = RequestReader::new(LIMITS, Vec::new());
    bencher.counter(BytesCount::of_str(head)).bench_local(|| {
        let read = reader.next_head(divan::black_box(head.as_bytes()));
        reader.release_next();
        read
    });
}

#[divan::bench(args = ["plain", "browser"])]
fn in_two_pieces(bencher: Bencher, client: &str) {
    let head = head_of(client);
    let mut reader = RequestReader::new(LIMITS, Vec::new());
    let (first, second) = head.as_bytes().split_at(head.len() / 2);
    bencher.counter(BytesCount::of_str(head)).bench_local(|| {
        drop(reader.next_head(divan::black_box(first)));
        let read = reader.next_head(divan::black_box(second));
        reader.release_next();
        read
    });
}

#[divan::bench]
fn sixteen_pipelined(bencher: Bencher) {
    let mut reader = RequestReader::new(LIMITS, Vec::new());
    let heads = PLAIN.repeat(16);
    bencher.counter(BytesCount::of_str(&heads)).bench_local(|| {
        let mut fresh = divan::black_box(heads.as_bytes());
        for _ in 0..16 {
            drop(reader.next_head(fresh));
            reader.release_next();
            fresh = &[];
        }
    });
}
