// A chip puts its text into the field; with Ctrl or Shift it is added to what is there.
element.addEventListener("click", (event) => {
  const chip = event.target.closest(".chip");
  if (chip) trigger("select", { text: chip.dataset.text, add: event.ctrlKey || event.shiftKey || event.metaKey });
});
