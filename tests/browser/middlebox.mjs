// What lies between a browser and a proxy, at its worst: a middlebox that holds answers back until it has so many bytes
// of one, or its end. It can be switched off, and its connections cut.

import { once } from "node:events";
import http from "node:http";

export class Middlebox {
  /** In front of the server of this URL. */
  static async to(url, holdBytes) {
    const box = new Middlebox();
    Object.assign(box, { target: new URL(url), holdBytes, sockets: new Set(), requests: [], aborted: 0 });
    box.server = http.createServer((request, response) => box.#pass(request, response)).listen(0, "127.0.0.1");
    box.server.on("connection", (socket) => {
      box.sockets.add(socket);
      socket.on("close", () => box.sockets.delete(socket));
    });
    await once(box.server, "listening");
    box.port = box.server.address().port;
    box.url = `http://127.0.0.1:${box.port}/`;
    return box;
  }

  #pass(request, response) {
    this.requests.push(request.headers.accept);
    const { hostname: host, port } = this.target;
    const { method, url: path } = request;
    // It knows of no upgrades.
    const { upgrade, ...headers } = request.headers;
    const far = http.request({ host, port, method, path, headers, agent: false }, (answer) => {
      const held = [];
      let size = 0;
      let flows = this.holdBytes === 0;
      const begin = () => {
        if (!response.headersSent) response.writeHead(answer.statusCode, answer.headers);
        for (const piece of held.splice(0)) response.write(piece);
      };
      if (flows) begin();
      answer.on("data", (piece) => {
        held.push(piece);
        size += piece.length;
        flows ||= size >= this.holdBytes;
        if (flows) begin();
      });
      answer.on("end", () => {
        begin();
        response.end();
      });
      answer.on("error", () => response.destroy());
    });
    far.on("error", () => response.destroy());
    response.on("close", () => {
      if (!response.writableFinished) this.aborted += 1;
      far.destroy();
    });
    request.pipe(far);
  }

  async close() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }
}
