//! What `import pushpin` writes is a configuration that works, and says what it leaves out.

use crate::support::{Folder, Origin, Perihelion, Place, Reply, run};

#[test]
fn what_is_imported_from_pushpin_serves_the_same_routes() {
    let app = Origin::replying(|request| {
        Reply::ok(format!(
            "{} {}",
            request.head.get("host").unwrap_or(""),
            request.head.get("x-live").unwrap_or("-")
        ))
    });
    let place = Place::new();
    let target = app.url().replace("http://", "");
    let routes = format!(
        "# everything\n*,path_beg=/live,header=X-Live:yes {target},host=inside.example,sub=news\n* {target},over_http\n"
    );
    let conf =
        place.fill("[runner]\nhttp_port=$HTTP\n[handler]\npush_in_http_addr=HOST\npush_in_http_port=7070\n");
    let conf = conf.replace("HOST", &place.control().ip().to_string());
    let routes = place.folder.write("routes", &routes).display().to_string();
    let conf = place.folder.write("pushpin.conf", &conf).display().to_string();
    let imported = run(&["import", "pushpin", "routes", &routes, &conf], "");
    assert_eq!(imported.code, Some(0), "{imported:?}");
    for said in [
        "        grip: { channels: [\"news\"] }\n",
        "        websockets: over_http\n",
        "        websockets: grip\n",
    ] {
        assert!(imported.stdout.contains(said), "{}", imported.stdout);
    }
    let proxy = Perihelion::start_at(place, &imported.stdout, None);
    assert_eq!(proxy.get("/live/1").text(), "inside.example yes");
    let elsewhere = proxy.get("/other");
    assert!(elsewhere.text().ends_with(" -"), "{}", elsewhere.text());
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let folder = Folder::new();
    let missing = folder.path().join("routes").display().to_string();
    let imported = run(&["import", "pushpin", "routes", &missing], "");
    assert_eq!(imported.code, Some(1));
    assert!(imported.stderr.contains(&missing), "{imported:?}");
    assert_eq!(run(&["import", "pushpin"], "").code, Some(2));
}
