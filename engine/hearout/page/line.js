"use strict";

const PATIENCE = 5; // seconds of audio that may wait for the network
const LAST_WORDS = 20; // seconds; a server that lives has closed by then

/** One session of hearout: a header, then audio and commands one way, events the other. */
class Line {
  /**
   * @param {object} header what the audio is.
   * @param {string} token empty: none is needed.
   * @param {(event: object) => void} heard is given each event.
   * @param {(why: ?string) => void} closed is told in the end; empty: in good order; null: it was never let in. It
   *   may be told again.
   */
  constructor(header, token, heard, closed) {
    const protocols = token ? ["hearout", `token.${Line.coded(token)}`] : ["hearout"];
    const address = new URL(".", location.href); // a proxy may have put the page anywhere
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, protocols);
    this.socket = socket;
    this.closed = closed;
    this.rate = header.sample_rate;
    this.began = null; // performance.now() at the beginning of the audio
    let opened = false;
    let failure = "";
    socket.addEventListener("open", () => {
      opened = true;
      socket.send(JSON.stringify(header));
    });
    socket.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") failure = event.detail;
      heard(event);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      const broke = failure || reason || `The connection broke (code ${code}).`;
      closed(code === 1000 ? "" : opened ? broke : null);
    });
  }

  /** Base64url of its UTF-8, as a subprotocol may have it. */
  static coded(token) {
    const bytes = String.fromCharCode(...new TextEncoder().encode(token));
    return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  /** Seconds since the audio began: about what the session's clock shows. */
  get now() {
    return this.began === null ? 0 : (performance.now() - this.began) / 1000;
  }

  /** @param {Int16Array} block of audio, as it is heard. */
  hear(block) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > 2 * this.rate * PATIENCE) {
      this.leave("The connection is too slow for live audio.");
      return;
    }
    this.began ??= performance.now() - (1000 * block.length) / this.rate;
    this.socket.send(block);
  }

  tell(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** No more audio comes: the server tells the last words, and closes. */
  end() {
    if (this.socket.readyState === WebSocket.OPEN) this.tell({ type: "end" });
    else this.socket.close();
    setTimeout(() => this.leave("The server did not answer any more."), 1000 * LAST_WORDS);
  }

  /** A browser takes a minute to find that nobody is at the other end. */
  leave(why) {
    this.socket.close(4000, why);
    this.closed(why);
  }
}
