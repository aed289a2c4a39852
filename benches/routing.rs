//! What it costs to find the route of a request: one site for everything, and many sites with many routes.

use divan::{Bencher, black_box};
use perihelion::site::router::{Router, Site};

fn main() {
    divan::main();
}

/// So many sites, each with so many routes beside `/`.
fn router(sites: usize, routes: usize) -> Router<usize> {
    let site = |site: usize| {
        let hosts = vec![format!("site-{site}.example"), format!("*.site-{site}.example")];
        let mut paths: Vec<_> = (0..routes).map(|route| (format!("/part-{route}"), route)).collect();
        paths.push(("/".to_owned(), routes));
        Site { hosts, routes: paths }
    };
    Router::new((0..sites).map(site).collect())
}

/// What most configurations are: one site, any host, one route.
#[divan::bench]
fn one_route(bencher: Bencher) {
    let router = Router::new(vec![Site { hosts: vec!["*".into()], routes: vec![("/".into(), 0)] }]);
    bencher.bench(|| black_box(router.find(black_box("example.com:8080"), black_box("/a/b?c"))));
}

/// The host by its name, and by a suffix; the path by the last route that is tried.
#[divan::bench(args = ["site-500.example", "a.b.site-500.example"])]
fn a_thousand_sites(bencher: Bencher, host: &str) {
    let router = router(1000, 10);
    bencher.bench(|| black_box(router.find(black_box(host), black_box("/part-7/x"))));
}

/// A path that has to be decoded before it can be compared.
#[divan::bench]
fn a_path_with_escapes(bencher: Bencher) {
    let router = router(10, 10);
    bencher.bench(|| black_box(router.find(black_box("site-5.example"), black_box("/x/../p%61rt-7/y"))));
}
