"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const docs = document.getElementById("docs");

// Swagger UI leaves selects and text areas without a name, which screen readers would say; and what it says when a
// filter finds nothing is not so.
new MutationObserver(() => {
  for (const field of docs.querySelectorAll("select:not([aria-label]), [data-param-name] textarea:not([aria-label])")) {
    field.setAttribute("aria-label", field.closest("[data-param-name]")?.dataset.paramName ?? "Example");
  }
  for (const title of docs.querySelectorAll("h3")) {
    if (title.textContent.includes("No operations")) title.textContent = "Nothing has this in its tag or path.";
  }
}).observe(docs, { childList: true, subtree: true });

// It lets the last field of its dialog have the focus, far below the first, which most people need.
let dialog = null;
new MutationObserver(() => {
  const shown = docs.querySelector(".modal-ux");
  if (shown && shown !== dialog) shown.querySelector("input")?.focus();
  dialog = shown;
}).observe(docs, { childList: true, subtree: true });

SwaggerUIBundle({
  domNode: docs,
  url: "/openapi.json",
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
});
