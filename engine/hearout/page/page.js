"use strict";

const at = (id) => document.getElementById(id);
const AS_STARTED = "as the server was started";
const FULL = "The server has no time or no place for another session: try again in a few seconds, or give it a larger --busy or --calls.";
const OWN = /^(localhost|127\..*|\[::1\])$/; // names of the machine that the browser is on

/** The page: one session at a time. */
class Page {
  /** @param {object} settings what the server offers. */
  constructor(settings) {
    this.settings = settings;
    this.line = null;
    this.trace = [];
    this.outlook = null;
    this.text = "";
    this.told = null; // {policy, name, price} of the session
    this.microphone = new Microphone((block) => this.hear(block), (why) => this.stop(why));
    this.timeline = new Timeline(at("timeline"), () => this.clock ?? this.line?.now ?? 0);
    this.turns = new Turns(at("turns"), at("comparison"), at("behind"));
    this.agent = new Agent((message) => this.line?.tell(message), (line) => (at("agent").textContent = line));
    this.offer();
    at("listen").addEventListener("click", () => (this.line ? this.stop("") : this.listen()));
    at("force").addEventListener("click", () => this.line?.tell({ type: "force_end" }));
    at("speak").addEventListener("click", () => this.speak());
    at("download").addEventListener("click", () => this.download());
    at("preset").addEventListener("change", () => {
      this.setPrice(this.preset.price);
      this.use();
    });
    at("price").addEventListener("input", () => {
      this.moved = true;
      this.showPrice();
    });
    at("price").addEventListener("change", () => this.use());
    at("vad").addEventListener("change", () => this.again());
    say(`Ready. Transcriber: ${settings.transcriber}.`);
  }

  offer() {
    const { presets, policy, vads, vad, token } = this.settings;
    this.presets = policy.preset ? presets : [{ ...policy, name: AS_STARTED }, ...presets];
    for (const { name } of this.presets) at("preset").add(new Option(name, name, false, name === policy.preset));
    for (const { name, why } of vads) {
      const option = new Option(why ? `${name} (not here)` : name, name, name === vad, name === vad);
      option.disabled = why !== null;
      option.title = why ?? "";
      at("vad").add(option);
    }
    this.setPrice(this.preset.price);
    at("token-row").hidden = !token;
    this.takeToken();
    window.addEventListener("hashchange", () => this.takeToken());
    for (const id of ["listen", "preset", "vad"]) at(id).disabled = false;
  }

  takeToken() {
    if (!location.hash) return;
    at("token").value = decoded(location.hash.slice(1));
    history.replaceState(null, "", location.pathname); // so that it is in no history, and on no screen
  }

  get preset() {
    return this.presets.find(({ name }) => name === at("preset").value);
  }

  /** Seconds that one cutoff is worth; null: this preset asks for none. */
  get price() {
    const { price } = this.preset;
    const chosen = Number((10 ** (Number(at("price").value) / 10)).toPrecision(2));
    return price === null ? null : this.moved ? chosen : price;
  }

  setPrice(price) {
    at("price").disabled = price === null;
    at("price").value = price === null ? 0 : 10 * Math.log10(Math.max(0.1, price));
    this.moved = false; // the slider stands near the price of the preset, which is exact
    this.showPrice();
  }

  showPrice() {
    const told = this.price === null ? "none" : `${this.price} s`;
    at("price-shown").textContent = told;
    at("price").setAttribute("aria-valuetext", told); // its own value is a logarithm
  }

  get policy() {
    const { price, settings } = this.preset;
    return price === null ? settings : { ...settings, "silence.price": this.price };
  }

  get label() {
    const { name, price } = this.told;
    return `${name}${price === null ? "" : `, ${price} s a cutoff`}, ${this.vad}`;
  }

  use() {
    this.told = { name: this.preset.name, price: this.price };
    this.line?.tell({ type: "use", policy: this.policy });
  }

  async listen() {
    const why = Microphone.missing();
    if (why) return say(why, true);
    at("listen").disabled = true;
    say("Waiting for the microphone ...");
    try {
      this.connect(await this.microphone.open());
    } catch (error) {
      this.microphone.close();
      at("listen").disabled = false;
      say(error.message, true);
    }
  }

  connect(rate) {
    this.trace = [];
    this.clock = null;
    this.timeline.begin();
    this.turns.begin();
    this.vad = at("vad").value;
    const header = { encoding: "linear16", sample_rate: rate, channels: 1, vad: this.vad, trace: true };
    const line = new Line(
      header,
      at("token").value,
      (event) => line === this.line && this.event(event),
      (failure) => line === this.line && this.closed(failure),
    );
    this.line = line;
    say("Connecting ...");
  }

  hear(block) {
    this.line?.hear(block);
    if (this.line?.began) this.timeline.level(this.line.now, block);
  }

  event(event) {
    if (event.type === "ready") this.ready();
    else if (event.type === "trace") this.record(event.record);
    else if (event.type === "outlook") this.outlook = event;
    else if (event.type === "error") say(event.detail, true);
    else if (event.type.startsWith("turn_")) this.turn(event);
    else if (event.detail) say(event.detail, true); // a warning, or a lost link
    else if (event.type === "link_up") say("Listening.");
    this.timeline.event(event);
  }

  ready() {
    this.use();
    at("listen").textContent = "Stop";
    for (const id of ["listen", "force", "speak", "download"]) at(id).disabled = false;
    say(`Listening, ${this.line.rate} Hz.`);
    this.animate();
  }

  record(record) {
    this.trace.push(JSON.stringify(record));
    this.timeline.record(record);
  }

  turn(event) {
    if (event.type === "turn_started") this.text = "";
    if (event.type === "turn_updated") {
      this.text = event.text;
      this.turns.update(event);
    }
    if (event.type === "turn_completed") this.turns.complete(event, this.label, this.told.price);
    if (event.type === "turn_amended") this.turns.amend(event);
    if (event.type === "turn_completed" || event.type === "turn_abandoned") {
      this.outlook = null;
      this.text = "";
    }
    this.agent.hear(event);
    this.words(event);
  }

  words({ type }) {
    const said = type === "turn_completed" || type === "turn_abandoned" ? "Your turn." : "...";
    at("words").replaceChildren(this.text ? element("span", this.text) : element("span", said, "muted"));
  }

  /** What the open turn waits for, and how much of that is over. */
  wait() {
    const { outlook } = this;
    const held = outlook && !outlook.speaking;
    const end = held ? this.speechEnd : 0;
    const share = held ? Math.min(1, Math.max(0, (this.line.now - end) / (outlook.when - end))) : 0;
    at("waited").style.width = `${100 * share}%`;
    let why = outlook ? "you speak" : "\u00a0";
    if (held) {
      const silence = outlook.opinions.find(({ rule }) => rule === "silence");
      const told = [`over at +${seconds(outlook.when - end)} by ${wordy(outlook.reason)} if nothing more comes`, odds(outlook, this.text), answered(outlook)];
      if (silence) told.push(opinion(silence, end, this.told.price));
      why = told.filter(Boolean).join("; ");
    }
    if (at("why").textContent !== why) at("why").textContent = why;
  }

  get speechEnd() {
    return this.timeline.voices.at(-1)?.stop ?? this.outlook.at;
  }

  animate() {
    if (!this.line) return;
    this.timeline.draw();
    this.wait();
    requestAnimationFrame(() => this.animate());
  }

  speak() {
    const { value, defaultValue } = at("sentence");
    if (this.line) this.agent.speak(value.trim(), value === defaultValue ? "sentence.flac" : null);
  }

  /** No more audio; the last words come still. `why`: what went wrong. */
  stop(why) {
    this.agent.halt("");
    this.microphone.close();
    this.ending = why;
    this.line?.end();
    at("listen").disabled = true;
    say(why || "Waiting for the last words ...", Boolean(why));
  }

  /** Another voice detection takes another session. */
  again() {
    if (!this.line) return;
    this.restart = true;
    this.stop("");
  }

  async closed(failure) {
    this.clock = this.line.now;
    this.agent.halt("");
    this.microphone.close();
    this.line = this.outlook = null;
    const why = this.ending || (failure ?? (await this.refusal()));
    this.ending = "";
    at("listen").textContent = "Listen";
    at("listen").disabled = false;
    for (const id of ["force", "speak"]) at(id).disabled = true;
    at("waited").style.width = "0";
    at("why").textContent = "\u00a0";
    this.timeline.draw();
    say(why || "Stopped.", Boolean(why));
    if (this.restart && !why) this.listen();
    this.restart = false;
  }

  /** Why no websocket came to be, which a browser tells nobody. */
  async refusal() {
    try {
      const { status } = await answer("healthz");
      if (status === "full") return FULL;
      if (status === "draining") return "The server is about to end.";
      const { token } = await answer("settings.json"); // it may be another server than when the page was opened
      at("token-row").hidden = !token;
      if (token) return at("token").value ? "The server did not take this token." : "The server wants its token.";
      if (OWN.test(location.hostname)) return FULL; // a moment ago: by now there is time again
      return `The server refused: without a token it lets in pages of its own machine only, not of ${location.host}.`;
    } catch {
      return GONE;
    }
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${this.trace.join("\n")}\n`], { type: "application/jsonl" }));
    link.download = `hearout-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

function say(line, wrong = false) {
  at("state").textContent = line;
  at("state").className = wrong ? "error" : "muted";
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // it was typed as it is
  }
}

async function answer(path) {
  return (await fetch(path)).json();
}

async function begin() {
  const why = Microphone.missing();
  if (why) return say(why, true);
  try {
    window.page = new Page(await answer("settings.json"));
  } catch (error) {
    say(`The server's settings cannot be read: ${error.message}`, true);
  }
}

begin();
