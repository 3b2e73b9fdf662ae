"use strict";
for (const figure of document.querySelectorAll("figure")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  vegaEmbed(figure.querySelector(".plot"), spec, {
    mode: "vega-lite", renderer: "svg", actions: false, tooltip: {disableDefaultStyle: true},
  });
}
for (const button of document.querySelectorAll(".copied button")) {
  const code = button.parentElement.querySelector("code");
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(code);
    const copied = navigator.clipboard ? navigator.clipboard.writeText(code.textContent) : null;
    Promise.resolve(copied).then(
      () => { button.textContent = copied ? "Copied" : "Selected"; },
      () => { button.textContent = "Selected"; },
    );
  });
}
