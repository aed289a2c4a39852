// CometD's server for Node at the address of the command line, as its documentation shows it.

import http from "node:http";
import cometd from "cometd-nodejs-server";

const [host, port] = process.argv.slice(2);
const bayeux = cometd.createCometDServer({ timeout: 120_000, maxInterval: 120_000 });
http.createServer(bayeux.handle).listen(Number(port), host, 65_535);
