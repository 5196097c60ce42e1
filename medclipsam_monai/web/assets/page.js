// Runs once when the page is there: the switch between light and dark, and layers and tool as the body's data.
const body = document.body;
body.dataset.layers = body.dataset.layers || "mask clicks";
body.dataset.tool = body.dataset.tool || "inside";
element.querySelector(".theme").addEventListener("click", () => body.classList.toggle("dark"));
