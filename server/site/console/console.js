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
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const until = (end) => (end.toDateString() === new Date().toDateString() ? clock : when).format(end);
const one = (selector, within = document) => within.querySelector(selector);
const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const plain = (object) => Object.keys(object ?? {}).sort().map((key) => `${key}: ${shown(object[key])}`).join(" · ");
const token = () => sessionStorage.getItem("rollcall.token");

class Refused extends Error {}

async function call(path) {
  const asked = token();
  const answer = await fetch(path, { headers: { authorization: `Bearer ${asked}` } });
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    const refusal = new Refused(body.message ?? `HTTP ${answer.status}`, { cause: answer.status });
    if (answer.status === 401 && asked === token()) forget(refusal.message);
    throw refusal;
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
    Object.assign(this, { rows: [], next: "", done: false, page: 0, words: [], problem: null, loading: null });
    this.show();
  }

  again() {
    Object.assign(this, { problem: null, done: false });
    this.show();
    return this.fill();
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
    if (!this.loading) {
      const { rows } = this;
      this.loading = this.load().finally(() => {
        if (rows !== this.rows) return; // another caller's
        this.loading = null;
        this.show();
      });
    }
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
        this.problem = error instanceof Refused ? error : new Error("The service does not answer.");
        this.done = true;
      }
      this.show();
    }
  }

  show() {
    const { found } = this;
    const first = this.page * ROWS;
    const rows = found.slice(first, first + ROWS);
    const waits = !rows.length && !this.done && this.rows.length < MOST;
    const list = one("ol", this.element);
    list.setAttribute("aria-busy", String(waits));
    list.replaceChildren(...(waits ? Array.from({ length: ROWS }, waiting) : rows.map(line)), ...this.notes(rows, waits));
    one("output", this.element).textContent = found.length ? `${found.length}${this.done ? "" : "+"}` : "";
    one("footer span", this.element).textContent = rows.length ? `${first + 1}–${first + rows.length}` : "";
    one(".back", this.element).disabled = this.page === 0;
    one(".on", this.element).disabled = found.length <= first + ROWS;
  }

  notes(rows, waits) {
    // What a caller may not see is no fault, and asking again is no help.
    if (this.problem) return [note(this.problem.message, this.problem.cause !== 403 && (() => this.again()))];
    if (rows.length || waits) return [];
    return [note(this.words.length ? "Nothing has these words." : "There are none.")];
  }
}

function line({ id, title, time, more, record }) {
  const item = document.createElement("li");
  const button = item.appendChild(row("button", {
    [title ? "title" : "title id"]: title || id,
    time: time ? when.format(new Date(time)) : "",
    more: more.filter(Boolean).join(" · ") || id,
  }));
  button.type = "button";
  button.addEventListener("click", () => open(title || id, record));
  return item;
}

function row(tag, parts) {
  const element = document.createElement(tag);
  element.className = "row";
  for (const [name, text] of Object.entries(parts)) {
    const part = element.appendChild(document.createElement("span"));
    part.className = name;
    part.textContent = text;
  }
  return element;
}

function waiting() {
  const item = document.createElement("li");
  item.className = "waiting";
  item.append(row("div", { title: "", time: "", more: "" }));
  return item;
}

// With a way to ask again, it is a fault.
function note(text, again) {
  const item = document.createElement("li");
  item.className = again ? "note wrong" : "note";
  item.textContent = text;
  if (again) {
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", again);
  }
  return item;
}

const dialog = one("dialog");

function open(title, record) {
  one("#record-title").textContent = title;
  const parts = JSON.stringify(record, null, 2).split(/^( *"(?:[^"\\]|\\.)*")(?=: )/m);
  one("pre", dialog).replaceChildren(...parts.map((text, index) => {
    const part = document.createElement("span");
    if (index % 2) part.className = "key-of";
    part.textContent = text;
    return part;
  }));
  dialog.showModal();
}

one("#close").addEventListener("click", () => dialog.close());

// --- the caller, and the search

const lists = LISTS.map((kind) => new List(kind));
one("#lists").append(...lists.map((list) => list.element));

// What the token says of itself, for a person to see: nothing is decided by it. An API key says nothing.
function claims() {
  const middle = token().split(".")[1] ?? "";
  try {
    const bytes = Uint8Array.from(atob(middle.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

function introduce() {
  const { sub, developer_id: tenant, exp } = claims();
  // A number may still be no date: those of JavaScript end in the year 275760.
  const end = new Date(typeof exp === "number" ? exp * 1000 : NaN);
  const name = document.createElement("b");
  name.textContent = sub ? shown(sub) : "Your API key";
  const rest = [
    tenant && tenant !== sub && ` of ${shown(tenant)}`,
    Number.isFinite(end.getTime()) && `, until ${until(end)}`,
  ].filter(Boolean).join("");
  one("#caller").replaceChildren(name, rest);
}

function start(refusal = "") {
  const known = Boolean(token());
  one("#who").hidden = known;
  one("#seen").hidden = !known;
  one("#refusal").textContent = refusal;
  for (const list of lists) list.clear();
  if (known) {
    introduce();
    for (const list of lists) list.search(one("#search").value);
  }
  look();
}

function forget(refusal = "") {
  sessionStorage.removeItem("rollcall.token");
  start(refusal);
  one("#token").focus();
}

one("#who").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = one("#token").value.trim();
  one("#token").value = "";
  if (!given) return;
  // No header takes what is beyond Latin-1, and no credential has what is beyond ASCII.
  if (!/^[\x20-\x7e]+$/.test(given)) {
    forget("This is not a valid token: it has characters that no token has.");
    return;
  }
  sessionStorage.setItem("rollcall.token", given);
  start();
  one("#search").focus({ preventScroll: true });
});
one("#forget").addEventListener("click", () => forget());
one("#search").addEventListener("input", (event) => {
  for (const list of lists) list.search(event.target.value);
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
  if (token()) await plot();
}

// --- the plots: the service's calls, for a token that may see them; else those of this page

const LEAST = 12; // points of a plot
const FILLED = ["line", "own"]; // down to the axis
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
  tell("rate", short(last.calls / seconds), `now; at most ${short(most)}, and `
    + `${failed || "no"} ${failed === 1 ? "error" : "errors"}, in ${span(past)}`);
  if (last.calls) {
    tell("latency", short(last.median_ms), `now, 95 % under ${short(last.p95_ms)}; at worst ${short(longest)} in ${span(past)}`);
  } else {
    tell("latency", "–", `no call now; 95 % under ${short(longest)} at worst in ${span(past)}`);
  }
}

function plotOwn() {
  const past = SAMPLES * SECONDS;
  draw("rate", past, {});
  const most = draw("latency", past, { own: [...Array(SAMPLES - samples.length).fill(null), ...samples] });
  tell("rate", "–", "shown to a token with the scope sessions:read");
  tell("latency", short(samples.at(-1)), `for this page's last call; at most ${short(most)} in ${span(past)}`);
}

function tell(name, now, text) {
  one(`#${name}-now`).textContent = now;
  one(`#${name}-text`).textContent = text;
}

// Draws lines of one scale over the past seconds, with gaps where a value is null; answers the greatest value.
function draw(name, past, lines) {
  const most = Math.max(0, ...Object.values(lines).flat());
  const shapes = Object.entries(lines).flatMap(([kind, values]) => {
    const place = (value, index) => [(index * 300) / (values.length - 1), 60 - (60 * value) / (most || 1)];
    const runs = [[]];
    for (const [index, value] of values.entries()) {
      if (value === null) runs.push([]); else runs.at(-1).push(place(value, index).join());
    }
    const drawn = runs.filter((run) => run.length);
    const path = drawn.map((run) => (run.length > 1 ? `M${run.join("L")}` : `M${run[0]}h0.01`)).join("");
    const shape = [kind, path];
    if (!FILLED.includes(kind)) return [shape];
    const foot = (point) => `${point.split(",")[0]},60`;
    return [["area", drawn.map((run) => `M${[foot(run[0]), ...run, foot(run.at(-1))].join("L")}Z`).join("")], shape];
  }).map(([kind, path]) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("class", kind);
    shape.setAttribute("d", path);
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

// On the machine of `rollcall up`, whoever looks can sign one.
one("details").open = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
setInterval(() => { if (!document.hidden) look(); }, SECONDS * 1000);
start();
