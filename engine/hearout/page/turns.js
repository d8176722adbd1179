"use strict";

const seconds = (value) => `${value.toFixed(2)} s`;
const wordy = (name) => name.replaceAll("_", " ");

/** An element with some text. Text only: what people say is never markup. */
function element(tag, text, kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  return made;
}

/** The ways in which a text ends. */
const ENDINGS = {
  nothing: "no words yet",
  question: "ends like a question",
  stop: "ends like a full stop",
  plain: "ends in a plain word",
  conjunction: "ends in a conjunction",
  filler: "ends in a filler",
  function_word: "ends in a function word",
  cut_off: "ends cut off",
  comma: "ends in a comma",
  digits: "ends in digits",
};

/** The odds that a turn is over, and where they come from. `told`: an outlook, or a completed turn. */
function odds(told, text) {
  const sources = told.evidence.map(([source, value]) => {
    if (source === "answer") return `as an answer to the question ${value.toFixed(2)}`;
    if (source === "ear") return `the voice ${value.toFixed(2)}`;
    const last = text && source !== "nothing" ? ` (“${text.split(" ").at(-1)}”)` : "";
    return `${ENDINGS[source]}${last} ${value.toFixed(2)}`;
  });
  return `odds ${told.odds.toFixed(2)}: ${sources.join(", ")}`;
}

/** What was asked, and what of it is answered; null: nothing. */
function answered({ answer }) {
  if (!answer) return null;
  const state = answer.final ? "whole" : answer.complete ? "whole, but it may go on" : "begun";
  return `the question wants ${wordy(answer.kind)}: ${answer.value ?? "nothing yet"} (${state})`;
}

/** What one rule said, in seconds after the end of speech. */
function opinion({ rule, deadline, hold }, end, price) {
  const said = [];
  if (hold !== null) said.push(`not before +${seconds(hold - end)}${rule === "silence" && price ? ` at a price of ${price} s a cutoff` : ""}`);
  if (deadline !== null) said.push(`from +${seconds(deadline - end)} on`);
  return said.length ? `${wordy(rule)}: ${said.join(", ")}` : null;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const SHOWN = 100; // turns: a list that grew with the session would make each one slower than the last

/** The turns that are over, newest first, and how the settings compare. */
class Turns {
  constructor(list, table, behind) {
    this.list = list;
    this.table = table;
    this.behind = behind;
    this.lags = []; // of the last interim results behind the audio, seconds
    this.items = new Map();
    this.groups = new Map();
    this.before = null; // group of the turn before
  }

  /** Another session: its numbers begin again. */
  begin() {
    this.items.clear();
    this.before = null;
  }

  update({ transcription_latency: lag }) {
    if (lag === null) return;
    this.lags.push(lag);
    if (this.lags.length > 10 * SHOWN) this.lags.shift();
    this.behind.textContent = `Transcription latency ${seconds(median(this.lags))}: interim results behind the audio, median.`;
  }

  /** @param {string} settings under which the turn was completed. @param {?number} price */
  complete(turn, settings, price) {
    const { speech_end: end, decided } = turn.timings;
    const latency = end === null ? null : decided - end;
    const text = element("span", turn.text);
    const summary = element("summary", "");
    const told = latency === null ? "" : `+${seconds(latency)}`;
    summary.append(text, " ", element("span", told, "latency"), " ", element("span", remarks(turn), "muted"));
    const details = document.createElement("details");
    const lines = [
      steps(turn.timings),
      odds(turn, turn.text),
      answered(turn),
      ...turn.opinions.map((one) => opinion(one, end ?? decided, price)),
      `under ${settings}`,
    ];
    details.append(summary, ...lines.filter(Boolean).map((line) => element("div", line)));
    const item = document.createElement("li");
    item.append(details);
    this.list.prepend(item);
    this.items.set(turn.turn, text);
    if (this.list.childElementCount > SHOWN) this.list.lastElementChild.remove();
    if (this.items.size > SHOWN) this.items.delete(this.items.keys().next().value);
    this.count(turn, settings, latency);
  }

  amend(turn) {
    const text = this.items.get(turn.turn);
    if (text) text.textContent = turn.text;
  }

  count(turn, settings, latency) {
    if (turn.continues !== null && this.before) this.before.resumed += 1; // that one had been cut off
    const group = this.groups.get(settings) ?? { turns: 0, latencies: [], resumed: 0 };
    this.groups.set(settings, group);
    this.before = group;
    group.turns += 1;
    if (latency !== null) group.latencies.push(latency);
    this.table.hidden = false;
    this.table.tBodies[0].replaceChildren(
      ...[...this.groups].map(([name, { turns, latencies, resumed }]) => {
        const row = document.createElement("tr");
        const cells = [name, turns, latencies.length ? seconds(median(latencies)) : "-", resumed];
        row.append(...cells.map((cell) => element("td", String(cell))));
        return row;
      }),
    );
  }
}

function remarks(turn) {
  const said = [wordy(turn.reason)];
  if (!turn.confirmed) said.push("not confirmed");
  if (turn.continues !== null) said.push(`goes on from turn ${turn.continues}`);
  if (turn.backchannel) said.push("only says that one listens");
  else if (turn.agent_speaking) said.push("over the agent");
  return said.join(", ");
}

/** Where the time went, from the end of speech. */
function steps({ speech_end: end, noticed, finalize_sent: sent, answered: reply, decided }) {
  if (end === null) return null;
  const known = [[noticed, "silence noticed"], [sent, "words asked for"], [reply, "words final"], [decided, "turn over"]];
  return known
    .filter(([at]) => at !== null)
    .sort(([a], [b]) => a - b)
    .map(([at, what]) => `${what} +${seconds(at - end)}`)
    .join(", ");
}
