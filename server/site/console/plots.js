// The plots: the service's calls, for a token that may see them; else the durations of the page's own.

const LEAST = 12; // points of a plot
const FILLED = ["line", "own"]; // down to the axis
const [WIDE, HIGH] = [300, 60];
const second = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const short = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });
const span = (seconds) => (seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);
const faults = (count) => `${count || "no"} error${count === 1 ? "" : "s"}`;
const one = (selector) => document.querySelector(selector);

export function plotService({ points: all, seconds }) {
  // A service that was started just now has a short past.
  const first = all.findIndex(({ calls }) => calls > 0);
  const points = all.slice(first < 0 ? 0 : Math.min(first, all.length - LEAST));
  const past = points.length * seconds;
  const failed = points.reduce((sum, point) => sum + point.errors, 0);
  const near = (index) => points.slice(Math.max(0, index - 1), index + 2);
  const most = draw("rate", past, {
    line: points.map(({ calls }) => calls / seconds),
    // Where there are none for a while, no line hides the axis.
    wrong: failed ? points.map(({ errors }, at) => (near(at).some((point) => point.errors) ? errors / seconds : null)) : [],
  });
  const longest = draw("latency", past, {
    line: points.map((point) => point.median_ms),
    faint: points.map((point) => point.p95_ms),
  });
  const last = points.at(-1);
  const idle = longest ? `no call now; 95 % under ${short(longest)} at worst in ${span(past)}` : `no call in ${span(past)}`;
  const at = ({ time }) => `at ${second.format(new Date(time * 1000))}`;
  tell("rate", {
    now: short(last.calls / seconds),
    text: `now; at most ${short(most)}, and ${faults(failed)}, in ${span(past)}`,
  }, points.map((point) => ({ now: short(point.calls / seconds), text: `${at(point)}; ${faults(point.errors)}` })));
  tell("latency", {
    now: last.calls ? short(last.median_ms) : "–",
    text: last.calls
      ? `now, 95 % under ${short(last.p95_ms)}; at worst ${short(longest)} in ${span(past)}`
      : idle,
  }, points.map((point) => ({
    now: point.calls ? short(point.median_ms) : "–",
    text: point.calls ? `${at(point)}; 95 % under ${short(point.p95_ms)}` : `${at(point)}; no call`,
  })));
}

export function plotOwn(samples, past, why) {
  draw("rate", past, {});
  const most = draw("latency", past, { own: samples });
  tell("rate", { now: "–", text: why });
  tell("latency", { now: short(samples.at(-1)), text: `for this page's last call; at most ${short(most)} in ${span(past)}` });
}

// Draws lines of one scale over the past seconds, with gaps where a value is null; answers the greatest value.
function draw(name, past, lines) {
  const most = Math.max(0, ...Object.values(lines).flat());
  const shapes = Object.entries(lines).flatMap(([kind, values]) => {
    const place = (value, index) => [(index * WIDE) / (values.length - 1), HIGH - (HIGH * value) / (most || 1)];
    const runs = [[]];
    for (const [index, value] of values.entries()) {
      if (value === null) runs.push([]); else runs.at(-1).push(place(value, index).join());
    }
    const lasting = runs.filter((run) => run.length > 1);
    const drawn = [
      shape("path", { class: kind, d: lasting.map((run) => `M${run.join("L")}`).join("") }),
      shape("path", { class: `${kind} alone`, d: runs.filter((run) => run.length === 1).map(([at]) => `M${at}h0.01`).join("") }),
    ];
    if (!FILLED.includes(kind)) return drawn;
    const foot = (point) => `${point.split(",")[0]},${HIGH}`;
    const area = lasting.map((run) => `M${[foot(run[0]), ...run, foot(run.at(-1))].join("L")}Z`).join("");
    return [shape("path", { class: "area", d: area }), ...drawn];
  });
  const figure = one(`#${name}`);
  figure.querySelector("svg").replaceChildren(...shapes.filter((each) => each.getAttribute("d")));
  figure.querySelector("output").textContent = most ? short(most) : "";
  figure.querySelector("footer span").textContent = `${span(past)} ago`;
  for (const key of figure.querySelectorAll(".key")) {
    key.hidden = !Object.entries(lines).some(([kind, values]) => values.length && key.classList.contains(kind));
  }
  return most;
}

function shape(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// --- what a figure says: of all its points, or of the one that the pointer or the arrow keys are at

const said = { rate: { points: [] }, latency: { points: [] } };

function tell(name, summary, points = []) {
  const { at } = said[name];
  said[name] = { summary, points };
  point(name, at);
}

function point(name, index) {
  const { summary, points } = said[name];
  if (!summary) return;
  const at = points[index] ? index : undefined;
  said[name].at = at;
  const { now, text } = points[at] ?? summary;
  one(`#${name}-now`).textContent = now;
  one(`#${name}-text`).textContent = text;
  const svg = one(`#${name} svg`);
  svg.querySelector(".guide")?.remove();
  if (at === undefined) return;
  const x = (at * WIDE) / (points.length - 1);
  svg.append(shape("line", { class: "guide", x1: x, x2: x, y1: 0, y2: HIGH }));
}

for (const name of Object.keys(said)) {
  const svg = one(`#${name} svg`);
  const follow = ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect();
    point(name, Math.round(((clientX - left) / width) * (said[name].points.length - 1)));
  };
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointermove", follow);
  for (const end of ["pointerleave", "blur"]) svg.addEventListener(end, () => point(name));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const last = said[name].points.length - 1;
    point(name, Math.max(0, Math.min(last, (said[name].at ?? last + (step < 0)) + step)));
  });
}
