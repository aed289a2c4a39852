// Faye's server at the address of the command line, as its documentation shows it.

import http from "node:http";
import Faye from "faye";

const [host, port] = process.argv.slice(2);
const bayeux = new Faye.NodeAdapter({ mount: "/cometd", timeout: 120 });
const server = http.createServer();
bayeux.attach(server);
server.listen(Number(port), host, 65_535);
