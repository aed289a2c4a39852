// A line between browser and proxy that can be cut: every connection reset, new ones refused, until it is mended.

import { once } from "node:events";
import net from "node:net";

export class Relay {
  /** A relay to the server of this URL. */
  static async to(url) {
    const { hostname, port } = new URL(url);
    const relay = new Relay(hostname, Number(port));
    relay.server.listen(0, "127.0.0.1");
    await once(relay.server, "listening");
    relay.url = `http://127.0.0.1:${relay.server.address().port}/`;
    return relay;
  }

  constructor(host, port) {
    this.sockets = new Set();
    this.isCut = false;
    this.server = net.createServer((near) => {
      if (this.isCut) {
        near.resetAndDestroy();
        return;
      }
      const far = net.connect(port, host);
      for (const [from, to] of [[near, far], [far, near]]) {
        this.sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
  }

  cut() {
    this.isCut = true;
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  mend() {
    this.isCut = false;
  }

  async close() {
    this.cut();
    this.server.close();
    await once(this.server, "close");
  }
}
