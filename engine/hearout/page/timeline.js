"use strict";

const SPAN = 12; // seconds that a wide screen shows
const LEAST = 60; // pixels a second, so that words can be read
const KEPT = 600; // seconds back that one can look
const ROWS = { level: [6, 56], agent: [66, 76], words: [84, 118], turns: [126, 172], marks: [186, 200] };

/** What happened, against the session's clock. It scrolls with the session; drag it, or use the arrow keys, to look back; at its end it follows again. */
class Timeline {
  /** @param {() => number} now seconds of the session. */
  constructor(canvas, now) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.now = now;
    this.back = 0; // seconds
    this.begin();
    let from = 0; // movementX would tell, but Firefox counts it for a finger from where the mouse was
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = event.clientX;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      this.look((event.clientX - from) / this.scale);
      from = event.clientX;
    });
    canvas.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") this.look(1);
      else if (key === "ArrowRight") this.look(-1);
      else if (key === "End") this.look(-Infinity);
    });
    const colours = () => {
      const style = getComputedStyle(document.documentElement);
      this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
      this.draw();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colours);
    new ResizeObserver(() => this.draw()).observe(canvas);
    colours();
  }

  begin() {
    this.levels = []; // [time, 0 to 1]
    this.voices = []; // {start, stop}
    this.agents = [];
    this.turns = []; // {turn, start, end, decided, text, words, note, gone}
    this.finalizes = []; // times
    this.results = [];
    this.outlook = null;
    this.back = 0;
    this.late = 0; // seconds by which the session's clock is ahead of the audio that came
  }

  /** So many seconds further back. */
  look(seconds) {
    this.back = Math.min(Math.max(0, this.back + seconds), Math.max(0, this.now() - 2));
    this.draw();
  }

  level(at, samples) {
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / samples.length / 32768 ** 2 + 1e-9);
    this.levels.push([at, Math.max(0, 1 + decibels / 60)]);
    if (this.levels.length > KEPT * 50 + 500) this.levels.splice(0, 500);
  }

  /** A record of the trace. */
  record(record) {
    if (record.heard !== undefined) this.late = record.t - record.heard;
    if (record.vad === "start") this.voices.push({ start: record.audio + this.late, stop: null });
    else if (record.vad === "stop" && this.voices.length) this.voices.at(-1).stop = record.audio + this.late;
    else if (record.audio === "stalled" && this.voices.length) this.voices.at(-1).stop ??= record.t;
    else if (record.agent === "started") this.agents.push({ start: record.t, stop: null });
    else if (record.agent === "stopped" && this.agents.length) this.agents.at(-1).stop ??= record.t;
    else if (record.sent?.type === "Finalize") this.finalizes.push(record.t);
    else if (record.stt) this.results.push(record.t);
    this.forget(record.t - KEPT);
  }

  /** An event of a turn. */
  event(event) {
    const turn = this.turns.findLast((one) => one.turn === event.turn);
    if (event.type === "turn_started") {
      this.turns.push({ turn: event.turn, start: event.audio_start + this.late, end: null, decided: null, text: "", words: [], note: "" });
    } else if (event.type === "turn_updated" && turn) {
      turn.text = event.text;
    } else if (event.type === "turn_completed" && turn) {
      const { speech_end: end, decided } = event.timings;
      Object.assign(turn, { end: end ?? decided, decided });
      this.say(turn, event);
      turn.note = `${end === null ? "" : `+${(decided - end).toFixed(2)} s `}${event.reason.replaceAll("_", " ")}`;
      this.outlook = null;
    } else if (event.type === "turn_amended" && turn) {
      this.say(turn, event);
    } else if (event.type === "turn_abandoned" && turn) {
      Object.assign(turn, { end: event.at, decided: event.at, gone: true, note: event.reason.replaceAll("_", " ") });
      this.outlook = null;
    } else if (event.type === "outlook") {
      this.outlook = event;
    }
  }

  say(turn, { text, words }) {
    turn.text = text;
    turn.words = words.map((word) => ({ text: word.text, start: word.start + this.late, stop: word.end + this.late }));
  }

  forget(before) {
    for (const list of [this.voices, this.agents, this.turns]) {
      while (list.length && (list[0].decided ?? list[0].stop ?? Infinity) < before) list.shift();
    }
    for (const list of [this.finalizes, this.results]) while (list[0] < before) list.shift();
  }

  draw() {
    const { canvas, pen } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.scale = Math.max(width / SPAN, LEAST); // pixels a second
    const stop = Math.max(this.now() - this.back + 0.6, width / this.scale);
    this.left = stop - width / this.scale;
    this.x = (at) => (at - this.left) * this.scale;
    this.shows = (from, to) => to > this.left && from < stop;
    this.axis(stop, height);
    this.sound();
    this.bars(this.agents, ROWS.agent, "agent");
    this.spoken();
    this.turns.forEach((turn, index) => {
      const next = this.turns[index + 1]?.start ?? Infinity;
      if (this.shows(turn.start, Math.min(next, (turn.decided ?? this.now()) + 6))) this.turn(turn, this.x(next));
    });
    for (const at of this.results) if (this.shows(at, at)) this.box(at, at, [ROWS.marks[0] + 8, ROWS.marks[1]], "level", 1);
    for (const at of this.finalizes) if (this.shows(at, at)) this.box(at, at, ROWS.marks, "command", 2);
    if (this.now() > 0 && this.back === 0) this.box(this.now(), this.now(), [0, height - 16], "muted", 1);
  }

  axis(stop, height) {
    this.pen.font = "11px system-ui, sans-serif";
    for (let second = Math.max(0, Math.ceil(this.left)); second < stop; second++) {
      this.box(second, second, [0, height - 16], "line", 1);
      this.text(`${second}`, this.x(second) + 3, height - 4, "muted");
    }
    this.text("messages; requests for final words", Math.max(4, this.x(0) + 4), ROWS.marks[0] - 3, "muted");
  }

  sound() {
    const [top, bottom] = ROWS.level;
    for (const { start, stop } of this.voices) {
      if (!this.shows(start, stop ?? this.now())) continue;
      this.pen.globalAlpha = 0.25;
      this.box(start, stop ?? this.now(), [top, bottom], "voice");
      this.pen.globalAlpha = 1;
      this.box(start, stop ?? this.now(), [bottom, bottom + 3], "voice");
    }
    this.pen.fillStyle = this.colour("level");
    for (const [at, level] of this.levels) {
      if (!this.shows(at, at)) continue;
      const half = (level * (bottom - top)) / 2;
      this.pen.fillRect(this.x(at), (top + bottom) / 2 - half, Math.max(1, this.scale / 50 - 0.4), 2 * half + 0.5);
    }
  }

  spoken() {
    const [top, bottom] = ROWS.words;
    this.turns.flatMap(({ words }) => words).forEach((word, index) => {
      if (!this.shows(word.start - 1, word.stop + 1)) return;
      this.box(word.start, word.stop, [top, top + 3], "final");
      this.text(word.text, this.x(word.start), index % 2 ? bottom - 2 : top + 15, "final");
    });
  }

  turn(turn, limit) {
    const [top, bottom] = ROWS.turns;
    const now = this.now();
    const bar = [top, top + 14];
    const open = turn.decided === null;
    const end = turn.end ?? Math.max(turn.start, this.voices.at(-1)?.stop ?? now);
    this.box(turn.start, end, bar, turn.gone ? "level" : "turn");
    if (!turn.gone) this.box(end, turn.decided ?? now, bar, "latency", 0);
    if (open && this.outlook && !this.outlook.speaking) this.box(now, this.outlook.when, [top + 5, top + 9], "latency");
    const right = Math.min(limit, 1e5) - 4; // up to the next turn's
    const from = Math.max(4, this.x(turn.start)), behind = Math.max(4, this.x(end));
    this.text(this.fitting(turn.gone ? turn.note : turn.text, right - from), from, bottom - 18, turn.gone ? "muted" : "ink");
    if (!open && !turn.gone) this.text(this.fitting(turn.note, right - behind), behind, bottom - 2, "muted");
  }

  /** As many of its words as there is room for, in pixels. */
  fitting(text, room) {
    let shown = text;
    while (shown && this.pen.measureText(shown).width > room) shown = shown.replace(/(^| +)[^ ]+…?$/, (_, blank) => (blank ? "…" : ""));
    return shown;
  }

  bars(spans, row, name) {
    for (const { start, stop } of spans) if (this.shows(start, stop ?? this.now())) this.box(start, stop ?? this.now(), row, name);
  }

  box(from, to, [top, bottom], name, least = 1) {
    this.pen.fillStyle = this.colour(name);
    this.pen.fillRect(this.x(from), top, Math.max(least, (to - from) * this.scale), bottom - top);
  }

  text(text, x, y, name) {
    this.pen.fillStyle = this.colour(name);
    this.pen.fillText(text, x, y);
  }
}
