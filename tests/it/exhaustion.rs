//! What runs out: who is there is served all the same, and the rest as soon as there is some again.

use crate::support::{Origin, Perihelion, Raw, Reply, wait_until};

#[test]
fn a_process_without_descriptors_serves_who_is_there_and_goes_on_when_it_has_some() {
    const FILES: u64 = 100;
    let origin = Origin::replying(|_| Reply::ok("served"));
    let proxy = Perihelion::before(&origin);
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").text(), "served");
    proxy.limit_descriptors(FILES);
    let crowd: Vec<Raw> = (0..2 * FILES).map(|_| proxy.connect()).collect();
    wait_until("there is none left", || proxy.open_files() >= FILES as usize);
    for _ in 0..10 {
        assert_eq!(kept.get("/").text(), "served");
    }
    drop(crowd);
    wait_until("the crowd is gone", || proxy.open_files() < FILES as usize / 2);
    assert_eq!(proxy.get("/").text(), "served");
    assert_eq!(proxy.control("GET", "/healthz", "").status(), 200);
}
