// Runs once when the page is there: the switch between light and dark, and layers and tool as the body's data.
const body = document.body;
body.dataset.layers = body.dataset.layers || "mask clicks";
body.dataset.tool = body.dataset.tool || "inside";
element.querySelector(".theme").addEventListener("click", () => body.classList.toggle("dark"));

// Files that are too large are not sent at all; the server would refuse them by their size, too.
const most = Number(element.querySelector(".title").dataset.most);
function refuse(event, files) {
  const bytes = [...files].reduce((sum, file) => sum + file.size, 0);
  if (bytes <= most) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  const words = (size) => `${(size / 1e6).toLocaleString("en", { maximumFractionDigits: 0 })} MB`;
  line.textContent = `${words(bytes)} are more than the ${words(most)} that are taken at once; nothing was sent`;
  document.querySelector("#status .prose").replaceChildren(line);
}
document.addEventListener("change", (event) => {
  if (event.target.type !== "file" || !event.target.files) return;
  refuse(event, event.target.files);
  if (event.defaultPrevented) event.target.value = "";
}, true);
document.addEventListener("drop", (event) => refuse(event, event.dataTransfer?.files ?? []), true);
