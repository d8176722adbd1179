"use strict";

const PACE = 0.065; // seconds a character, about what a synthesiser takes

/** A voicebot that says one sentence: a recorded one, by a voice of this machine or, where there is none, in silence for as long. */
class Agent {
  /**
   * @param {(message: object) => void} tell the session when it speaks, and what.
   * @param {(line: string) => void} show
   */
  constructor(tell, show) {
    this.tell = tell;
    this.show = show;
    this.speaking = false;
    this.saying = null; // what is being said, or prepared
    this.speech = window.speechSynthesis;
    this.speech?.getVoices(); // some browsers fetch the list now
  }

  /** @param {?string} recording of the text; null: there is none. */
  async speak(text, recording) {
    this.halt("");
    this.tell({ type: "agent_said", text });
    const saying = (this.saying = {});
    const source = recording && (await this.load(recording).catch(() => null));
    if (this.saying !== saying) return; // it was halted
    if (source) this.play(source);
    else this.utter(text);
  }

  async load(recording) {
    this.context ??= new AudioContext();
    const source = this.context.createBufferSource();
    source.buffer = await this.context.decodeAudioData(await (await fetch(recording)).arrayBuffer());
    source.connect(this.context.destination);
    return source;
  }

  play(source) {
    source.addEventListener("ended", () => this.saying === source && this.stop("The agent has finished."));
    this.saying = source;
    source.start();
    this.begin("The agent speaks.");
  }

  utter(text) {
    const voices = (this.speech?.getVoices() ?? []).filter((voice) => voice.localService); // others ask a server
    const voice = voices.find(({ lang }) => lang.startsWith("en")) ?? voices[0];
    if (!voice) {
      this.begin("The agent speaks (this browser has no voice of its own for other words: nothing is heard).");
      this.timer = setTimeout(() => this.stop("The agent has finished."), 1000 * PACE * text.length);
      return;
    }
    const utterance = new SpeechSynthesisUtterance(text);
    utterance.voice = voice;
    utterance.lang = voice.lang;
    utterance.addEventListener("start", () => this.saying === utterance && this.begin("The agent speaks."));
    const ended = () => this.saying === utterance && this.stop("The agent has finished.");
    utterance.addEventListener("end", ended);
    utterance.addEventListener("error", ended);
    this.saying = utterance; // also so that it is not collected before it ends
    this.speech.speak(utterance);
  }

  /** Fall silent. */
  halt(why) {
    clearTimeout(this.timer);
    if (this.saying instanceof AudioBufferSourceNode) this.saying.stop();
    this.saying = null;
    this.speech?.cancel();
    if (this.speaking) this.stop(why);
  }

  begin(line) {
    this.speaking = true;
    this.tell({ type: "agent_started" });
    this.show(line);
  }

  stop(line) {
    if (!this.speaking) return;
    this.speaking = false;
    this.tell({ type: "agent_stopped" });
    this.show(line);
  }

  /** What an event of a turn means to it. */
  hear(event) {
    const text = event.text ? `“${event.text}”` : "a voice";
    if (event.type === "turn_updated" && event.interrupts && this.speaking) {
      this.halt(`You cut in with ${text}: the agent was halted after ${event.speech.toFixed(2)} s of your voice.`);
    } else if (event.type === "turn_completed" && event.agent_speaking && this.speaking) {
      if (event.backchannel) this.show(`${text} only says that you listen: the agent went on.`);
      else this.halt(`You said ${text}: the agent was halted when that turn was over.`);
    }
  }
}
