"use strict";

const PACE = 0.065; // seconds a character, about what a synthesiser takes

/** A voicebot that says one sentence: by a voice of this machine or, where there is none, in silence for as long. */
class Agent {
  /**
   * @param {(message: object) => void} tell the session when it speaks, and what.
   * @param {(line: string) => void} show
   */
  constructor(tell, show) {
    this.tell = tell;
    this.show = show;
    this.speaking = false;
    this.speech = window.speechSynthesis;
    this.speech?.getVoices(); // some browsers fetch the list now
  }

  speak(text) {
    this.halt("");
    this.tell({ type: "agent_said", text });
    const voices = (this.speech?.getVoices() ?? []).filter((voice) => voice.localService); // others ask a server
    const voice = voices.find(({ lang }) => lang.startsWith("en")) ?? voices[0];
    if (!voice) {
      this.begin("The agent speaks (this browser has no voice of its own: nothing is heard).");
      this.timer = setTimeout(() => this.stop("The agent has finished."), 1000 * PACE * text.length);
      return;
    }
    const utterance = new SpeechSynthesisUtterance(text);
    utterance.voice = voice;
    utterance.lang = voice.lang;
    utterance.addEventListener("start", () => this.utterance === utterance && this.begin("The agent speaks."));
    const ended = () => this.utterance === utterance && this.stop("The agent has finished.");
    utterance.addEventListener("end", ended);
    utterance.addEventListener("error", ended);
    this.utterance = utterance; // also so that it is not collected before it ends
    this.speech.speak(utterance);
  }

  /** Fall silent. */
  halt(why) {
    clearTimeout(this.timer);
    this.utterance = null;
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
