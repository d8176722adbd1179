"use strict";

const REFUSALS = {
  NotAllowedError: "The microphone was not allowed: allow it in the browser's settings of this page.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone cannot be read: another program may have it.",
};

const GONE = "The server cannot be reached: does it run still?";

/** The microphone, as blocks of linear16 of one channel. */
class Microphone {
  /**
   * @param {(block: Int16Array) => void} heard is given each block.
   * @param {(why: string) => void} lost is told when no more will come.
   */
  constructor(heard, lost) {
    this.heard = heard;
    this.lost = lost;
  }

  /** Why a page can have none here, in a line; null: it can. */
  static missing() {
    if (location.protocol === "file:") {
      return "This page was opened as a file, and those may not connect to a server: run hearout serve --page, and open the address that it prints.";
    }
    if (!isSecureContext) {
      return `A browser gives the microphone to https addresses and to its own machine only, not to ${location.host}: use http://localhost (ssh -L), or TLS in front.`;
    }
    return navigator.mediaDevices && window.AudioWorkletNode ? null : "This browser has no microphone for pages, or no AudioWorklet.";
  }

  /** Ask for it; gives the sample rate in Hz. Throws an Error with a line for people. */
  async open() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
    } catch (error) {
      throw new Error(REFUSALS[error.name] ?? `The microphone: ${error.message || error.name}`);
    }
    this.stream.getTracks()[0].addEventListener("ended", () => this.lost("The microphone was unplugged, or taken away."));
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("worklet.js").catch(() => {
      throw new Error(GONE);
    });
    await this.context.resume();
    const pcm = new AudioWorkletNode(this.context, "pcm", { channelCount: 1, channelCountMode: "explicit" });
    pcm.port.addEventListener("message", ({ data }) => this.heard(data));
    pcm.port.start();
    this.context.createMediaStreamSource(this.stream).connect(pcm).connect(this.context.destination); // plays nothing
    return this.context.sampleRate;
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
    this.stream = this.context = null;
  }
}
