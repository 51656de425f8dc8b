const ROWS = 8; // on a page of a list
const BATCH = 100; // fetched at a time
const MOST = 2000; // looked through by a search
const SECONDS = 10; // between two looks at the health
const SAMPLES = 30; // of this page's calls: five minutes

const messages = (count = 0) => `${count} message${Number(count) === 1 ? "" : "s"}`;

const LISTS = [
  {
    title: "User sessions", system: "TutoriaLLM", path: "/v1/userSessions", rows: "userSessions",
    row: (each) => ({
      id: each.uuid, title: each.name, time: each.updatedAt,
      more: [each.language, each.responseMode, messages(each.stats?.totalUserMessages)],
    }),
  },
  {
    title: "Sessions", system: "Julep", path: "/v1/sessions", rows: "sessions",
    row: (each) => ({ id: each.id, title: each.situation, time: each.createdAt, more: [plain(each.metadata)] }),
  },
  {
    title: "Robot sessions", system: "Storyden", path: "/v1/robotSessions", rows: "robotSessions",
    row: (each) => ({ id: each.id, title: each.name, time: each.createdAt, more: [each.createdBy?.name] }),
  },
  {
    title: "Agent sessions", system: "Foundry AIP Agents", path: "/v1/agentSessions", rows: "agentSessions",
    row: ({ rid, agentRid, metadata }) => ({
      id: rid, title: metadata?.title, time: metadata?.updatedTime,
      more: [messages(metadata?.messageCount), agentRid],
    }),
  },
];

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const one = (selector, within = document) => within.querySelector(selector);
const plain = (object) => Object.entries(object ?? {}).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(" · ");
const token = () => sessionStorage.getItem("rollcall.token");

class Refused extends Error {}

async function call(path) {
  const answer = await fetch(path, { headers: { authorization: `Bearer ${token()}` } });
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Refused(body.message ?? `HTTP ${answer.status}`, { cause: answer.status });
  }
  return answer.json();
}

class List {
  constructor(kind) {
    this.kind = kind;
    this.element = one("#list").content.cloneNode(true).firstElementChild;
    one("h2", this.element).textContent = kind.title;
    one("small", this.element).textContent = kind.system;
    one("ol", this.element).setAttribute("aria-label", kind.title);
    one(".back", this.element).addEventListener("click", () => this.turn(-1));
    one(".on", this.element).addEventListener("click", () => this.turn(1));
    this.clear();
  }

  clear() {
    Object.assign(this, { rows: [], next: "", done: false, page: 0, words: [], problem: "", loading: null });
    this.show();
  }

  get found() {
    return this.rows.filter((row) => this.words.every((word) => row.text.includes(word)));
  }

  search(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.page = 0;
    this.show();
    return this.fill();
  }

  turn(step) {
    this.page += step;
    this.show();
    return this.fill();
  }

  // One at a time: what is typed meanwhile is looked for by the same loop.
  fill() {
    this.loading ??= this.load().finally(() => { this.loading = null; this.show(); });
    return this.loading;
  }

  async load() {
    const { rows } = this;
    // One row more than the page shows whether there is a next page.
    while (!this.done && this.found.length <= (this.page + 1) * ROWS && rows.length < MOST && rows === this.rows) {
      try {
        const answer = await call(`${this.kind.path}?pageSize=${BATCH}&pageToken=${encodeURIComponent(this.next)}`);
        if (rows !== this.rows) return;
        for (const record of answer[this.kind.rows] ?? []) {
          rows.push({ ...this.kind.row(record), record, text: JSON.stringify(record).toLowerCase() });
        }
        this.next = answer.nextPageToken ?? "";
        this.done = this.next === "";
      } catch (error) {
        if (rows !== this.rows) return;
        this.problem = error instanceof Refused ? error.message : "The service does not answer.";
        this.done = true;
      }
      this.show();
    }
  }

  show() {
    const { found } = this;
    const first = this.page * ROWS;
    const rows = found.slice(first, first + ROWS);
    const note = this.problem || (rows.length ? "" : this.note());
    one("ol", this.element).replaceChildren(...rows.map(line), ...(note ? [remark(note, this.problem !== "")] : []));
    one("output", this.element).textContent = found.length ? `${found.length}${this.done ? "" : "+"}` : "";
    one("footer span", this.element).textContent = rows.length ? `${first + 1}–${first + rows.length}` : "";
    one(".back", this.element).disabled = this.page === 0;
    one(".on", this.element).disabled = found.length <= first + ROWS;
  }

  note() {
    if (!token()) return "A token shows what its owner may see.";
    if (!this.done && this.rows.length < MOST) return "Loading…";
    return this.words.length ? "Nothing has these words." : "There are none.";
  }
}

function line({ id, title, time, more, record }) {
  const item = document.createElement("li");
  const button = item.appendChild(document.createElement("button"));
  button.type = "button";
  const parts = { title: title || id, time: time ? when.format(new Date(time)) : "", more: more.filter(Boolean).join(" · ") || id };
  for (const [name, text] of Object.entries(parts)) {
    const part = button.appendChild(document.createElement(name === "title" ? "span" : "small"));
    part.className = name;
    part.textContent = text;
  }
  button.addEventListener("click", () => open(title || id, record));
  return item;
}

function remark(text, wrong) {
  const item = document.createElement("li");
  item.className = wrong ? "note wrong" : "note";
  item.textContent = text;
  return item;
}

const dialog = one("dialog");

function open(title, record) {
  one("#record-title").textContent = title;
  one("pre", dialog).textContent = JSON.stringify(record, null, 2);
  dialog.showModal();
}

one("#close").addEventListener("click", () => dialog.close());

// --- the caller, and the search

const lists = LISTS.map((kind) => new List(kind));
one("#lists").append(...lists.map((list) => list.element));

function start() {
  one("#forget").hidden = !token();
  for (const list of lists) {
    list.clear();
    if (token()) list.search(one("#search").value);
  }
  look();
}

one("#who").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = one("#token").value.trim();
  if (given) sessionStorage.setItem("rollcall.token", given);
  one("#token").value = "";
  start();
});
one("#forget").addEventListener("click", () => {
  sessionStorage.removeItem("rollcall.token");
  start();
});
one("#search").addEventListener("input", (event) => {
  if (token()) for (const list of lists) list.search(event.target.value);
});

// --- health: what the calls of this page show

const samples = [];

function mark(name, state) {
  const element = one(`#health-${name}`);
  element.className = state;
  one("b", element).textContent = state || "unknown";
}

async function look() {
  const status = (asked) => asked.then((answer) => answer.status ?? 200, (error) => error.cause ?? 0);
  const state = (code) => (code < 500 ? "up" : "down");
  let began = performance.now();
  const server = await status(fetch("/docs", { cache: "no-store" }));
  let took = performance.now() - began;
  let store = 0;
  if (token() && server < 500) {
    began = performance.now();
    store = await status(call("/v1/sessions?pageSize=1"));
    took = performance.now() - began;
  }
  mark("proxy", server ? "up" : "down");
  mark("server", server ? state(server) : "");
  mark("store", store && store !== 401 ? state(store) : "");
  samples.push(took);
  samples.splice(0, samples.length - SAMPLES);
  await plot();
}

// --- the plots: the service's calls, for a token that may see them; else those of this page

const LEAST = 12; // points of a plot
const short = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });
const span = (seconds) => (seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);
let refused = null;

async function plot() {
  const asked = token();
  let activity = null;
  if (asked && asked !== refused) {
    activity = await call("/activity").catch((error) => {
      if (error.cause === 401 || error.cause === 403) refused = asked;
      return null;
    });
  }
  if (asked !== token()) return;
  if (activity) plotService(activity); else plotOwn();
}

function plotService({ points: all, seconds }) {
  // A service that was started just now has a short past.
  const first = all.findIndex(({ calls }) => calls > 0);
  const points = all.slice(first < 0 ? 0 : Math.min(first, all.length - LEAST));
  const past = points.length * seconds;
  const failed = points.reduce((sum, point) => sum + point.errors, 0);
  const most = draw("rate", past, {
    line: points.map(({ calls }) => calls / seconds),
    wrong: failed ? points.map(({ errors }) => errors / seconds) : [],
  });
  const longest = draw("latency", past, {
    line: points.map((point) => point.median_ms),
    faint: points.map((point) => point.p95_ms),
  });
  const last = points.at(-1);
  one("#rate-text").textContent = `${short(last.calls / seconds)} now; at most ${short(most)}, and `
    + `${failed || "no"} ${failed === 1 ? "error" : "errors"}, in ${span(past)}`;
  one("#latency-text").textContent = last.calls
    ? `${short(last.median_ms)} now, 95 % under ${short(last.p95_ms)}; at worst ${short(longest)} in ${span(past)}`
    : `No call now; 95 % under ${short(longest)} at worst in ${span(past)}`;
}

function plotOwn() {
  const past = SAMPLES * SECONDS;
  draw("rate", past, {});
  const most = draw("latency", past, { own: [...Array(SAMPLES - samples.length).fill(null), ...samples] });
  one("#rate-text").textContent = "Shown to a token with the scope sessions:read";
  one("#latency-text").textContent = `${short(samples.at(-1))} for this page's last call; at most ${short(most)} in ${span(past)}`;
}

// Draws lines of one scale over the past seconds, with gaps where a value is null; answers the greatest value.
function draw(name, past, lines) {
  const most = Math.max(0, ...Object.values(lines).flat());
  const shapes = Object.entries(lines).map(([kind, values]) => {
    let gap = true;
    const steps = values.map((value, index) => {
      if (value === null) {
        gap = true;
        return "";
      }
      const x = (index * 300) / (values.length - 1);
      const y = 60 - (60 * value) / (most || 1);
      // A dash, for a value between two gaps would be no line.
      const step = gap ? `M${x - 2},${y}H${x}` : `L${x},${y}`;
      gap = false;
      return step;
    });
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("class", kind);
    shape.setAttribute("d", steps.join(""));
    return shape;
  });
  const figure = one(`#${name}`);
  one("svg", figure).replaceChildren(...shapes);
  one("output", figure).textContent = most ? short(most) : "";
  one("footer span", figure).textContent = `${span(past)} ago`;
  for (const key of figure.querySelectorAll(".key")) {
    key.hidden = !Object.entries(lines).some(([kind, values]) => values.length && key.classList.contains(kind));
  }
  return most;
}

setInterval(() => { if (!document.hidden) look(); }, SECONDS * 1000);
start();
