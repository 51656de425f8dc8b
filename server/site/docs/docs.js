"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const docs = document.getElementById("docs");

// Swagger UI leaves selects and text areas without a name, which screen readers would say.
new MutationObserver(() => {
  for (const field of docs.querySelectorAll("select:not([aria-label]), [data-param-name] textarea:not([aria-label])")) {
    field.setAttribute("aria-label", field.closest("[data-param-name]")?.dataset.paramName ?? "Example");
  }
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
