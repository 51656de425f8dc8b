import { plotOwn, plotService } from "/console/plots.js";

const ROWS = 8; // on a page of a list
const BATCH = 100; // fetched at a time
const MOST = 2000; // looked through by a search, before it asks whether to go on
const SECONDS = 10; // between two looks at the health
const SAMPLES = 30; // of this page's calls: five minutes
const PATIENCE = 12_000; // milliseconds: the proxy answers within 10 s, whatever fails behind it

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
  const answer = await fetch(path, {
    headers: { authorization: `Bearer ${asked}` }, signal: AbortSignal.timeout(PATIENCE),
  });
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
    Object.assign(this, {
      rows: [], next: "", done: false, page: 0, words: [], limit: MOST, problem: null, loading: null,
    });
    this.show();
  }

  again() {
    Object.assign(this, { problem: null, done: false });
    this.show();
    return this.fill();
  }

  // What a caller may not see is no fault, and asking again is no help.
  get failed() {
    return this.problem !== null && this.problem.cause !== 403;
  }

  // Only a search looks through what it does not show.
  get halted() {
    return !this.done && this.words.length > 0 && this.rows.length >= this.limit;
  }

  further() {
    this.limit = this.rows.length + MOST;
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
    while (!this.done && !this.halted && this.found.length <= (this.page + 1) * ROWS && rows === this.rows) {
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
    const waits = !rows.length && !this.done && !this.halted;
    const list = one("ol", this.element);
    list.setAttribute("aria-busy", String(waits));
    const items = waits ? Array.from({ length: ROWS }, waiting) : rows.map((each) => (each.item ??= line(each)));
    place(list, [...items, ...this.notes(found.length - first, waits)]);
    one("output", this.element).textContent = found.length
      ? `${found.length.toLocaleString("en")}${this.done ? "" : "+"}` : "";
    one("footer span", this.element).textContent = rows.length ? `${first + 1}–${first + rows.length}` : "";
    one(".back", this.element).disabled = this.page === 0;
    one(".on", this.element).disabled = found.length <= first + ROWS;
  }

  notes(left, waits) {
    // The button goes with its note, so the focus stays in the list.
    const button = (text, action) => [text, () => {
      one("ol", this.element).focus();
      action();
    }];
    if (this.failed) return [note(this.problem.message, "wrong", ...button("Try again", () => this.again()))];
    if (this.problem) return [note(this.problem.message)];
    const searched = `the first ${this.rows.length.toLocaleString("en")}`;
    if (this.halted && left <= ROWS) {
      const text = left > 0 ? `These are of ${searched}.` : `None of ${searched} has these words.`;
      return [note(text, "", ...button("Search on", () => this.further()))];
    }
    if (left > 0 || waits) return [];
    return [note(this.words.length ? "Nothing has these words." : "There are none.")];
  }
}

// What stays in a list is not moved, as it would lose the focus.
function place(list, items) {
  for (const item of [...list.children]) if (!items.includes(item)) item.remove();
  for (const [index, item] of items.entries()) {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
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
    part.dir = "auto";
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

function note(text, kind = "", label = "", action = null) {
  const item = document.createElement("li");
  item.className = `note ${kind}`.trim();
  item.textContent = text;
  if (action) {
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", action);
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
  const of = document.createElement("span");
  of.textContent = tenant && tenant !== sub ? ` of ${shown(tenant)}` : "";
  one("#caller").replaceChildren(name, of, Number.isFinite(end.getTime()) ? `, until ${until(end)}` : "");
  one("#caller").title = one("#caller").textContent;
}

function start(refusal = "") {
  const known = Boolean(token());
  one("#who").hidden = known;
  one("#seen").hidden = !known;
  one("#refusal").textContent = refusal;
  if (known) introduce();
  refresh();
}

function refresh() {
  for (const list of lists) {
    list.clear();
    if (token()) list.search(one("#search").value);
  }
  look();
}

function forget(refusal = "") {
  sessionStorage.removeItem("rollcall.token");
  dialog.close();
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
one("#refresh").addEventListener("click", refresh);
one("#search").addEventListener("input", (event) => {
  for (const list of lists) list.search(event.target.value);
});

// --- health: what the calls of this page show

const samples = [];
let looks = 0;
let later = 0;
let refused = null; // the token that may not see the service's activity

function mark(name, state) {
  const element = one(`#health-${name}`);
  const before = element.className;
  element.className = state;
  one("b", element).textContent = state || "unknown";
  return before;
}

async function look() {
  clearTimeout(later);
  if (document.hidden) return;
  looks += 1;
  const turn = looks; // a later look knows better
  try {
    await lookAt(turn);
  } finally {
    if (turn === looks) later = setTimeout(look, SECONDS * 1000);
  }
}

async function lookAt(turn) {
  const status = (asked) => asked.then((answer) => answer.status ?? 200, (error) => error.cause ?? 0);
  const state = (code) => (code < 500 ? "up" : "down");
  let began = performance.now();
  const server = await status(fetch("/docs", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) }));
  if (turn !== looks) return;
  let took = performance.now() - began;
  mark("proxy", server ? "up" : "down");
  mark("server", server ? state(server) : "");
  const answers = server > 0 && server < 500;
  let store = 0;
  if (token() && answers) {
    began = performance.now();
    store = await status(call("/v1/sessions?pageSize=1"));
    took = performance.now() - began;
  }
  if (turn !== looks) return;
  const reached = store && store !== 401 ? state(store) : "";
  if (mark("store", reached) !== reached && reached === "up") {
    for (const list of lists) if (list.failed) list.again();
  }
  samples.push(took);
  samples.splice(0, samples.length - SAMPLES);
  if (token()) await plot(answers);
}

async function plot(answers) {
  const asked = token();
  let activity = null;
  if (answers && asked !== refused) {
    activity = await call("/activity").catch((error) => {
      if (error.cause === 401 || error.cause === 403) refused = asked;
      return null;
    });
  }
  if (asked !== token()) return;
  if (activity) {
    plotService(activity);
  } else {
    const why = asked === refused ? "shown to a token with the scope sessions:read" : "not known while the service does not answer";
    plotOwn([...Array(SAMPLES - samples.length).fill(null), ...samples], SAMPLES * SECONDS, why);
  }
}

// On the machine of `rollcall up`, whoever looks can sign one.
one("details").open = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
document.addEventListener("visibilitychange", look);
start();
